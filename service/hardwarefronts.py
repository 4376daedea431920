"""The accelerators worth building in a study: the union of its trials' hardware fronts."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial

from objectives.pareto import front
from objectives.spec import OBJECTIVES
from service.fronts import is_feasible
from service.record import Record
from storage import leases

READ_AT_ONCE = 200
"""Results read from the database at once."""

Point = dict[str, Any]


def hardware_points(trial: FrozenTrial, objectives: Sequence[str], details: Mapping[str, Any]) -> Iterator[Point]:
    """The accelerators of a trial that trade latency for energy, each with all objectives.

    Args:
        trial: A complete trial, which gives the accuracy.
        objectives: Names, in the study's order.
        details: What the trial brought beside its values; without a search of accelerators there are no points.
    """
    own = dict(zip(objectives, trial.values, strict=True))
    chosen = details.get("accelerator_chosen")
    for found in details.get("hardware_front", ()):
        built = {name: found[name] for name in ("neural_cores", "encoder_widths")}
        rest = {name: value for name, value in found.items() if name not in (*built, *OBJECTIVES)}
        values = {name: own[name] if name == "accuracy" else found[name] for name in objectives}
        yield {"trial": trial.number, "values": values, **built, **rest, "chosen": built == chosen}


def union(points: Iterable[Point], objectives: Sequence[str]) -> list[Point]:
    """The points that no other dominates, best in the first objective first; equal ones are all kept."""
    listed = list(points)
    values = np.array([[point["values"][name] for name in objectives] for point in listed], dtype=np.float64)
    signs = [-1 if OBJECTIVES[name] == "maximize" else 1 for name in objectives]
    kept = [point for point, is_on in zip(listed, front(values, objectives), strict=True) if is_on]

    def order(point: Point) -> tuple[float, ...]:
        worse = (sign * point["values"][name] for sign, name in zip(signs, objectives, strict=True))
        return (*worse, point["trial"])

    return sorted(kept, key=order)


@dataclass
class _Known:
    seen: set[int] = field(default_factory=set)
    points: list[Point] = field(default_factory=list)


class HardwareFronts:
    """The union of each study's hardware fronts, kept from call to call: a finished trial never changes.

    Args:
        record: The open database.
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self._known: dict[int, _Known] = {}
        self._one_at_a_time = threading.Lock()

    def of(self, study_id: int, objectives: Sequence[str], trials: Sequence[FrozenTrial]) -> list[Point]:
        """The union over the feasible ones among a study's trials; empty before the first."""
        with self._one_at_a_time:
            known = self._known.setdefault(study_id, _Known())
            new = {trial._trial_id: trial for trial in trials if is_feasible(trial)}
            unread = sorted(new.keys() - known.seen)
            for start in range(0, len(unread), READ_AT_ONCE):
                ids = unread[start : start + READ_AT_ONCE]
                known.points = union([*known.points, *self._read(ids, new, objectives)], objectives)
                known.seen.update(ids)
            return known.points

    def _read(
        self, ids: Sequence[int], trials: Mapping[int, FrozenTrial], objectives: Sequence[str]
    ) -> Iterator[Point]:
        with self._record.engine.connect() as connection:
            stored = leases.results(connection, ids)
        for trial_id in ids:
            yield from hardware_points(trials[trial_id], objectives, stored.get(trial_id, {}).get("details", {}))
