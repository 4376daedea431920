"""Pareto fronts and hypervolume over several objectives, some of them to be maximised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import moocore
import numpy as np
from numpy.typing import NDArray

from objectives.errors import ObjectivesError
from objectives.spec import OBJECTIVES

Values = NDArray[np.float64]


def nondominated(losses: Values) -> NDArray[np.bool_]:
    """Which points no other point dominates, all objectives to be minimised; equal points are all kept.

    Points are compared by their places among an objective's values: moocore ends the process over infinities, which
    other Optuna clients may store.

    Args:
        losses: `(points, objectives)`, one point or more, without NaN.

    Returns:
        `(points,)`.
    """
    places = np.stack([np.unique(column, return_inverse=True)[1] for column in losses.T], axis=1)
    return np.asarray(moocore.is_nondominated(places.astype(np.float64), keep_weakly=True), dtype=bool)


def front(values: Values, objectives: Sequence[str]) -> NDArray[np.bool_]:
    """Which points no other point dominates.

    Args:
        values: `(points, objectives)`; equal points are all kept.
        objectives: Names, which give the directions.

    Returns:
        `(points,)`; empty for no points.
    """
    return nondominated(values * _signs(objectives)) if len(values) else np.zeros(0, dtype=bool)


def hypervolume(values: Values, objectives: Sequence[str], reference: Mapping[str, float]) -> float:
    """Volume between the points and the reference point, in units of the reference.

    Each objective is divided by its reference value, accuracy by the distance from its reference to 1, so units
    cancel: accuracy 1 at latency 0 and twice the reference's FPS/W spans a volume of 1. A point worse than the
    reference in any objective adds nothing, and neither does one with an infinite value; no points give 0.

    Args:
        values: `(points, objectives)`.
        objectives: Names, which give the directions.
        reference: The worst corner by name, from `reference_point`.
    """
    values = values[np.isfinite(values).all(axis=1)] if len(values) else values
    if len(values) == 0:
        return 0.0
    worst = np.array([reference[name] for name in objectives])
    scale = np.array([1 - reference[name] if name == "accuracy" else reference[name] for name in objectives])
    return float(moocore.hypervolume((values - worst) / scale * _signs(objectives), ref=np.zeros(len(worst))))


def reference_point(baseline: Mapping[str, float], floor: float, objectives: Sequence[str]) -> dict[str, float]:
    """The reference point of a study: the accuracy floor, twice the baseline's costs, half its FPS/W.

    Raises:
        ObjectivesError: The baseline lacks an objective.
    """
    point: dict[str, float] = {}
    for name in objectives:
        if name not in baseline:
            raise ObjectivesError(f"the baseline has no {name}: there is no reference point without it")
        point[name] = floor if name == "accuracy" else baseline[name] * (0.5 if OBJECTIVES[name] == "maximize" else 2.0)
    return point


def change(name: str, value: float, baseline: float) -> float:
    """Change against the baseline: percentage points for accuracy, percent of the baseline for everything else."""
    return (value - baseline) * 100 if name == "accuracy" else (value / baseline - 1) * 100


def losses_of(vectors: Sequence[Mapping[str, float]], objectives: Sequence[str]) -> Values:
    """Objective vectors by name as `(points, objectives)`, all to be minimised."""
    values = np.array([[vector[name] for name in objectives] for vector in vectors], dtype=np.float64)
    return values * _signs(objectives)


def _signs(objectives: Sequence[str]) -> Values:
    """Factor that turns each objective into one to be minimised."""
    return np.array([-1.0 if OBJECTIVES[name] == "maximize" else 1.0 for name in objectives])
