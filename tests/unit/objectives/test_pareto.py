"""Fronts and hypervolume against closed forms, a naive twin and Optuna's own."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna._hypervolume import compute_hypervolume

from objectives.errors import ObjectivesError
from objectives.pareto import Values, change, front, hypervolume, reference_point
from objectives.spec import OBJECTIVES

TWO = ("accuracy", "latency_ms")
THREE = ("accuracy", "latency_ms", "fps_per_watt")
FOUR = ("accuracy", "latency_ms", "fps_per_watt", "energy_uj")
REFERENCE = {"accuracy": 0.6, "latency_ms": 4.0, "fps_per_watt": 10.0, "energy_uj": 8.0}


def _better(a: float, b: float, name: str) -> bool:
    return a > b if OBJECTIVES[name] == "maximize" else a < b


def _naive_front(values: Values, names: tuple[str, ...]) -> list[bool]:
    def dominates(a: Values, b: Values) -> bool:
        no_worse = all(not _better(y, x, name) for x, y, name in zip(a, b, names, strict=True))
        return no_worse and any(_better(x, y, name) for x, y, name in zip(a, b, names, strict=True))

    return [not any(dominates(other, point) for other in values) for point in values]


def _tied(count: int, names: tuple[str, ...], seed: int) -> Values:
    """Random points on a coarse lattice, so that many are equal in some or all objectives."""
    random = np.random.default_rng(seed)
    scale = np.array([{"accuracy": 0.25, "latency_ms": 1.0, "fps_per_watt": 10.0, "energy_uj": 2.0}[n] for n in names])
    return np.asarray(random.integers(0, 5, size=(count, len(names))) * scale, dtype=np.float64)


@pytest.mark.parametrize("names", [TWO, THREE, FOUR])
@pytest.mark.parametrize("seed", range(6))
def test_front_agrees_with_its_naive_twin_on_ties(names: tuple[str, ...], seed: int) -> None:
    values = _tied(60, names, seed)
    assert front(values, names).tolist() == _naive_front(values, names)


def test_front_by_hand() -> None:
    values = np.array([[0.9, 2.0], [0.8, 1.0], [0.8, 1.5], [0.9, 2.0], [0.7, 3.0]])
    assert front(values, TWO).tolist() == [True, True, False, True, False]  # equal points are all kept


def test_infinite_values_have_their_place_on_a_front_and_no_volume() -> None:
    """Through other Optuna clients they come into a study; moocore ends the process over them."""
    names = ("accuracy", "latency_ms", "fps_per_watt")
    values = np.array([[0.9, 1.0, 5.0], [0.9, np.inf, 5.0], [0.5, 2.0, np.inf], [0.9, 1.0, -np.inf]])
    reference = {"accuracy": 0.5, "latency_ms": 2.0, "fps_per_watt": 2.5}

    assert front(values, names).tolist() == [True, False, True, False]
    assert hypervolume(values, names, reference) == hypervolume(values[:1], names, reference) > 0


def test_no_points() -> None:
    assert front(np.empty((0, 2)), TWO).shape == (0,)
    assert front(np.array([]), TWO).dtype == bool
    assert hypervolume(np.array([]), TWO, REFERENCE) == 0.0


def test_hypervolume_of_the_ideal_corner_is_one() -> None:
    assert hypervolume(np.array([[1.0, 0.0, 20.0]]), THREE, REFERENCE) == pytest.approx(1.0)


def test_hypervolume_of_one_point_is_a_box() -> None:
    # (0.8 - 0.6) / 0.4 * (4 - 1) / 4 * (15 - 10) / 10
    assert hypervolume(np.array([[0.8, 1.0, 15.0]]), THREE, REFERENCE) == pytest.approx(0.5 * 0.75 * 0.5)
    assert hypervolume(np.array([[0.8, 1.0, 15.0, 2.0]]), FOUR, REFERENCE) == pytest.approx(0.5 * 0.75 * 0.5 * 0.75)


def test_hypervolume_of_two_points_is_their_union() -> None:
    # boxes 1.0 x 0.25 and 0.5 x 0.75, which share 0.5 x 0.25
    values = np.array([[1.0, 3.0], [0.8, 1.0]])
    assert hypervolume(values, TWO, REFERENCE) == pytest.approx(0.25 + 0.375 - 0.125)


@pytest.mark.parametrize(
    "point", [[0.4, 1.0, 15.0], [0.8, 4.1, 15.0], [0.8, 1.0, 9.0], [0.6, 1.0, 15.0], [0.8, 4.0, 15.0], [0, 99, 0]]
)
def test_points_outside_the_reference_count_nothing(point: list[float]) -> None:
    inside = np.array([[0.8, 1.0, 15.0]])
    assert hypervolume(np.array([point]), THREE, REFERENCE) == 0.0
    together = np.vstack([inside, np.array(point)])
    assert hypervolume(together, THREE, REFERENCE) == pytest.approx(hypervolume(inside, THREE, REFERENCE))


@pytest.mark.parametrize("names", [TWO, THREE, FOUR])
@pytest.mark.parametrize("seed", range(5))
def test_hypervolume_agrees_with_optuna(names: tuple[str, ...], seed: int) -> None:
    random = np.random.default_rng(seed)
    worst = np.array([REFERENCE[name] for name in names])
    signs = np.array([1.0 if OBJECTIVES[name] == "maximize" else -1.0 for name in names])
    scale = np.array([1 - REFERENCE[name] if name == "accuracy" else REFERENCE[name] for name in names])
    gain = random.uniform(0.0, 1.0, size=(25, len(names)))  # how far inside, in units of the reference
    expected = compute_hypervolume(-gain, np.zeros(len(names)))
    assert hypervolume(worst + signs * scale * gain, names, REFERENCE) == pytest.approx(expected, rel=1e-9)


@given(st.integers(0, 10_000), st.integers(1, 12))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_hypervolume_never_falls_when_a_point_is_added(seed: int, count: int) -> None:
    values = _tied(count, THREE, seed) + np.array([0.3, 0.0, 0.0])
    volumes = [hypervolume(values[: index + 1], THREE, REFERENCE) for index in range(count)]
    assert all(after >= before - 1e-12 for before, after in pairwise(volumes))
    on_front = values[front(values, THREE)]
    assert hypervolume(on_front, THREE, REFERENCE) == pytest.approx(volumes[-1])


def test_inputs_stay_as_they_were() -> None:
    values = _tied(20, THREE, 0)
    before = values.copy()
    front(values, THREE)
    hypervolume(values, THREE, REFERENCE)
    assert np.array_equal(values, before)


def test_reference_point() -> None:
    baseline = {"accuracy": 0.9, "latency_ms": 2.0, "fps_per_watt": 20.0, "energy_uj": 4.0}
    assert reference_point(baseline, 0.6, FOUR) == REFERENCE
    with pytest.raises(ObjectivesError, match="the baseline has no energy_uj"):
        reference_point({name: baseline[name] for name in THREE}, 0.5, FOUR)


def test_change_is_in_points_for_accuracy_and_in_percent_else() -> None:
    assert change("accuracy", 0.93, 0.9) == pytest.approx(3.0)
    assert change("latency_ms", 1.0, 2.0) == pytest.approx(-50.0)
    assert change("fps_per_watt", 30.0, 20.0) == pytest.approx(50.0)
