"""A study beside plain Optuna: what happens to our mirror happens to an Optuna study, with Optuna's own sampler."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from objectives.space import walk
from objectives.spec import Study
from service.samplers import Mirror, _pick, seed_sequence
from storage.trials import CONSTRAINT, Suggestion

FIRST_ID = 700  # ids in the database have nothing to do with numbers
_WHEN = datetime(2024, 1, 1)

Plain = Callable[[int], optuna.samplers.BaseSampler]
"""Makes plain Optuna's sampler from the seed of one suggestion."""


def assert_signatures(known: Mapping[Callable[..., Any], str]) -> None:
    """Check that functions of Optuna that we replace or call have the parameters that they had."""
    for function, names in known.items():
        assert f"({', '.join(inspect.signature(function).parameters)})" == names, function


class Pair:
    """Our mirror, and an Optuna study of the same search space, directions and history."""

    def __init__(self, study: Study, plain: Plain) -> None:
        self._spec, self._plain = study, plain
        self.mirror = Mirror(study)
        self.theirs = optuna.create_study(directions=list(study.directions))
        self._asked: dict[int, optuna.Trial] = {}
        self._rows: dict[int, FrozenTrial] = {}

    @property
    def running(self) -> list[int]:
        """Numbers of the trials that run."""
        return list(self._asked)

    def ask(self, fixed: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin a trial in both; returns our parameters and theirs. With fixed ones it is enqueued first."""
        number = self.mirror.known
        if fixed is not None:
            self.theirs.enqueue_trial(dict(fixed))
            self.mirror.follow(_row(number, Suggestion({}, {}, {"fixed_params": dict(fixed)}), TrialState.WAITING))
        seed = int(seed_sequence(self._spec.sampler.seed, number, stream=1).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.theirs.sampler = self._plain(seed)
            trial = self.theirs.ask()
            params = walk(self._spec.search, lambda name, domain: _pick(trial, name, domain))
        suggestion = self.mirror.suggest(number, fixed)
        self.mirror.asked(FIRST_ID + number, number)
        self._asked[number], self._rows[number] = trial, _row(number, suggestion, TrialState.RUNNING)
        return dict(suggestion.params), dict(params)

    def end(self, number: int, state: TrialState, values: list[float] | None, constraints: Mapping[str, float]) -> None:
        """End a running trial in both."""
        trial, row = self._asked.pop(number), self._rows[number]
        for name, value in constraints.items():
            trial.set_constraint(name, value)
        self.theirs.tell(trial, values, state)
        row.state, row.values = state, values
        row.system_attrs = {**row.system_attrs, **{CONSTRAINT + name: value for name, value in constraints.items()}}
        self.mirror.follow(row)

    def add(
        self, params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution], values: list[float],
        attrs: Mapping[str, Any],
    ) -> None:  # fmt: skip
        """Add a complete trial to both, as an import does."""
        row = _row(self.mirror.known, Suggestion(dict(params), dict(distributions), dict(attrs)), TrialState.COMPLETE)
        row.values = values
        self.theirs._storage.create_new_trial(self.theirs._study_id, row)
        self.mirror.follow(row)


def play(
    pair: Pair, rng: np.random.Generator, steps: int, *, ahead: int, levels: int, bad: float = 0.15, pruned: float = 0.5
) -> None:
    """Ask and end trials at random, and see that each suggestion is the same.

    Args:
        pair: Just made.
        rng: Decides what happens.
        steps: Trials to ask for.
        ahead: Trials that run at once.
        levels: Different values of an objective; with few of them there are many ties.
        bad: Share of trials that are pruned or infeasible; of the rest some are infeasible too.
        pruned: Share of the bad ones that are pruned.
    """
    for step in range(steps):
        fixed = {"beta": 0.5} if rng.uniform() < 0.05 else None
        ours, theirs = pair.ask(fixed)
        assert ours == theirs, f"trial {step}: {ours} is not what Optuna suggests: {theirs}"
        assert [type(value) for value in ours.values()] == [type(value) for value in theirs.values()]
        while len(pair.running) > ahead:
            end_one(pair, rng, levels, bad, pruned)


def end_one(pair: Pair, rng: np.random.Generator, levels: int, bad: float = 0.15, pruned: float = 0.5) -> None:
    """End a running trial chosen at random, in a way chosen at random; a tenth fail."""
    number = int(rng.choice(pair.running))
    violation = float(rng.choice([-0.5, -0.1, 0.0, 0.1, 0.4]))
    values = (rng.integers(levels, size=len(pair.theirs.directions)) / levels).tolist()
    if rng.uniform() < 0.1:
        pair.end(number, TrialState.FAIL, None, {})
    elif rng.uniform() >= bad:
        pair.end(number, TrialState.COMPLETE, values, {"floor": violation, "fits_device": -1.0})
    elif rng.uniform() >= pruned:
        pair.end(number, TrialState.COMPLETE, values, {"floor": 0.5 + violation, "fits_device": 1.0})
    else:
        pair.end(number, TrialState.PRUNED, None, {"floor": violation} if violation > 0.2 else {})


def _row(number: int, suggestion: Suggestion, state: TrialState) -> FrozenTrial:
    return FrozenTrial(
        number=number, trial_id=FIRST_ID + number, state=state, value=None, values=None, datetime_start=_WHEN,
        datetime_complete=_WHEN if state.is_finished() else None, params=dict(suggestion.params),
        distributions=dict(suggestion.distributions), user_attrs={}, system_attrs=dict(suggestion.system_attrs),
        intermediate_values={},
    )  # fmt: skip
