"""Lease rows: who works on a trial, under which fence, until when on the database's clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, text
from sqlalchemy.dialects.postgresql import insert

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


_COLUMNS = [lease.c[name] for name in LeaseRow.__dataclass_fields__]

# What every trial needs is written out once, and no SQL is put together for it.
_NAMES = ", ".join(LeaseRow.__dataclass_fields__)
_NOW = text("SELECT clock_timestamp()")
_LOCKED = text(f"SELECT {_NAMES} FROM spikefront.lease WHERE trial_id = :trial_id FOR UPDATE")
_FIRST_EXPIRED = text(f"""
SELECT {_NAMES} FROM spikefront.lease
WHERE study_id = :study_id AND ended_at IS NULL AND expires_at <= clock_timestamp()
ORDER BY expires_at LIMIT 1 FOR UPDATE SKIP LOCKED
""")
_WRITE = text(f"""
INSERT INTO spikefront.lease ({_NAMES}) VALUES (:{_NAMES.replace(", ", ", :")})
ON CONFLICT (trial_id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in LeaseRow.__dataclass_fields__)}
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


def first_expired(connection: Connection, study_id: int) -> LeaseRow | None:
    """The open lease that expired first, locked; leases that another transaction holds are passed over."""
    row = connection.execute(_FIRST_EXPIRED, {"study_id": study_id}).one_or_none()
    return None if row is None else LeaseRow(*row)


def write(connection: Connection, row: LeaseRow) -> None:
    """Insert or replace the row of a trial."""
    connection.execute(_WRITE, dict(vars(row)))


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


def write_epochs(connection: Connection, trial_id: int, epochs: Sequence[Mapping[str, Any]]) -> None:
    """Add points to a trial's learning curve; a point that is trained again after a take-over replaces the old one."""
    if epochs:
        statement = insert(epoch)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["trial_id", "epoch"],
                set_={name: statement.excluded[name] for name in ("loss", "accuracy", "seconds")},
            ),
            [{"trial_id": trial_id, **point} for point in epochs],
        )


def curve(connection: Connection, trial_id: int) -> list[dict[str, Any]]:
    """The learning curve of a trial, an entry an epoch."""
    query = select(epoch.c.epoch, epoch.c.loss, epoch.c.accuracy, epoch.c.seconds).where(epoch.c.trial_id == trial_id)
    return [dict(row._mapping) for row in connection.execute(query.order_by(epoch.c.epoch))]


def write_rung(connection: Connection, row: Mapping[str, Any]) -> None:
    """Record a rung report with its decision; a repeated report replaces itself."""
    connection.execute(insert(rung).values(row).on_conflict_do_update(index_elements=["trial_id", "rung"], set_=row))


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


def write_result(connection: Connection, row: Mapping[str, Any]) -> None:
    """Store what a finished trial brings beside its objective values."""
    connection.execute(insert(result).values(row).on_conflict_do_update(index_elements=["trial_id"], set_=row))


def write_test(connection: Connection, trial_id: int, test: Mapping[str, Any] | None, error: str | None) -> None:
    """Store the scores on the held-back test set, or why there are none."""
    connection.execute(result.update().where(result.c.trial_id == trial_id).values(test=test, test_error=error))


def results(connection: Connection, trial_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """The stored results of the given trials, by trial id."""
    query = select(result).where(result.c.trial_id.in_(trial_ids))
    return {row.trial_id: dict(row._mapping) for row in connection.execute(query)}
