"""Idle workers, few and many, against the rate at which a server wants to be asked."""

from __future__ import annotations

import heapq

import pytest

from service.pacing import CALLS_PER_S, LEAST_S, MARGIN_S, MOST_S, Pacing


def calls_per_second(workers: int, seconds: float) -> float:
    """Of the last half of the time, with workers that ask when they were told to."""
    pacing, waiting = Pacing(), [(number / workers, number) for number in range(workers)]
    late = 0
    while waiting[0][0] < seconds:
        now, number = heapq.heappop(waiting)
        late += now >= seconds / 2
        heapq.heappush(waiting, (now + pacing.wait_s(now), number))
    return late / (seconds / 2)


def test_a_few_ask_twice_a_second() -> None:
    assert calls_per_second(10, 20.0) == pytest.approx(10 / LEAST_S, rel=0.1)


@pytest.mark.parametrize("workers", [200, 1_000])
def test_many_ask_as_often_as_is_wanted(workers: int) -> None:
    assert calls_per_second(workers, 120.0) == pytest.approx(CALLS_PER_S, rel=0.3)


def test_nobody_waits_for_long() -> None:
    pacing = Pacing()

    assert max(pacing.wait_s(call / 10_000) for call in range(50_000)) <= MOST_S


def test_after_a_quiet_time_the_wait_is_short_again() -> None:
    pacing = Pacing()
    for call in range(20_000):
        pacing.wait_s(call / 5_000)

    assert pacing.wait_s(1_000.0) < 1.0
    assert pacing.wait_s(1_002.0) == LEAST_S


def test_one_of_a_few_comes_when_the_next_lease_runs_out() -> None:
    pacing = Pacing()

    assert pacing.wait_s(10.0, next_expiry=10.2) == pytest.approx(0.2 + MARGIN_S)
    assert pacing.wait_s(10.0, next_expiry=17.0) == LEAST_S
    assert pacing.wait_s(10.0, next_expiry=9.9) == LEAST_S, "somebody else has it by now"


def test_many_do_not_all_come_when_a_lease_runs_out() -> None:
    pacing = Pacing()
    waits = [pacing.wait_s(call / 5_000, next_expiry=call / 5_000 + 0.1) for call in range(20_000)]

    assert waits[-1] > LEAST_S
