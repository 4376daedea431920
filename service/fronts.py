"""A study's Pareto front as people see it: points with test scores and change against the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from objectives.pareto import change, front, hypervolume
from objectives.spec import OBJECTIVES


def is_feasible(trial: FrozenTrial) -> bool:
    """Whether a trial is complete and keeps every constraint."""
    return trial.state is TrialState.COMPLETE and all(value <= 0 for value in trial.constraints.values())


def feasible_front(trials: Sequence[FrozenTrial], objectives: Sequence[str]) -> list[FrozenTrial]:
    """The feasible trials that no other feasible trial dominates, best accuracy first."""
    feasible = [trial for trial in trials if is_feasible(trial)]
    values = np.array([trial.values for trial in feasible], dtype=np.float64)
    on_front = [trial for trial, is_on in zip(feasible, front(values, objectives), strict=True) if is_on]
    first, sign = objectives[0], -1 if OBJECTIVES[objectives[0]] == "maximize" else 1
    return sorted(on_front, key=lambda trial: sign * _values(trial, objectives)[first])


@dataclass(frozen=True)
class Front:
    """The front of a study at one moment.

    Attributes:
        baseline: The baseline's point, or None until it is complete.
        points: The points of the front, as `pareto --json` prints them.
        hypervolume: In units of the reference point; None until the baseline is complete.
        hardware: Points of all accelerators that trials tried, from `hardwarefronts`; None where trials search none.
    """

    study: str
    objectives: tuple[str, ...]
    baseline: dict[str, Any] | None
    points: tuple[dict[str, Any], ...]
    hypervolume: float | None
    reference: dict[str, float] | None
    hardware: tuple[dict[str, Any], ...] | None = None

    def document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        document = {
            "study": self.study,
            "objectives": list(self.objectives),
            "baseline": self.baseline,
            "front": list(self.points),
            "hypervolume": self.hypervolume,
            "reference": self.reference,
        }
        return document if self.hardware is None else {**document, "hardware_front": list(self.hardware)}


def baseline_of(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """The baseline's trial, once it is complete."""
    return next((trial for trial in trials if trial.number == 0 and trial.state is TrialState.COMPLETE), None)


def build_front(
    study: str,
    objectives: tuple[str, ...],
    on_front: Sequence[FrozenTrial],
    first: FrozenTrial | None,
    results: Mapping[int, Mapping[str, Any]],
    reference: dict[str, float] | None,
) -> Front:
    """Put a front together.

    Args:
        study: Its name.
        objectives: Names, in the study's order.
        on_front: The trials of the front, from `feasible_front`.
        first: The baseline's trial, from `baseline_of`.
        results: Stored results of these trials by Optuna's trial id.
        reference: The reference point, once the baseline is complete.
    """
    baseline = None if first is None else _values(first, objectives)
    values = np.array([trial.values for trial in on_front], dtype=np.float64)
    return Front(
        study=study,
        objectives=objectives,
        baseline=None if first is None else _point(first, objectives, baseline, results),
        points=tuple(_point(trial, objectives, baseline, results) for trial in on_front),
        hypervolume=None if reference is None else hypervolume(values, objectives, reference),
        reference=reference,
    )


def hypervolume_steps(
    trials: Sequence[FrozenTrial], objectives: Sequence[str], reference: Mapping[str, float] | None
) -> list[tuple[int, float]]:
    """Hypervolume after each trial that raised it, as `(trials finished, hypervolume)`; empty without a reference."""
    if reference is None:
        return []
    ended = sorted(
        (trial for trial in trials if trial.state.is_finished()),
        key=lambda trial: (trial.datetime_complete is None, trial.datetime_complete, trial.number),
    )
    steps: list[tuple[int, float]] = []
    points = np.empty((0, len(objectives)))
    for finished, trial in enumerate(ended, start=1):
        if not is_feasible(trial):
            continue
        points = np.vstack([points, trial.values])
        points = points[front(points, objectives)]
        volume = hypervolume(points, objectives, reference)
        if not steps or volume > steps[-1][1]:
            steps.append((finished, volume))
    return steps


def _point(
    trial: FrozenTrial,
    objectives: Sequence[str],
    baseline: Mapping[str, float] | None,
    results: Mapping[int, Mapping[str, Any]],
) -> dict[str, Any]:
    values, stored = _values(trial, objectives), results.get(trial._trial_id, {})
    test, details = stored.get("test") or {}, stored.get("details", {})
    return {
        "trial": trial.number,
        "values": values,
        "test": test.get("values"),
        "params": dict(trial.params),
        "vs_baseline": None
        if baseline is None
        else {name: change(name, value, baseline[name]) for name, value in values.items()},
        "on_baseline_accelerator": stored.get("on_baseline_accelerator"),
        "test_on_baseline_accelerator": test.get("on_baseline_accelerator"),
        "accuracy_standard_error": details.get("accuracy_standard_error"),
        "accelerator_chosen": details.get("accelerator_chosen"),
    }


def _values(trial: FrozenTrial, objectives: Sequence[str]) -> dict[str, float]:
    return dict(zip(objectives, trial.values, strict=True))
