"""Lease rows: who works on a trial, under which fence, until when on the database's clock."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, column, func, insert, select, text

from storage import studies
from storage.statement import Batch, Statement, Writes
from storage.studies import StudyRow
from storage.tables import checkpoint, epoch, lease, result, rung


@dataclass(frozen=True)
class LeaseRow:
    """One row of the lease table."""

    trial_id: int
    study_id: int
    task: str
    worker: str
    fence: int
    seed: int
    epochs: int
    epoch: int
    accuracy: float | None
    leased_at: datetime
    expires_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class Held:
    """A locked lease and what belongs to it.

    Attributes:
        number: Of the trial.
        now: The database's clock, once the lease was locked.
    """

    row: LeaseRow
    study: StudyRow
    number: int
    now: datetime


_COLUMNS = [lease.c[name] for name in LeaseRow.__dataclass_fields__]

# What every trial needs is written out once, and no SQL is put together for it. Its columns are named in their order:
# then SQLAlchemy works out only once how to read them.
_NAMES = ", ".join(LeaseRow.__dataclass_fields__)
_NOW = text("SELECT clock_timestamp()").columns(column("now"))
_LOCKED = text(f"SELECT {_NAMES} FROM spikefront.lease WHERE trial_id = :trial_id FOR UPDATE").columns(*_COLUMNS)
_HELD = Statement(f"""
WITH held AS MATERIALIZED (SELECT {_NAMES} FROM spikefront.lease WHERE trial_id = :trial_id FOR UPDATE)
SELECT held.*, {", ".join(studies.NAMES)}, trials.number, clock_timestamp()
FROM held JOIN public.trials USING (trial_id) JOIN spikefront.study ON study.study_id = held.study_id
""")
_FIRST_EXPIRED = text(f"""
SELECT {_NAMES} FROM spikefront.lease
WHERE study_id = :study_id AND ended_at IS NULL AND expires_at <= clock_timestamp()
ORDER BY expires_at LIMIT 1 FOR UPDATE SKIP LOCKED
""")
_WRITE = Statement(f"""
INSERT INTO spikefront.lease ({_NAMES}) VALUES (:{_NAMES.replace(", ", ", :")})
ON CONFLICT (trial_id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in LeaseRow.__dataclass_fields__)}
""")
_WRITE_EPOCHS = Statement("""
INSERT INTO spikefront.epoch (trial_id, epoch, loss, accuracy, seconds)
SELECT CAST(:trial_id AS integer), * FROM unnest(CAST(:epoch AS integer[]), CAST(:loss AS double precision[]),
  CAST(:accuracy AS double precision[]), CAST(:seconds AS double precision[]))
ON CONFLICT (trial_id, epoch)
DO UPDATE SET loss = excluded.loss, accuracy = excluded.accuracy, seconds = excluded.seconds
""")
_WRITE_RUNG = Statement("""
INSERT INTO spikefront.rung (trial_id, rung, epoch, fence, "values", decision, reason)
VALUES (:trial_id, :rung, :epoch, :fence, CAST(:values AS jsonb), :decision, :reason)
ON CONFLICT (trial_id, rung) DO UPDATE SET epoch = excluded.epoch, fence = excluded.fence,
  "values" = excluded."values", decision = excluded.decision, reason = excluded.reason
""")
_DECISION = Statement("SELECT decision, reason FROM spikefront.rung WHERE trial_id = :trial_id AND rung = :rung")
_VECTORS = Statement("""
SELECT rung."values" FROM spikefront.rung JOIN spikefront.lease USING (trial_id)
WHERE lease.study_id = :study_id AND rung.epoch = :epoch AND rung.trial_id <> :trial_id
""")
_WRITE_RESULT = Statement("""
INSERT INTO spikefront.result (trial_id, details, on_baseline_accelerator, weights_sha256, weights_fence)
VALUES (:trial_id, CAST(:details AS jsonb), CAST(:on_baseline_accelerator AS jsonb), :weights_sha256, :weights_fence)
ON CONFLICT (trial_id) DO UPDATE SET details = excluded.details, weights_fence = excluded.weights_fence,
  on_baseline_accelerator = excluded.on_baseline_accelerator, weights_sha256 = excluded.weights_sha256
