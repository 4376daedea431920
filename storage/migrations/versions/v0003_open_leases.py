"""Find expired leases among the open ones, not among all that a study ever had."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Without the time of expiry in it, so that a renewal does not touch the index."""
    is_open = sa.text("ended_at IS NULL")
    op.create_index("lease_open", "lease", ["study_id"], schema="spikefront", postgresql_where=is_open)
