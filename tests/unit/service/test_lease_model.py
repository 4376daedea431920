"""The lease against a model: several workers, a network that delays, repeats and reorders, a clock that jumps.

The model keeps no lease. It keeps the log of what was accepted and works everything out of it, from its beginning.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from service import lease as machine
from service.errors import LeaseLost

TTL = timedelta(seconds=30)
START = datetime(2024, 1, 1, tzinfo=UTC)

Kind = Literal["renew", "release", "end"]
KINDS: tuple[Kind, ...] = ("renew", "release", "end")


@dataclass(frozen=True)
class Report:
    """What a worker has sent, with the fence that it believes in; it may arrive late, twice or never."""

    kind: Kind
    fence: int


@dataclass(frozen=True)
class Entry:
    """Something that was accepted, and when."""

    kind: Literal["take", "renew", "release", "end"]
    at: datetime
    worker: str = ""


class Model:
    """What the log says."""

    def __init__(self) -> None:
        self.log: list[Entry] = []

    @property
    def workers(self) -> list[str]:
        """Who had which attempt; the first one has fence 1."""
        return [entry.worker for entry in self.log if entry.kind == "take"]

    @property
    def is_over(self) -> bool:
        return any(entry.kind == "end" for entry in self.log)

    @property
    def deadline(self) -> datetime:
        """When the newest attempt falls silent for too long, by the last thing heard from it before its end."""
        heard = [entry for entry in self.log if entry.kind != "end"][-1]
        return heard.at if heard.kind == "release" else heard.at + TTL

    def is_free(self, now: datetime) -> bool:
        return not self.log or (not self.is_over and self.deadline <= now)

    def accepts(self, report: Report) -> bool:
        return bool(self.log) and not self.is_over and report.fence == len(self.workers)


class LeaseAgainstModel(RuleBasedStateMachine):
    """One trial. Reports lie in the bundle for ever, and are delivered from it in any order and any number."""

    sent = Bundle("sent")

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.lease: machine.Lease | None = None
        self.model = Model()
        self.highest = 0

    @rule(seconds=st.floats(0, 45))
    def time_passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(days=st.sampled_from([-400, -1, 1, 400]))
    def the_clock_jumps(self, days: int) -> None:
        self.now += timedelta(days=days)

    @precondition(lambda self: self.model.log)
    @rule(microseconds=st.sampled_from([-1, 0, 1]))
    def time_comes_to_the_deadline(self, microseconds: int) -> None:
        self.now = self.model.deadline + timedelta(microseconds=microseconds)

    @rule(worker=st.sampled_from("abc"))
    def a_worker_asks(self, worker: str) -> None:
        before, is_free = self.lease, self.model.is_free(self.now)
        try:
            self.lease = machine.take(before, worker, self.now, TTL)
        except LeaseLost:
            assert not is_free
            assert self.lease is before
            return
        assert is_free, "two workers hold one trial"
        self.model.log.append(Entry("take", self.now, worker))

    @rule(target=sent, kind=st.sampled_from(KINDS), fence=st.integers(0, 8))
    def somebody_sends(self, kind: Kind, fence: int) -> Report:
        return Report(kind, fence)

    @precondition(lambda self: self.model.log)
    @rule(target=sent, kind=st.sampled_from(KINDS))
    def the_newest_attempt_reports(self, kind: Kind) -> Report:
        report = Report(kind, len(self.model.workers))
        self.a_report_arrives(report)
        return report

    @rule(report=sent)
    def a_report_arrives(self, report: Report) -> None:
        before, is_accepted = self.lease, self.model.accepts(report)
        try:
            self.lease = deliver(before, report, self.now)
        except LeaseLost:
            assert not is_accepted
            return
        assert is_accepted, f"accepted from fence {report.fence} of {len(self.model.workers)}"
        self.model.log.append(Entry(report.kind, self.now))

    @invariant()
    def the_lease_is_what_the_log_says(self) -> None:
        if not self.model.log:
            assert self.lease is None
            return
        assert self.lease is not None
        assert (self.lease.worker, self.lease.fence) == (self.model.workers[-1], len(self.model.workers))
        assert self.lease.ended == self.model.is_over
        assert self.lease.expired(self.now) == self.model.is_free(self.now)
        assert self.lease.expires_at == self.model.deadline

    @invariant()
    def the_fence_never_falls(self) -> None:
        fence = 0 if self.lease is None else self.lease.fence
        assert fence >= self.highest
        self.highest = fence

    @invariant()
    def at_most_the_newest_attempt_can_write(self) -> None:
        newest = len(self.model.workers)
        able = [fence for fence in range(newest + 3) if self._can_write(fence)]
        assert able == ([newest] if self.model.log and not self.model.is_over else [])

    @invariant()
    def an_ended_lease_accepts_nothing(self) -> None:
        if not self.model.is_over:
            return
        for fence in range(len(self.model.workers) + 2):
            assert not self._can_write(fence)
        for later in (timedelta(0), timedelta(days=1000)):
            try:
                machine.take(self.lease, "d", self.now + later, TTL)
            except LeaseLost:
                continue
            raise AssertionError("an ended lease was taken")

    def _can_write(self, fence: int) -> bool:
        """Whether any report with this fence would be accepted now."""
        taken = []
        for kind in KINDS:
            try:
                taken.append(deliver(self.lease, Report(kind, fence), self.now))
            except LeaseLost:
                continue
        assert len(taken) in (0, len(KINDS)), "reports of one fence are not treated alike"
        assert all(lease.fence == fence for lease in taken)
        return bool(taken)


def deliver(lease: machine.Lease | None, report: Report, now: datetime) -> machine.Lease:
    """The next lease.

    Raises:
        LeaseLost: The report comes from an attempt that lost its lease, or that never was.
    """
    if report.kind == "renew":
        return machine.renew(lease, report.fence, now, TTL)
    return machine.release(lease, report.fence, now) if report.kind == "release" else machine.end(lease, report.fence)


TestLeaseAgainstModel = LeaseAgainstModel.TestCase
TestLeaseAgainstModel.settings = settings(max_examples=150, stateful_step_count=50, derandomize=True, deadline=None)
