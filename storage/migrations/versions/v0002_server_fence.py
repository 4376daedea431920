"""Count how often a server took a study over, so that one that wakes up late is refused."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Studies of the version before were handed out without a lock: their count starts at 0."""
    fence = sa.Column("server_fence", sa.BigInteger, nullable=False, server_default="0")
    op.add_column("study", fence, schema="spikefront")
