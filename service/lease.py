"""The lease of a trial as a state machine: events in, the next lease out; no clock, no socket, no table.

```
            take                 renew (fence fits)
  (none) ─────────→ leased ─────────────────────────→ leased
                      │ time passes                       │ end (fence fits)
                      ↓                                   ↓
                   expired ── take: fence + 1 ──→ leased  ended
```
Every event but `take` carries the fence of the attempt it comes from. A fence that is not the lease's newest is
refused, so an attempt that slept through its expiry can change nothing once somebody has taken over. Until then an
expired lease may still be renewed: nobody else has it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from service.errors import LeaseLost


@dataclass(frozen=True)
class Lease:
    """Who works on a trial, under which fence, until when.

    Attributes:
        fence: Rises by one with every attempt; 1 is the first.
        expires_at: Instant on the database's clock.
        ended: The trial is finished; nothing can be written any more.
    """

    worker: str
    fence: int
    expires_at: datetime
    ended: bool = False

    def expired(self, now: datetime) -> bool:
        """Whether anybody may take the lease over."""
        return not self.ended and now >= self.expires_at


def take(previous: Lease | None, worker: str, now: datetime, ttl: timedelta) -> Lease:
    """A new attempt: the first one, or one that takes an expired lease over.

    Raises:
        LeaseLost: The lease is held, or its trial is finished.
    """
    if previous is None:
        return Lease(worker, 1, now + ttl)
    if not previous.expired(now):
        raise LeaseLost("the trial is finished" if previous.ended else f"{previous.worker} holds the lease")
    return Lease(worker, previous.fence + 1, now + ttl)


def renew(lease: Lease | None, fence: int, now: datetime, ttl: timedelta) -> Lease:
    """The same attempt, for one more lease time.

    Raises:
        LeaseLost: The fence is old, or the trial is finished.
    """
    return replace(held(lease, fence), expires_at=now + ttl)


def release(lease: Lease | None, fence: int, now: datetime) -> Lease:
    """The attempt gives its trial back: it is expired at once.

    Raises:
        LeaseLost: The fence is old, or the trial is finished.
    """
    return replace(held(lease, fence), expires_at=now)


def end(lease: Lease | None, fence: int) -> Lease:
    """The attempt finished its trial.

    Raises:
        LeaseLost: The fence is old, or the trial is finished already.
    """
    return replace(held(lease, fence), ended=True)


def held(lease: Lease | None, fence: int) -> Lease:
    """The lease, if `fence` is its newest and it is open.

    Raises:
        LeaseLost: It is not.
    """
    if lease is None:
        raise LeaseLost("the trial has no lease; it was removed")
    if fence > lease.fence:
        raise LeaseLost(f"fence {fence} was never given; the newest is {lease.fence}")
    if fence < lease.fence:
        raise LeaseLost(f"fence {fence} is old: {lease.worker} took the trial over with fence {lease.fence}")
    if lease.ended:
        raise LeaseLost("the trial is finished")
    return lease
