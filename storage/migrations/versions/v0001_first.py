"""The first schema: studies, leases, learning curves, rungs, checkpoints, results, events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "spikefront"
NOW = sa.text("clock_timestamp()")


def _instant(name: str, *, now: bool = False, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, server_default=NOW if now else None)


def _trial(*, primary_key: bool = True) -> sa.Column[int]:
    key = sa.ForeignKey("public.trials.trial_id", ondelete="CASCADE")
    return sa.Column("trial_id", sa.Integer, key, primary_key=primary_key, nullable=not primary_key)


def upgrade() -> None:
    """Create the tables as they were in this revision (`storage.tables` holds today's)."""
    study_key = "public.studies.study_id"
    op.create_table(
        "study",
        sa.Column("study_id", sa.Integer, sa.ForeignKey(study_key, ondelete="CASCADE"), primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("spec", JSONB, nullable=False),
        sa.Column("frozen_hash", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False, server_default=""),
        sa.Column("floor", sa.Float, nullable=False),
        sa.Column("reference", JSONB),
        sa.Column("versions", JSONB, nullable=False),
        _instant("created_at", now=True),
        sa.CheckConstraint("state in ('running', 'paused', 'stopped', 'complete')", name="study_state"),
        schema=SCHEMA,
    )
    op.create_table(
        "lease",
        _trial(),
        sa.Column("study_id", sa.Integer, nullable=False, index=True),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("epochs", sa.Integer, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False, server_default="0"),
        sa.Column("accuracy", sa.Float),
        _instant("leased_at", now=True),
        _instant("expires_at"),
        _instant("ended_at", nullable=True),
        sa.CheckConstraint("task in ('train', 'test')", name="lease_task"),
        sa.CheckConstraint("fence > 0", name="lease_fence"),
        schema=SCHEMA,
    )
    op.create_table(
        "epoch",
        _trial(),
        sa.Column("epoch", sa.Integer, primary_key=True),
        sa.Column("loss", sa.Float, nullable=False),
        sa.Column("accuracy", sa.Float, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        schema=SCHEMA,
    )
    op.create_table(
        "rung",
        _trial(),
        sa.Column("rung", sa.Integer, primary_key=True),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("values", JSONB, nullable=False),
        sa.Column("decision", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False, server_default=""),
        _instant("at", now=True),
        schema=SCHEMA,
    )
    op.create_table(
        "checkpoint",
        sa.Column("checkpoint_id", sa.BigInteger, primary_key=True, autoincrement=True),
        _trial(primary_key=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        _instant("at", now=True),
        schema=SCHEMA,
    )
    op.create_index("checkpoint_trial", "checkpoint", ["trial_id", "checkpoint_id"], schema=SCHEMA)
    op.create_table(
        "result",
        _trial(),
        sa.Column("details", JSONB, nullable=False),
        sa.Column("on_baseline_accelerator", JSONB),
        sa.Column("weights_sha256", sa.Text, nullable=False),
        sa.Column("weights_fence", sa.BigInteger, nullable=False),
        sa.Column("test", JSONB),
        sa.Column("test_error", sa.Text),
        _instant("at", now=True),
        schema=SCHEMA,
    )
    op.create_table(
        "event",
        sa.Column("event_id", sa.BigInteger, primary_key=True, autoincrement=True),
        sa.Column("study_id", sa.Integer, sa.ForeignKey(study_key, ondelete="CASCADE"), nullable=False),
        sa.Column("number", sa.Integer),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        _instant("at", now=True),
        schema=SCHEMA,
    )
    op.create_index("event_study", "event", ["study_id", "event_id"], schema=SCHEMA)
