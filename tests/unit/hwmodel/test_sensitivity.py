"""Sensitivity: small fronts whose changes are known, and properties of any front."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodel.errors import DeviceError, HwmodelError
from hwmodel.sensitivity import FACTORS, Change, EnergySplit, moved, sensitivity, split_of
from hwmodel.simulate import simulate
from objectives.pareto import front
from tests.unit.hwmodel.networks import random_activity, small_accelerator

PROPERTY = settings(max_examples=100, deadline=None, derandomize=True)
DIRECTIONS = {"accuracy": "maximize", "latency_ms": "minimize", "fps_per_watt": "maximize", "energy_uj": "minimize"}


def values_of(splits: list[EnergySplit], accuracy: list[float], latency: list[float]) -> list[dict[str, float]]:
    return [
        {
            "accuracy": right,
            "latency_ms": milliseconds,
            "fps_per_watt": 1 / moved(split, 1, 1),
            "energy_uj": moved(split, 1, 1) * 1e6,
        }
        for split, right, milliseconds in zip(splits, accuracy, latency, strict=True)
    ]


def some(names: tuple[str, ...]) -> dict[str, str]:
    return {name: DIRECTIONS[name] for name in names}


# The same accuracy; 10 J, mostly static, against 9 J, all dynamic: the second leads until static power falls or
# event energies rise.
RIVALS = [EnergySplit(8, 1, 1), EnergySplit(0, 4, 5)]


@pytest.mark.parametrize("objective", ["fps_per_watt", "energy_uj"])
def test_two_rivals_change_places_where_their_energies_cross(objective: str) -> None:
    changes = sensitivity(RIVALS, values_of(RIVALS, [0.9, 0.9], [1, 1]), some(("accuracy", objective)))
    crossed = {(change.static_factor, change.events_factor) for change in changes if change.leave}
    # 8s + 2e against 9e: the first leads where s / e is below 7 / 8
    assert crossed == {(0.5, 1.0), (0.5, 1.5), (1.0, 1.5)}
    for change in changes:
        is_crossed = (change.static_factor, change.events_factor) in crossed
        assert (change.size, change.stay, change.leave, change.enter) == ((1, 0, 1, 1) if is_crossed else (1, 1, 0, 0))


def test_a_point_enters_beside_one_that_stays() -> None:
    changes = sensitivity(RIVALS, values_of(RIVALS, [0.9, 0.95], [1, 1]), some(("accuracy", "energy_uj")))
    assert changes[1] == Change(static_factor=0.5, events_factor=1.0, size=2, stay=1, leave=0, enter=1)
    assert changes[4] == Change(static_factor=1.0, events_factor=1.0, size=1, stay=1, leave=0, enter=0)


def test_a_point_leaves_when_its_lead_in_energy_is_lost() -> None:
    changes = sensitivity(RIVALS, values_of(RIVALS, [0.95, 0.9], [1, 1]), some(("accuracy", "energy_uj")))
    assert changes[1] == Change(static_factor=0.5, events_factor=1.0, size=1, stay=1, leave=1, enter=0)


def test_clock_power_moves_with_the_events() -> None:
    assert moved(EnergySplit(static_j=100, clock_j=10, events_j=1), 0.5, 1.5) == 50 + 15 + 1.5


def test_a_front_without_energy_does_not_move() -> None:
    changes = sensitivity(RIVALS, values_of(RIVALS, [0.9, 0.8], [2, 1]), some(("accuracy", "latency_ms")))
    assert {(change.size, change.stay, change.leave, change.enter) for change in changes} == {(2, 2, 0, 0)}


def test_equal_points_are_on_the_front_together() -> None:
    splits = [RIVALS[1]] * 3
    changes = sensitivity(splits, values_of(splits, [0.9] * 3, [1] * 3), some(("accuracy", "fps_per_watt")))
    assert {(change.size, change.stay) for change in changes} == {(3, 3)}


def test_each_pair_of_factors_comes_once_static_outermost() -> None:
    changes = sensitivity(RIVALS, values_of(RIVALS, [0.9, 0.9], [1, 1]), DIRECTIONS)
    pairs = [(change.static_factor, change.events_factor) for change in changes]
    assert pairs == [(static, events) for static in FACTORS for events in FACTORS]
    assert FACTORS == (0.5, 1.0, 1.5)


LEVELS = st.integers(1, 6).map(float)
TRIALS = st.lists(st.tuples(LEVELS, LEVELS, LEVELS, LEVELS, LEVELS), min_size=1, max_size=25)
ANY_OBJECTIVES = st.sampled_from(
    [("accuracy", "fps_per_watt"), ("accuracy", "latency_ms", "energy_uj"), tuple(DIRECTIONS)]
)


@given(TRIALS, ANY_OBJECTIVES)
@PROPERTY
def test_the_moved_front_is_the_front_of_the_moved_values(
    trials: list[tuple[float, ...]], names: tuple[str, ...]
) -> None:
    splits = [EnergySplit(*trial[:3]) for trial in trials]
    values = values_of(splits, [trial[3] / 10 for trial in trials], [trial[4] for trial in trials])

    def on_front(static_factor: float, events_factor: float) -> set[int]:
        rows = []
        for split, trial in zip(splits, values, strict=True):
            ratio = moved(split, static_factor, events_factor) / moved(split, 1, 1)
            by_name = {**trial, "fps_per_watt": trial["fps_per_watt"] / ratio, "energy_uj": trial["energy_uj"] * ratio}
            rows.append([by_name[name] for name in names])
        return set(np.flatnonzero(front(np.array(rows), names)).tolist())

    before = on_front(1, 1)
    for change in sensitivity(splits, values, some(names)):
        after = on_front(change.static_factor, change.events_factor)
        assert change.size == len(after)
        assert change.stay == len(after & before)
        assert change.leave == len(before - after)
        assert change.enter == len(after - before)
        if change.static_factor == change.events_factor:
            assert (change.leave, change.enter) == (0, 0)


def test_the_split_of_a_report_is_its_energy() -> None:
    accelerator = small_accelerator()
    simulation = simulate(accelerator, random_activity(accelerator, seed=2))
    split = split_of(simulation.report())
    by_cause = simulation.layer_energy_j.mean(axis=0).sum(axis=0)
    assert split.static_j == pytest.approx(by_cause[0], rel=1e-12)
    assert split.clock_j == pytest.approx(by_cause[1], rel=1e-12)
    assert split.events_j == pytest.approx(by_cause[2:].sum(), rel=1e-12)
    assert 1 / moved(split, 1, 1) == pytest.approx(simulation.fps_per_watt, rel=1e-12)


def test_a_report_without_energy_is_refused_with_its_reason() -> None:
    accelerator = small_accelerator(device="xc7z020")
    report = simulate(accelerator, random_activity(accelerator, seed=2)).report()
    with pytest.raises(DeviceError, match="no energy to move: static power of device xc7z020 is unknown"):
        split_of(report)


def test_no_trial_and_no_number_are_refused() -> None:
    with pytest.raises(HwmodelError, match="no trial"):
        sensitivity([], [], DIRECTIONS)
    values = values_of(RIVALS, [0.9, float("nan")], [1, 1])
    with pytest.raises(HwmodelError, match="entry 1: accuracy is nan"):
        sensitivity(RIVALS, values, DIRECTIONS)
    with pytest.raises(HwmodelError, match="1 energies for 2 trials"):
        sensitivity(RIVALS[:1], values, DIRECTIONS)


@pytest.mark.parametrize("parts", [(0, 0, 0), (-1, 1, 1), (1, float("nan"), 1), (1, 1, float("inf"))])
def test_an_energy_that_is_none_is_refused(parts: tuple[float, float, float]) -> None:
    with pytest.raises(HwmodelError, match="expected finite parts, not all 0"):
        EnergySplit(*parts)
