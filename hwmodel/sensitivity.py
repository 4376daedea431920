"""How far a front rests on the power constants: what changes when they are wrong by half.

Two factors move on their own. The first is the device's static power, from a report of that device. The
second is everything dynamic, event energies and clock power together: both come from one report of one
other device, so an error of its process or its activity is in both. Latency and accuracy do not move.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwmodel.errors import DeviceError, HwmodelError
from hwmodel.power import EVENTS

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FACTORS = (0.5, 1.0, 1.5)
"""What each constant is multiplied by: +-50 %, the stated uncertainty, and the value itself."""

FALLS_WITH_ENERGY, RISES_WITH_ENERGY = "fps_per_watt", "energy_uj"
"""The objectives that move: 1 / energy, and energy."""

_UJ = 1e-6


@dataclass(frozen=True)
class EnergySplit:
    """Mean energy of one image by what its constants come from [J].

    Raises:
        HwmodelError: A part is negative or not finite, or all are 0.
    """

    static_j: float
    clock_j: float
    events_j: float

    def __post_init__(self) -> None:
        parts = (self.static_j, self.clock_j, self.events_j)
        if min(parts) < 0 or not 0 < sum(parts) < math.inf:
            raise HwmodelError(f"energy of {parts} J (static, clock, events): expected finite parts, not all 0")


@dataclass(frozen=True)
class Change:
    """What one pair of factors does to a front.

    Attributes:
        static_factor: Multiplies static power.
        events_factor: Multiplies event energies and clock power.
        size: Points of the moved front.
        stay: Points in both fronts.
        leave: Points of the unmoved front only.
        enter: Points of the moved front only.
    """

    static_factor: float
    events_factor: float
    size: int
    stay: int
    leave: int
    enter: int


def split_of(report: Mapping[str, Any]) -> EnergySplit:
    """Energy of a simulation's report, over all layers, by what its constants come from.

    Args:
        report: As `Simulation.report()` returns it.

    Raises:
        DeviceError: The report has no energy, because the device lacks a figure.
    """
    layers = [layer["energy_uj"] for layer in report["layers"]]
    if any(causes is None for causes in layers):
        raise DeviceError(f"the report has no energy to move: {report['energy_unknown']}")
    return EnergySplit(
        static_j=_UJ * sum(causes["static"] for causes in layers),
        clock_j=_UJ * sum(causes["clock"] for causes in layers),
        events_j=_UJ * sum(causes[name] for causes in layers for name in EVENTS),
    )


def moved(split: EnergySplit, static_factor: float, events_factor: float) -> float:
    """Energy with static power and dynamic energies (events and clock) multiplied [J]."""
    return static_factor * split.static_j + events_factor * (split.clock_j + split.events_j)


def sensitivity(
    splits: Sequence[EnergySplit],
    values: Sequence[Mapping[str, float]],
    directions: Mapping[str, str],
) -> list[Change]:
    """Recompute a front for each pair of `FACTORS`: nine changes, static factor outermost.

    Args:
        splits: Energy of each trial; only trials that may be on a front, so the feasible ones.
        values: Objectives of the same trials by name; `fps_per_watt` and `energy_uj` move.
        directions: "maximize" or "minimize" by objective; gives the objectives of the front.

    Returns:
        The pair (1, 1) leaves all as it is. Points with equal values are all on a front or none is.

    Raises:
        HwmodelError: No trial, more of one than of the other, or a value that is not finite.
    """
    if not splits:
        raise HwmodelError("no trial to build a front of; give at least one that completed and is feasible")
    if len(splits) != len(values):
        raise HwmodelError(f"{len(splits)} energies for {len(values)} trials; give one a trial")
    costs = _costs(values, directions)
    before = _front(costs)
    changes = []
    for static_factor, events_factor in product(FACTORS, repeat=2):
        ratios = np.array([_ratio(split, static_factor, events_factor) for split in splits])
        after = _front(_moved_costs(costs, ratios, directions))
        changes.append(_change(before, after, static_factor, events_factor))
    return changes


def _change(before: Bools, after: Bools, static_factor: float, events_factor: float) -> Change:
    return Change(
        static_factor=static_factor,
        events_factor=events_factor,
        size=int(after.sum()),
        stay=int((before & after).sum()),
        leave=int((before & ~after).sum()),
        enter=int((after & ~before).sum()),
    )


def _ratio(split: EnergySplit, static_factor: float, events_factor: float) -> float:
    return moved(split, static_factor, events_factor) / moved(split, 1.0, 1.0)


def _costs(values: Sequence[Mapping[str, float]], directions: Mapping[str, str]) -> Floats:
    """Objectives as numbers to be minimised `(trials, objectives)`."""
    signs = {"maximize": -1.0, "minimize": 1.0}
    costs = np.array([[signs[way] * trial[name] for name, way in directions.items()] for trial in values])
    if not np.isfinite(costs).all():
        trial, objective = np.argwhere(~np.isfinite(costs))[0]
        name = list(directions)[objective]
        raise HwmodelError(f"entry {trial}: {name} is {values[trial][name]}; give finite values only")
    return costs


def _moved_costs(costs: Floats, ratios: Floats, directions: Mapping[str, str]) -> Floats:
    """Costs with each trial's energy multiplied by its ratio; ratios of 1 change no bit."""
    moved_costs = costs.copy()
    for column, name in enumerate(directions):
        if name == RISES_WITH_ENERGY:
            moved_costs[:, column] *= ratios
        elif name == FALLS_WITH_ENERGY:
            moved_costs[:, column] /= ratios
    return moved_costs


def _front(costs: Floats) -> Bools:
    """Which rows no other row dominates `(trials,)`: nowhere worse and somewhere better.

    In ascending order a row can only be dominated by one before it, and then by one of the front.
    """
    on_front = np.zeros(len(costs), dtype=bool)
    best, found = np.empty_like(costs), 0
    for index in np.lexsort(costs.T[::-1]):
        row, ahead = costs[index], best[:found]
        if not ((ahead <= row).all(axis=1) & (ahead < row).any(axis=1)).any():
            best[found], found = row, found + 1
            on_front[index] = True
    return on_front