""")


def now(connection: Connection) -> datetime:
    """The database's clock, which alone decides about leases."""
    instant = connection.scalar(_NOW)
    assert isinstance(instant, datetime)
    return instant


def locked(connection: Connection, trial_id: int) -> LeaseRow | None:
    """The lease of a trial, locked until the transaction ends."""
    row = connection.execute(_LOCKED, {"trial_id": trial_id}).one_or_none()
    return None if row is None else LeaseRow(*row)


def held(connection: Connection, trial_id: int) -> Held | None:
    """The lease of a trial, locked until the transaction ends, with its study and the time."""
    found = _HELD.rows(connection, {"trial_id": trial_id})
    if not found:
        return None
    own, (*stored, number, now) = found[0][: len(_COLUMNS)], found[0][len(_COLUMNS) :]
    return Held(LeaseRow(*own), StudyRow(*stored), number, now)


def first_expired(connection: Connection, study_id: int) -> LeaseRow | None:
    """The open lease that expired first, locked; leases that another transaction holds are passed over."""
    row = connection.execute(_FIRST_EXPIRED, {"study_id": study_id}).one_or_none()
    return None if row is None else LeaseRow(*row)


def write(connection: Writes, row: LeaseRow) -> None:
    """Insert or replace the row of a trial."""
    _WRITE.write(connection, vars(row))


def of_study(connection: Connection, study_id: int, *, is_open: bool = True) -> list[LeaseRow]:
    """The leases of a study, the open ones only unless asked otherwise."""
    query = select(*_COLUMNS).where(lease.c.study_id == study_id)
    if is_open:
        query = query.where(lease.c.ended_at.is_(None))
    return [LeaseRow(*row) for row in connection.execute(query.order_by(lease.c.trial_id))]


def without_lease(connection: Connection, trial_ids: Sequence[int]) -> list[int]:
    """Those of the given trials that have no lease row at all."""
    leased = set(connection.scalars(select(lease.c.trial_id).where(lease.c.trial_id.in_(trial_ids))))
    return [trial_id for trial_id in trial_ids if trial_id not in leased]


def trained_epochs(connection: Connection, study_id: int) -> int:
    """Epochs trained so far over all trials of a study."""
    return int(connection.scalar(select(func.sum(lease.c.epoch)).where(lease.c.study_id == study_id)) or 0)


def write_epochs(connection: Writes, trial_id: int, epochs: Sequence[Mapping[str, Any]]) -> None:
    """Add points to a trial's learning curve; a point that is trained again after a take-over replaces the old one."""
    if epochs:
        points = {point["epoch"]: point for point in epochs}.values()
        columns = {name: [point[name] for point in points] for name in ("epoch", "loss", "accuracy", "seconds")}
        _WRITE_EPOCHS.write(connection, {"trial_id": trial_id, **columns})


def curve(connection: Connection, trial_id: int) -> list[dict[str, Any]]:
    """The learning curve of a trial, an entry an epoch."""
    query = select(epoch.c.epoch, epoch.c.loss, epoch.c.accuracy, epoch.c.seconds).where(epoch.c.trial_id == trial_id)
    return [dict(row._mapping) for row in connection.execute(query.order_by(epoch.c.epoch))]


def write_rung(connection: Writes, row: Mapping[str, Any]) -> None:
    """Record a rung report with its decision; a repeated report replaces itself."""
    _WRITE_RUNG.write(connection, {**row, "values": json.dumps(row["values"])})


