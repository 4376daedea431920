"""Optuna's multivariate TPE for several objectives, with what does not change between suggestions kept.

Optuna reads all trials for every suggestion: for the search space, for the split into good and bad ones, for the
arrays of their parameters. Here a memory takes each trial in once. The suggestions are those of Optuna's sampler,
bit for bit; only where the numbers come from differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import _get_infeasible_trial_score, default_gamma_multiobjective
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from service.ranks import Ranks
from service.spaces import Groups, Intersection, Space

Row = Mapping[str, Any]


class _Kind(IntEnum):
    """What TPE makes of a trial."""

    UNKNOWN = 0
    COMPLETE = 1
    PRUNED = 2
    INFEASIBLE = 3
    RUNNING = 4


@dataclass
class _Column:
    """Internal representations of one parameter by number of the trial; NaN where a trial has it not.

    `read` entries of the memory's log are in it.
    """

    distribution: BaseDistribution
    values: np.ndarray = field(default_factory=lambda: np.empty(0))
    read: int = 0

    def take(self, numbers: list[int], name: str, rows: Mapping[int, Row]) -> None:
        """Note the parameter of these trials."""
        internal = self.distribution.to_internal_repr
        values = [internal(row[name]) if name in row else np.nan for row in map(rows.__getitem__, numbers)]
        self.values = _with_room(self.values, max(numbers, default=-1), np.nan)
        self.values[numbers] = values


class TpeMemory:
    """The trials of a study as TPE needs them, by number.

    Args:
        directions: Of the study, two or more.
        group: Whether the search space has conditions.

    Attributes:
        finished: Number of trials that are complete or pruned.
        space: What these have in common.
        groups: Their search space in its parts; None without conditions.
    """

    def __init__(self, directions: Sequence[StudyDirection], *, group: bool) -> None:
        self.finished = 0
        self.space = Intersection()
        self.groups = Groups() if group else None
        self._signs = np.array([-1.0 if one is StudyDirection.MAXIMIZE else 1.0 for one in directions])
        self._ranks = Ranks(len(directions))
        self._kinds = np.empty(0, dtype=np.int8)
        self._violations = np.empty(0)
        self._rows: dict[int, Row] = {}
        self._unread: dict[int, FrozenTrial] = {}  # of running trials
        self._log: list[int] = []  # numbers in the order of their rows
        self._columns: dict[str, _Column] = {}
        self._halves: tuple[np.ndarray, np.ndarray] | None = None

    def see(self, trial: FrozenTrial) -> None:
        """Take in a trial that began to run, with all its parameters, or that has finished."""
        self._unread.pop(trial.number, None)
        self._halves = None
        self._kinds = _with_room(self._kinds, trial.number, _Kind.UNKNOWN)
        self._kinds[trial.number] = _Kind.UNKNOWN
        if trial.state is TrialState.RUNNING:
            self._unread[trial.number] = trial
            self._kinds[trial.number] = _Kind.RUNNING
        elif trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            self._finish(trial)

    def read(self, params_of: Callable[[FrozenTrial], Row]) -> None:
        """Read the parameters of the running trials that are new since the last time."""
        for trial in self._unread.values():
            self._write(trial.number, params_of(trial))
        self._unread.clear()

    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the good trials and of the others, running ones among these, in ascending order.

        Complete ones by rank, then pruned ones by number, then infeasible ones by their violation, until a tenth of
        the finished ones is found. (Optuna's `_split_trials`. It orders pruned trials by intermediate values where
        there are some, which with several objectives it refuses; they are left aside here.)
        """
        if self._halves is None:
            self._halves = self._split(default_gamma_multiobjective(self.finished))
        return self._halves

    def observations(self, numbers: np.ndarray, space: Space) -> dict[str, np.ndarray]:
        """Internal representations `(trials,)` of each parameter, of the trials that have all of them."""
        columns = {name: self._column(name, distribution)[numbers] for name, distribution in space.items()}
        has_all = ~np.isnan(list(columns.values())).any(axis=0)
        return {name: values[has_all] for name, values in columns.items()}

    def _finish(self, trial: FrozenTrial) -> None:
        self.finished += 1
        self.space.add(trial)
        if self.groups is not None:
            self.groups.add(trial)
        self._write(trial.number, trial.params)
        violation = _get_infeasible_trial_score(trial)
        self._violations = _with_room(self._violations, trial.number, 0.0)
        self._violations[trial.number] = violation
        if violation > 0:
            self._kinds[trial.number] = _Kind.INFEASIBLE
        elif trial.state is TrialState.PRUNED:
            self._kinds[trial.number] = _Kind.PRUNED
        else:
            self._kinds[trial.number] = _Kind.COMPLETE
            self._ranks.add(trial.number, np.array(trial.values) * self._signs)

    def _write(self, number: int, row: Row) -> None:
        self._rows[number] = row
        self._log.append(number)

    def _split(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        is_below = np.zeros(len(self._kinds), dtype=bool)
        is_below[self._ranks.best(count)] = True
        left = count - int(np.count_nonzero(is_below))
        pruned = np.flatnonzero(self._kinds == _Kind.PRUNED)[:left]
        is_below[pruned] = True
        if left > pruned.size:
            infeasible = np.flatnonzero(self._kinds == _Kind.INFEASIBLE)
            by_violation = np.argsort(self._violations[infeasible], kind="stable")
            is_below[infeasible[by_violation[: left - pruned.size]]] = True
        return np.flatnonzero(is_below), np.flatnonzero((self._kinds != _Kind.UNKNOWN) & ~is_below)

    def _column(self, name: str, distribution: BaseDistribution) -> np.ndarray:
        column = self._columns.get(name)
        if column is None or (column.distribution is not distribution and column.distribution != distribution):
            column = self._columns[name] = _Column(distribution)
        column.take(self._log[column.read :], name, self._rows)
        column.read = len(self._log)
        return column.values


class WarmTPE(TPESampler):
    """Optuna's `TPESampler(multivariate=True, constant_liar=True)` for several objectives, fed from a memory.

    Args:
        memory: Knows every trial of the study that runs or has finished, bar the one asked for.
        seed: Of the one suggestion that it is made for.
    """

    def __init__(self, memory: TpeMemory, *, seed: int) -> None:
        super().__init__(multivariate=True, group=memory.groups is not None, constant_liar=True, seed=seed)
        self._memory = memory
        self._search_space = memory.space  # type: ignore[assignment]  # of the same shape, and kept up to date
        self._group_decomposed_search_space = memory.groups  # type: ignore[assignment]

    def _sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space or self._memory.finished < self._n_startup_trials:
            return {}
        return self._sample(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A parameter that is not in the space that finished trials share."""
        if self._memory.finished < self._n_startup_trials:
            return self._random_sampler.sample_independent(study, trial, param_name, param_distribution)
        return self._sample(study, trial, {param_name: param_distribution})[param_name]

    def _sample(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        memory = self._memory
        memory.read(lambda running: self._get_params(running, study))
        below, above = (memory.observations(numbers, search_space) for numbers in memory.split())
        count = len(next(iter(below.values())))
        good = self._parzen_estimator_cls(below, search_space, self._parzen_estimator_parameters, np.ones(count))
        bad = self._parzen_estimator_cls(above, search_space, self._parzen_estimator_parameters)
        candidates = good.sample(self._rng.rng, self._n_ei_candidates)
        best = self._compare(candidates, self._compute_acquisition_func(candidates, good, bad))
        return {name: space.to_external_repr(best[name]) for name, space in search_space.items()}


def _with_room(values: np.ndarray, number: int, fill: float) -> np.ndarray:
    """The array, longer where it has no place for a number."""
    if number < len(values):
        return values
    more = max(number + 1, 2 * len(values), 64) - len(values)
    return np.concatenate([values, np.full(more, fill, dtype=values.dtype)])
