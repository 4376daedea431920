"""The filter against its definition: duplicates, every number of columns, enough points for many trees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hwmodel.nondominated import LEAF, nondominated

Ints = NDArray[np.int64]


def naive(values: Ints) -> list[bool]:
    return [not any((other <= one).all() and (other < one).any() for other in values) for one in values]


@st.composite
def points(draw: st.DrawFn) -> Ints:
    """Few distinct values make duplicates and ties in single columns, many make long fronts."""
    columns = draw(st.integers(1, 6))
    rows = draw(st.integers(1, 200))
    highest = draw(st.sampled_from([1, 3, 30, 10**9]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.integers(-highest, highest, (rows, columns), endpoint=True)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(points())
def test_keeps_what_the_definition_keeps(values: Ints) -> None:
    assert nondominated(values).tolist() == naive(values)


def test_by_hand() -> None:
    values = np.array([[1, 5], [2, 4], [2, 5], [5, 1], [1, 5], [5, 2]])
    assert nondominated(values).tolist() == [True, True, False, True, True, False]


def test_no_points_give_no_answer() -> None:
    assert nondominated(np.empty((0, 5), np.int64)).tolist() == []


@pytest.mark.parametrize("count", [1, LEAF - 1, LEAF, LEAF + 1, 10 * LEAF])
def test_equal_points_are_all_kept_or_all_dropped(count: int) -> None:
    values = np.tile(np.array([[3, 1, 4]]), (count, 1))
    assert nondominated(values).all()
    assert nondominated(np.vstack([values, [[3, 1, 3]]])).tolist() == [False] * count + [True]


@pytest.mark.parametrize("columns", [2, 3, 5])
def test_a_front_of_thousands_is_kept_and_what_lies_above_it_is_not(columns: int) -> None:
    rng = np.random.default_rng(columns)
    front = np.unique((rng.dirichlet(np.ones(columns), 5000) * 10**9).astype(np.int64), axis=0)
    front[:, -1] = 10**9 - front[:, :-1].sum(axis=1)  # the sums are equal, so none dominates another
    above = front + rng.integers(0, 2, front.shape)
    raised = (above > front).any(axis=1)
    kept = nondominated(np.vstack([above, front]))
    np.testing.assert_array_equal(kept[: len(front)], ~raised)
    assert kept[len(front) :].all()


def test_columns_of_very_different_size() -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(0, [2**58, 3, 50, 1, 10**6], (300, 5), endpoint=True)
    assert nondominated(values).tolist() == naive(values)


def test_the_points_are_left_as_they_were() -> None:
    values = np.array([[4, 2], [3, 9]])
    nondominated(values)
    assert values.tolist() == [[4, 2], [3, 9]]