def decision_at(connection: Connection, trial_id: int, number: int) -> tuple[str, str] | None:
    """What was decided of a trial at a rung, and why; None where it has not been there."""
    found = _DECISION.rows(connection, {"trial_id": trial_id, "rung": number})
    return (found[0][0], found[0][1]) if found else None


def spared(connection: Connection, study_id: int) -> set[int]:
    """Ids of the trials of a study that lost at a rung, and are trained to their ends all the same."""
    query = (
        select(rung.c.trial_id)
        .join(lease, lease.c.trial_id == rung.c.trial_id)
        .where(lease.c.study_id == study_id, rung.c.decision == "spare")
    )
    return set(connection.scalars(query))


def vectors_at(connection: Connection, study_id: int, epoch: int, trial_id: int) -> list[dict[str, float]]:
    """The objective vectors that the other trials of a study had at the rung of an epoch."""
    return [row[0] for row in _VECTORS.rows(connection, {"study_id": study_id, "epoch": epoch, "trial_id": trial_id})]


def rungs(connection: Connection, trial_id: int) -> list[dict[str, Any]]:
    """The rung reports of a trial, lowest rung first."""
    return [
        dict(row._mapping)
        for row in connection.execute(select(rung).where(rung.c.trial_id == trial_id).order_by(rung.c.rung))
    ]


@dataclass(frozen=True)
class CheckpointRow:
    """A stored checkpoint: which attempt wrote it, and what its bytes hash to."""

    checkpoint_id: int
    trial_id: int
    fence: int
    epoch: int
    sha256: str
    bytes: int


_CHECKPOINT = [checkpoint.c[name] for name in CheckpointRow.__dataclass_fields__]
_FORGET_CHECKPOINTS = Statement(
    "DELETE FROM spikefront.checkpoint WHERE trial_id = :trial_id "
    f"RETURNING {', '.join(CheckpointRow.__dataclass_fields__)}"
)


def add_checkpoint(connection: Connection, trial_id: int, fence: int, at_epoch: int, sha256: str, size: int) -> None:
    """Record a checkpoint whose bytes are stored already."""
    connection.execute(
        insert(checkpoint).values(trial_id=trial_id, fence=fence, epoch=at_epoch, sha256=sha256, bytes=size)
    )


def checkpoints(connection: Connection, trial_id: int) -> list[CheckpointRow]:
    """The checkpoints of a trial, newest first."""
    query = select(*_CHECKPOINT).where(checkpoint.c.trial_id == trial_id).order_by(checkpoint.c.checkpoint_id.desc())
    return [CheckpointRow(*row) for row in connection.execute(query)]


def drop_checkpoints(connection: Connection, checkpoint_ids: Sequence[int]) -> None:
    """Forget checkpoints, before their files are removed."""
    if checkpoint_ids:
        connection.execute(checkpoint.delete().where(checkpoint.c.checkpoint_id.in_(checkpoint_ids)))


def write_result(connection: Writes, row: Mapping[str, Any]) -> None:
    """Store what a finished trial brings beside its objective values."""
    documents = {name: json.dumps(row[name]) for name in ("details", "on_baseline_accelerator")}
    _WRITE_RESULT.write(connection, {**row, **documents})


def forget_checkpoints(batch: Batch, trial_id: int) -> list[CheckpointRow]:
    """Send a batch, and forget all checkpoints of a trial with it; gives them, so that their files can be removed."""
    batch.add(_FORGET_CHECKPOINTS, {"trial_id": trial_id})
    return [CheckpointRow(*row) for row in batch.send()]


def write_test(connection: Connection, trial_id: int, test: Mapping[str, Any] | None, error: str | None) -> None:
    """Store the scores on the held-back test set, or why there are none."""
    connection.execute(result.update().where(result.c.trial_id == trial_id).values(test=test, test_error=error))


def results(connection: Connection, trial_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """The stored results of the given trials, by trial id."""
    query = select(result).where(result.c.trial_id.in_(trial_ids))
    return {row.trial_id: dict(row._mapping) for row in connection.execute(query)}
