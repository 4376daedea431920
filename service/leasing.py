"""Between the lease's state machine and its row: read under a lock, decide, write back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection

from service import lease as machine
from service.errors import NotFound
from service.record import Record
from storage import leases
from storage.leases import CheckpointRow, Held, LeaseRow
from storage.statement import Batch

T = TypeVar("T")
Change = Callable[[Connection, Held], T]
Ending = Callable[[Connection, Batch, Held], LeaseRow]


def lease_of(row: LeaseRow) -> machine.Lease:
    """The row as the state machine sees it."""
    return machine.Lease(row.worker, row.fence, row.expires_at, ended=row.ended_at is not None)


def with_lease(row: LeaseRow, lease: machine.Lease, now: datetime) -> LeaseRow:
    """The row after the state machine's decision."""
    return replace(
        row,
        worker=lease.worker,
        fence=lease.fence,
        expires_at=lease.expires_at,
        ended_at=now if lease.ended else None,
    )


def under_lease(record: Record, trial_id: int, fence: int, change: Change[T]) -> T:
    """Run `change` in one transaction in which the lease is locked and held with `fence`.

    Raises:
        NotFound: There is no such lease.
        LeaseLost: The fence is old, or the trial is finished.
    """
    with record.engine.begin() as connection:
        held = held_lease(connection, trial_id)
        machine.held(lease_of(held.row), fence)
        return change(connection, held)


def end_lease(
    record: Record, trial_id: int, fence: int, change: Ending, is_same: Change[bool]
) -> list[CheckpointRow] | None:
    """End a lease together with what `change` writes; told to do it again, check that it is the same with `is_same`.

    `change` may leave what it writes in the batch, which is sent after it. It returns the row with what the trial
    reached, which is stored as ended.

    Returns:
        The trial's checkpoints, which are forgotten; None when the lease had ended before, with the same outcome.

    Raises:
        NotFound: There is no such lease.
        LeaseLost: The fence is old, or the trial was finished with another outcome.
    """
    with record.engine.begin() as connection:
        held = held_lease(connection, trial_id)
        row = held.row
        if row.ended_at is not None and row.fence == fence and is_same(connection, held):
            return None
        ended = machine.end(lease_of(row), fence)
        batch = Batch(connection)
        reached = change(connection, batch, held)
        leases.write(batch, with_lease(reached, ended, held.now))
        return leases.forget_checkpoints(batch, trial_id)


def held_lease(connection: Connection, trial_id: int) -> Held:
    """The locked lease of a trial.

    Raises:
        NotFound: There is none.
    """
    held = leases.held(connection, trial_id)
    if held is None:
        raise NotFound(f"trial {trial_id} has no lease; it was never handed out, or its study was deleted")
    return held
