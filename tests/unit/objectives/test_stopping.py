"""Which trials each method stops, and that the order it goes by is the one it names."""

from __future__ import annotations

import moocore
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.pareto import front
from objectives.searchspec import StoppingSpec
from objectives.stopping import CORNER, _order, is_spared, judge, judge_bound, rung_epochs, rung_floor

NAMES = ("accuracy", "latency_ms")
MOASHA, MEDIAN, SKYBAND = (
    StoppingSpec.model_validate({"name": name}) for name in ("moasha", "median-front", "skyband")
)
CHANCE, FLOOR = 0.1, 0.7


def vector(accuracy: float, latency_ms: float) -> dict[str, float]:
    return {"accuracy": accuracy, "latency_ms": latency_ms}


LADDER = [vector(0.9 - 0.05 * place, 1.0 + place) for place in range(8)]
"""Each dominates the next."""


def test_rungs_lie_below_the_last_epoch() -> None:
    spec = StoppingSpec(reduction=3, grace_epochs=2)

    assert rung_epochs(spec, 19) == [2, 6, 18]
    assert rung_epochs(spec, 18) == [2, 6]
    assert rung_epochs(spec, 2) == []


def test_only_the_last_rung_has_a_floor_as_sparse_networks_wake_late() -> None:
    floors = [rung_floor(MOASHA, epoch, 10, chance=CHANCE, floor=FLOOR) for epoch in (1, 3, 9)]

    assert floors == pytest.approx([0.0, 0.0, 0.3])


def test_a_floor_below_chance_is_not_raised() -> None:
    assert rung_floor(MOASHA, 9, 10, chance=0.1, floor=0.05) == 0.05


@pytest.mark.parametrize("spec", [MOASHA, MEDIAN, SKYBAND], ids=["moasha", "median-front", "skyband"])
def test_a_silent_network_stops_though_nothing_dominates_it(spec: StoppingSpec) -> None:
    verdict = judge(spec, NAMES, vector(0.1, 0.01), LADDER, 0.3)

    assert verdict.stop
    assert verdict.reason == "accuracy 0.100 is below the floor of its rung, 0.300"


def test_vectors_below_the_floor_take_no_place() -> None:
    silent = [vector(0.1, 0.01)] * 20

    assert not judge(MOASHA, NAMES, LADDER[0], [*LADDER[1:3], *silent], 0.3).stop
    assert judge(MOASHA, NAMES, LADDER[2], [*LADDER[:2], *silent], 0.3).stop


def test_moasha_lets_a_third_go_on() -> None:
    stopped = [judge(MOASHA, NAMES, own, [one for one in LADDER if one != own], 0.3).stop for own in LADDER]

    assert stopped == [False] * 3 + [True] * 5


def test_moasha_prefers_what_adds_more_hypervolume_within_a_rank() -> None:
    """Four that do not dominate each other: the ends stand apart, the two in the middle are nearly the same."""
    rank = [vector(0.9, 4.0), vector(0.7, 2.1), vector(0.69, 2.0), vector(0.4, 1.0)]
    halves = StoppingSpec(name="moasha", reduction=2)

    stopped = [judge(halves, NAMES, own, [one for one in rank if one != own], 0.3).stop for own in rank]

    assert stopped == [False, True, True, False]


def test_the_median_front_stops_who_is_dominated_by_half() -> None:
    stopped = [judge(MEDIAN, NAMES, own, [one for one in LADDER if one != own], 0.3).stop for own in LADDER]

    assert stopped == [False] * 4 + [True] * 4


def test_the_skyband_stops_who_is_dominated_by_four() -> None:
    stopped = [judge(SKYBAND, NAMES, own, [one for one in LADDER if one != own], 0.3).stop for own in LADDER]

    assert stopped == [False] * 4 + [True] * 4


def test_equal_vectors_do_not_put_each_other_outside_the_skyband() -> None:
    assert not judge(SKYBAND, NAMES, LADDER[0], [LADDER[0]] * 9, 0.3).stop


@pytest.mark.parametrize("spec", [MOASHA, MEDIAN, SKYBAND], ids=["moasha", "median-front", "skyband"])
def test_too_few_are_not_compared(spec: StoppingSpec) -> None:
    verdict = judge(spec, NAMES, LADDER[1], LADDER[:1], 0.3)

    assert (verdict.stop, verdict.reason) == (False, "2 at this rung, too few to compare")


def test_without_a_method_everybody_goes_on() -> None:
    assert not judge(StoppingSpec(), NAMES, vector(0.0, 100.0), LADDER, 0.3).stop


points = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=30)


@given(points)
@settings(max_examples=200, deadline=None)
def test_the_order_goes_by_rank_and_then_by_what_the_hypervolume_loses(drawn: list[tuple[int, int]]) -> None:
    """Against a plain peeling of fronts, and hypervolumes computed with and without a point."""
    losses = np.array(drawn, dtype=np.float64)
    order = _order(losses)
    values = losses * np.array([-1.0, 1.0])  # accuracy is maximised

    ranks, left, rank = np.zeros(len(values), dtype=int), np.arange(len(values)), 0
    while left.size:
        is_on = front(values[left], NAMES)
        ranks[left[is_on]] = rank
        left, rank = left[~is_on], rank + 1
    assert list(ranks[order]) == sorted(ranks)

    least, most = losses.min(axis=0), losses.max(axis=0)
    scaled = (losses - least) / np.where(most > least, most - least, 1.0)

    def volume(members: list[int]) -> float:
        return float(moocore.hypervolume(scaled[members], ref=[CORNER, CORNER])) if members else 0.0

    def lost(member: int, members: list[int]) -> float:
        return round(volume(members) - volume([other for other in members if other != member]), 9)

    for rank in range(ranks.max() + 1):
        members = [int(place) for place in order if ranks[place] == rank]
        losts = [lost(member, members) for member in members]
        assert losts == sorted(losts, reverse=True)


@given(points, st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_neither_units_nor_the_order_of_the_others_matter(drawn: list[tuple[int, int]], seed: int) -> None:
    others = [vector(0.3 + 0.05 * good, float(cost)) for good, cost in drawn]
    shuffled = [others[place] for place in np.random.default_rng(seed).permutation(len(others))]
    own = vector(0.55, 4.5)

    def stops(vectors: list[dict[str, float]], factor: float) -> bool:
        scaled = [vector(one["accuracy"], one["latency_ms"] * factor) for one in (own, *vectors)]
        return judge(MOASHA, NAMES, scaled[0], scaled[1:], 0.3).stop

    assert stops(others, 1.0) == stops(shuffled, 1e-6)


def test_the_gate_stops_only_who_is_dominated_at_its_best() -> None:
    finished = [vector(1.0, 2.0), vector(0.9, 1.0)]

    assert judge_bound(NAMES, vector(1.0, 2.5), finished).stop
    assert not judge_bound(NAMES, vector(1.0, 2.0), finished).stop, "equal is not worse"
    assert not judge_bound(NAMES, vector(1.0, 1.5), finished).stop
    assert not judge_bound(NAMES, vector(1.0, 9.9), []).stop


def test_one_in_so_many_is_spared_and_always_the_same() -> None:
    spec = StoppingSpec(spare=10)
    spared = [number for number in range(3000) if is_spared(spec, 7, number)]

    assert 240 <= len(spared) <= 360
    assert spared == [number for number in range(3000) if is_spared(spec, 7, number)]
    assert spared != [number for number in range(3000) if is_spared(spec, 8, number)]
    assert not any(is_spared(StoppingSpec(spare=0), 7, number) for number in range(100))
