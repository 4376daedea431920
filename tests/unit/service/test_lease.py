"""The lease as a state machine: by examples, and under any order of events."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from service.errors import LeaseLost
from service.lease import Lease, end, held, release, renew, take

TTL = timedelta(seconds=30)
START = datetime(2024, 1, 1, tzinfo=UTC)


def _after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_the_first_attempt_has_fence_one() -> None:
    assert take(None, "a", START, TTL) == Lease("a", 1, _after(30))


def test_a_held_lease_is_refused_and_names_its_holder() -> None:
    lease = take(None, "a", START, TTL)
    with pytest.raises(LeaseLost, match="a holds the lease"):
        take(lease, "b", _after(29.999), TTL)


def test_an_expired_lease_is_taken_over_with_the_next_fence() -> None:
    lease = take(None, "a", START, TTL)
    assert take(lease, "b", _after(30), TTL) == Lease("b", 2, _after(60))


def test_an_expired_lease_that_nobody_took_may_be_renewed() -> None:
    lease = take(None, "a", START, TTL)
    assert renew(lease, 1, _after(100), TTL) == Lease("a", 1, _after(130))


def test_who_was_taken_over_can_do_nothing() -> None:
    taken = take(take(None, "a", START, TTL), "b", _after(31), TTL)
    calls: tuple[Callable[[], Lease], ...] = (
        lambda: renew(taken, 1, _after(32), TTL),
        lambda: release(taken, 1, _after(32)),
        lambda: end(taken, 1),
    )
    for late in calls:
        with pytest.raises(LeaseLost, match="fence 1 is old: b took the trial over with fence 2"):
            late()


def test_a_fence_from_the_future_is_refused_too() -> None:
    with pytest.raises(LeaseLost, match="fence 2 was never given; the newest is 1"):
        renew(take(None, "a", START, TTL), 2, START, TTL)


def test_released_is_expired_at_once() -> None:
    lease = release(take(None, "a", START, TTL), 1, _after(5))
    assert lease.expired(_after(5))
    assert take(lease, "b", _after(5), TTL).fence == 2


def test_an_ended_lease_stays_ended() -> None:
    ended = end(take(None, "a", START, TTL), 1)
    assert not ended.expired(_after(1000))
    calls: tuple[Callable[[], Lease], ...] = (
        lambda: take(ended, "b", _after(1000), TTL), lambda: renew(ended, 1, START, TTL),
        lambda: release(ended, 1, START), lambda: end(ended, 1),
    )  # fmt: skip
    for late in calls:
        with pytest.raises(LeaseLost, match="the trial is finished"):
            late()


def test_a_trial_without_lease_is_refused() -> None:
    with pytest.raises(LeaseLost, match="it was removed"):
        held(None, 1)


class LeaseMachine(RuleBasedStateMachine):
    """Workers act on one trial at any time and with any fence they ever held, as late as they like."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.lease: Lease | None = None
        self.attempts: list[str] = []  # worker by fence - 1

    @rule(seconds=st.floats(0, 70))
    def time_passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(worker=st.sampled_from("abc"))
    def somebody_takes(self, worker: str) -> None:
        before = self.lease
        is_free = before is None or (not before.ended and self.now >= before.expires_at)
        try:
            self.lease = take(before, worker, self.now, TTL)
        except LeaseLost:
            assert not is_free
            return
        assert is_free
        self.attempts.append(worker)
        assert self.lease == Lease(worker, len(self.attempts), self.now + TTL)  # fences rise by one

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), event=st.sampled_from(["renew", "release", "end"]))
    def an_attempt_acts(self, data: st.DataObject, event: str) -> None:
        fence = data.draw(st.integers(1, len(self.attempts)))
        before = self.lease
        assert before is not None
        may = fence == len(self.attempts) and not before.ended
        try:
            if event == "renew":
                self.lease = renew(before, fence, self.now, TTL)
            elif event == "release":
                self.lease = release(before, fence, self.now)
            else:
                self.lease = end(before, fence)
        except LeaseLost:
            assert not may
            assert self.lease == before  # a refused event changes nothing
            return
        assert may  # a lost attempt can never renew, release or end
        assert (self.lease.worker, self.lease.fence) == (before.worker, before.fence)
        assert self.lease.ended == (event == "end")

    @invariant()
    def at_most_one_attempt_can_write(self) -> None:
        able = []
        for fence in range(1, len(self.attempts) + 1):
            try:
                held(self.lease, fence)
            except LeaseLost:
                continue
            able.append(fence)
        is_open = self.lease is not None and not self.lease.ended
        assert able == ([len(self.attempts)] if is_open else [])


TestAnyOrder = LeaseMachine.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=25, derandomize=True, deadline=None)
