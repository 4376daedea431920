"""Fronts as people see them, against Optuna's own on random constrained studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from objectives.pareto import hypervolume
from service.fronts import Front, baseline_of, build_front, feasible_front, hypervolume_steps, is_feasible
from storage.trials import CONSTRAINT

NAMES = ("accuracy", "latency_ms", "fps_per_watt")
REFERENCE = {"accuracy": 0.4, "latency_ms": 8.0, "fps_per_watt": 5.0}
START = datetime(2024, 1, 1)


def _trial(
    number: int,
    values: Sequence[float] | None,
    *,
    constraints: Mapping[str, float] | None = None,
    state: TrialState = TrialState.COMPLETE,
    minute: int | None = None,
) -> FrozenTrial:
    attrs = {f"{CONSTRAINT}{name}": value for name, value in (constraints or {}).items()}
    ended = START + timedelta(minutes=number if minute is None else minute)
    return FrozenTrial(
        number=number, trial_id=500 + number, state=state, value=None, values=values, datetime_start=START,
        datetime_complete=ended if state.is_finished() else None, params={}, distributions={}, user_attrs={},
        system_attrs=attrs, intermediate_values={},
    )  # fmt: skip


def _front(trials: Sequence[FrozenTrial], results: Mapping[int, Any] | None = None, reference: Any = None) -> Front:
    return build_front("s", NAMES, feasible_front(trials, NAMES), baseline_of(trials), results or {}, reference)


def _random(seed: int, count: int = 60) -> list[FrozenTrial]:
    """Trials with ties, some infeasible, failed, stopped or running, finished in another order than created."""
    random = np.random.default_rng(seed)
    minutes = random.permutation(count)
    trials = []
    for number in range(count):
        kind = random.choice(["complete", "complete", "complete", "complete", "fail", "pruned", "running"])
        state = {"complete": TrialState.COMPLETE, "fail": TrialState.FAIL, "pruned": TrialState.PRUNED}.get(
            str(kind), TrialState.RUNNING
        )
        values = [random.integers(3, 11) / 10, float(random.integers(1, 10)), float(random.integers(3, 30))]
        constraints = {"floor": 0.6 - values[0], "fits_device": float(random.choice([0.0, 0.0, 1.0]))}
        done = state is TrialState.COMPLETE
        trials.append(
            _trial(number, values if done else None, constraints=constraints if done else None, state=state,
                   minute=int(minutes[number]))
        )  # fmt: skip
    return trials


@pytest.mark.parametrize("seed", range(8))
def test_the_front_is_that_of_optuna(seed: int) -> None:
    trials = _random(seed)
    study = optuna.create_study(directions=["maximize", "minimize", "maximize"])
    for trial in trials:
        study._storage.create_new_trial(study._study_id, template_trial=trial)
    ours = feasible_front(trials, NAMES)
    assert sorted(trial.number for trial in ours) == sorted(trial.number for trial in study.best_trials)
    assert len(ours) > 1


@pytest.mark.parametrize("seed", range(4))
def test_the_front_is_feasible_and_sorted_by_accuracy(seed: int) -> None:
    ours = feasible_front(_random(seed), NAMES)
    assert all(is_feasible(trial) for trial in ours)
    accuracies = [trial.values[0] for trial in ours]
    assert accuracies == sorted(accuracies, reverse=True)


def test_a_front_sorted_by_a_cost_begins_with_the_least() -> None:
    trials = [_trial(0, [3.0, 0.9]), _trial(1, [1.0, 0.5]), _trial(2, [2.0, 0.7])]
    assert [trial.number for trial in feasible_front(trials, ("latency_ms", "accuracy"))] == [1, 2, 0]


def test_feasible_is_complete_and_keeps_every_constraint() -> None:
    values = [0.9, 1.0, 9.0]
    assert is_feasible(_trial(0, values))
    assert is_feasible(_trial(0, values, constraints={"floor": 0.0, "fits": -1.0}))
    assert not is_feasible(_trial(0, values, constraints={"floor": -1.0, "fits": 1e-9}))
    assert not is_feasible(_trial(0, None, state=TrialState.FAIL))
    assert not is_feasible(_trial(0, None, state=TrialState.RUNNING))


def test_an_infeasible_trial_is_never_on_a_front_however_good() -> None:
    trials = [_trial(0, [0.6, 5.0, 6.0]), _trial(1, [1.0, 0.1, 99.0], constraints={"floor": 0.1})]
    front = _front(trials, reference=REFERENCE)
    assert [point["trial"] for point in front.points] == [0]
    assert front.hypervolume == pytest.approx(hypervolume(np.array([trials[0].values]), NAMES, REFERENCE))
    assert hypervolume_steps(trials, NAMES, REFERENCE) == [(1, front.hypervolume)]


def test_change_against_the_baseline_has_sign_and_unit() -> None:
    front = _front([_trial(0, [0.9, 2.0, 10.0]), _trial(1, [0.93, 3.0, 25.0]), _trial(2, [0.85, 0.5, 9.0])])
    changes = {point["trial"]: point["vs_baseline"] for point in front.points}
    assert changes[1] == pytest.approx({"accuracy": 3.0, "latency_ms": 50.0, "fps_per_watt": 150.0})
    assert changes[2] == pytest.approx({"accuracy": -5.0, "latency_ms": -75.0, "fps_per_watt": -10.0})
    assert changes[0] == {"accuracy": 0.0, "latency_ms": 0.0, "fps_per_watt": 0.0}


@pytest.mark.parametrize("state", [TrialState.RUNNING, TrialState.FAIL])
def test_without_a_complete_baseline_nothing_is_compared(state: TrialState) -> None:
    front = _front([_trial(0, None, state=state), _trial(1, [0.9, 2.0, 10.0])])
    assert front.baseline is None
    assert [point["vs_baseline"] for point in front.points] == [None]
    assert (front.hypervolume, front.reference) == (None, None)


def test_an_infeasible_baseline_is_still_what_is_compared_with() -> None:
    front = _front([_trial(0, [0.5, 2.0, 10.0], constraints={"floor": 0.2}), _trial(1, [0.9, 1.0, 10.0])])
    assert front.baseline is not None
    assert front.baseline["trial"] == 0
    assert [point["trial"] for point in front.points] == [1]
    assert front.points[0]["vs_baseline"]["latency_ms"] == pytest.approx(-50.0)


def test_no_trials_no_front() -> None:
    front = _front([], reference=REFERENCE)
    assert (front.points, front.baseline, front.hypervolume) == ((), None, 0.0)
    assert hypervolume_steps([], NAMES, REFERENCE) == []


def test_stored_results_belong_to_their_trial() -> None:
    again = {"latency_ms": 3.0}
    results = {501: {"test": None, "on_baseline_accelerator": again, "details": {"accuracy_standard_error": 0.01}}}
    front = _front([_trial(0, [0.9, 2.0, 10.0]), _trial(1, [0.93, 3.0, 25.0])], results)
    by_trial = {point["trial"]: point for point in front.points}
    assert by_trial[1]["on_baseline_accelerator"] == again
    assert by_trial[1]["accuracy_standard_error"] == 0.01
    assert by_trial[0]["on_baseline_accelerator"] is by_trial[0]["accuracy_standard_error"] is None
    document = front.document()
    assert document["front"] == list(front.points)
    assert document["objectives"] == list(NAMES)


@pytest.mark.parametrize("seed", range(8))
def test_hypervolume_steps_rise_and_end_at_the_hypervolume_of_the_front(seed: int) -> None:
    trials = _random(seed)
    steps = hypervolume_steps(trials, NAMES, REFERENCE)
    ended, volumes = zip(*steps, strict=True)
    assert list(ended) == sorted(set(ended))
    assert all(after > before for before, after in pairwise(volumes))
    assert volumes[-1] == pytest.approx(_front(trials, reference=REFERENCE).hypervolume)
    assert ended[-1] <= sum(trial.state.is_finished() for trial in trials)


def test_hypervolume_steps_follow_the_order_of_completion() -> None:
    trials = [
        _trial(0, [0.7, 6.0, 6.0], minute=9), _trial(1, [0.9, 2.0, 12.0], minute=3),
        _trial(2, None, state=TrialState.FAIL, minute=1), _trial(3, None, state=TrialState.RUNNING),
        _trial(4, [0.8, 1.0, 12.0], minute=5),
    ]  # fmt: skip
    assert [finished for finished, _ in hypervolume_steps(trials, NAMES, REFERENCE)] == [2, 3]


def test_without_a_reference_there_are_no_steps() -> None:
    assert hypervolume_steps(_random(0), NAMES, None) == []
