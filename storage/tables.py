"""Tables of the schema `spikefront`: what a study needs and Optuna has no place for."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

SCHEMA = "spikefront"
VERSION_TABLE = "spikefront_version"
"""Where alembic keeps our revision. Not alembic's usual name: for a database user called like our schema Postgres
looks there first, and Optuna would take our revision for its own."""

metadata = MetaData(schema=SCHEMA)


def _instant(name: str, *, now: bool = False, nullable: bool = False) -> Column[object]:
    return Column(
        name, DateTime(timezone=True), nullable=nullable, server_default=func.clock_timestamp() if now else None
    )


def _trial(*, primary_key: bool = True) -> Column[int]:
    # Optuna's tables lie in the schema `public`; a bare name in a ForeignKey would mean ours.
    return Column(
        "trial_id", Integer, ForeignKey("public.trials.trial_id", ondelete="CASCADE"), primary_key=primary_key
    )


# Stand-ins, so that the foreign keys above resolve; Optuna creates and owns the real ones.
optuna_studies = Table("studies", MetaData(schema="public"), Column("study_id", Integer, primary_key=True))
optuna_studies.to_metadata(metadata, schema="public")
Table("trials", metadata, Column("trial_id", Integer, primary_key=True), schema="public")

study = Table(
    "study",
    metadata,
    Column("study_id", Integer, ForeignKey("public.studies.study_id", ondelete="CASCADE"), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("spec", JSONB, nullable=False),
    Column("frozen_hash", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("floor", Float, nullable=False),
    Column("reference", JSONB),  # objective -> value: the reference point of the hypervolume, once the baseline is done
    Column("versions", JSONB, nullable=False),
    _instant("created_at", now=True),
    Column("server_fence", BigInteger, nullable=False, server_default="0"),  # rises with every server that takes over
    CheckConstraint("state in ('running', 'paused', 'stopped', 'complete')", name="study_state"),
)

lease = Table(
    "lease",
    metadata,
    _trial(),
    Column("study_id", Integer, nullable=False, index=True),
    Column("task", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("epochs", Integer, nullable=False),
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("accuracy", Float),
    _instant("leased_at", now=True),
    _instant("expires_at"),
    _instant("ended_at", nullable=True),  # null while the trial (or its test) is open
    Index("lease_open", "study_id", postgresql_where=text("ended_at IS NULL")),
    CheckConstraint("task in ('train', 'test')", name="lease_task"),
    CheckConstraint("fence > 0", name="lease_fence"),
)

epoch = Table(
    "epoch",
    metadata,
    _trial(),
    Column("epoch", Integer, primary_key=True),
    Column("loss", Float, nullable=False),
    Column("accuracy", Float, nullable=False),
    Column("seconds", Float, nullable=False),
)

rung = Table(
    "rung",
    metadata,
    _trial(),
    Column("rung", Integer, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("values", JSONB, nullable=False),
    Column("decision", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    _instant("at", now=True),
)

checkpoint = Table(
    "checkpoint",
    metadata,
    Column("checkpoint_id", BigInteger, primary_key=True, autoincrement=True),
    _trial(primary_key=False),
    Column("fence", BigInteger, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    _instant("at", now=True),
    Index("checkpoint_trial", "trial_id", "checkpoint_id"),
)

result = Table(
    "result",
    metadata,
    _trial(),
    Column("details", JSONB, nullable=False),
    Column("on_baseline_accelerator", JSONB),
    Column("weights_sha256", Text, nullable=False),
    Column("weights_fence", BigInteger, nullable=False),
    Column("test", JSONB),  # null until the study is complete and the trial stands on its front
    Column("test_error", Text),
    _instant("at", now=True),
)

event = Table(
    "event",
    metadata,
    Column("event_id", BigInteger, primary_key=True, autoincrement=True),
    Column("study_id", Integer, ForeignKey("public.studies.study_id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer),
    Column("kind", Text, nullable=False),
    Column("message", Text, nullable=False),
    _instant("at", now=True),
    Index("event_study", "study_id", "event_id"),
)
