"""Suggestions by the hypervolume that a configuration is expected to add to the front.

Each objective is modelled by a Gaussian process over the parameters. Functions are drawn from all of them together; of
many candidates the one is taken that adds most to the front on average over the draws. Trials that run or were stopped
count with what a draw says of them, so that workers spread out and do not come back to what lost. Source: Daulton,
Balandat and Bakshy, "Parallel Bayesian Optimization of Multiple Noisy Objectives with Expected Hypervolume
Improvement", NeurIPS 2021, whose candidates ascend a gradient.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from optuna.trial import FrozenTrial, TrialState
from threadpoolctl import ThreadpoolController

from objectives.data import describe
from objectives.pareto import Values, front, hypervolume, reference_point
from objectives.space import Choice, Domain, Integer, Log, Params, Range, Scalar, dimensions, walk
from objectives.spec import Study
from service.gaussian import Array, GaussianProcess
from storage.trials import CONSTRAINT

STARTUP = 8
"""Complete trials before the first suggestion."""

MOST = 200
"""Complete trials that are modelled: the front's, then the newest. A fit costs their number cubed."""

CANDIDATES, NEIGHBOURS, DRAWS = 400, 100, 8
"""Candidates over the whole space, candidates beside the front, and functions drawn."""


class Improvement:
    """What a study's trials tell about the configurations not tried yet.

    Args:
        study: Its search space, objectives and floor.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._axes = [(name, domain) for name, domain, _ in dimensions(study.search)]
        self._trials: dict[int, FrozenTrial] = {}
        self._complete = 0

    @property
    def is_ready(self) -> bool:
        """Whether enough trials are complete to model them."""
        return self._complete >= STARTUP

    def see(self, trial: FrozenTrial) -> None:
        """Take in a trial that began to run, with all its parameters, or that has finished."""
        known = self._trials.get(trial.number)
        self._complete += (trial.state is TrialState.COMPLETE) - (
            known is not None and known.state is TrialState.COMPLETE
        )
        self._trials[trial.number] = trial

    def suggest(self, seed: int) -> Params:
        """A configuration that was not begun yet, if the draws find one.

        Args:
            seed: Of this suggestion.
        """
        with _blas().limit(limits=1):  # more threads are slower at this size, and round otherwise
            return self._suggestion(seed)

    def _suggestion(self, seed: int) -> Params:
        rng = np.random.default_rng(seed)
        complete, unknown = self._modelled(), [*self._of(TrialState.PRUNED), *self._of(TrialState.RUNNING)][-MOST:]
        values = np.array([trial.values for trial in complete])
        feasible = values[[_is_feasible(trial) for trial in complete]]
        on_front = [trial for trial in complete if _is_feasible(trial) and trial.values in _rows(self._front(feasible))]
        candidates = self._candidates(on_front, rng)
        inputs = self._encoded([trial.params for trial in complete])
        places = self._encoded([*candidates, *(trial.params for trial in unknown)])
        drawn = np.stack(
            [
                self._unbent(
                    name, GaussianProcess.fit(inputs, self._bent(name, values[:, k])).draws(places, DRAWS, rng)
                )
                for k, name in enumerate(self._study.objectives)
            ],
            axis=-1,
        )
        allowed = self._allowed(places, rng)
        reference = self._reference(values)
        gains = np.zeros(len(candidates))
        for vectors, is_allowed in zip(drawn, allowed, strict=True):
            expected = vectors[len(candidates) :][is_allowed[len(candidates) :]]
            known = self._front(np.concatenate([feasible.reshape(-1, vectors.shape[1]), expected]))
            gains += np.where(
                is_allowed[: len(candidates)], self._gains(vectors[: len(candidates)], known, reference), 0.0
            )
        return candidates[int(np.argmax(gains))]

    def _of(self, state: TrialState) -> list[FrozenTrial]:
        return [trial for _, trial in sorted(self._trials.items()) if trial.state is state and trial.params]

    def _modelled(self) -> list[FrozenTrial]:
        complete = [one for one in self._of(TrialState.COMPLETE) if np.isfinite(one.values).all()]
        if len(complete) <= MOST:
            return complete
        is_on = front(np.array([trial.values for trial in complete]), self._study.objectives)
        first = sorted(zip(is_on, range(len(complete)), complete, strict=True), key=lambda one: (-one[0], -one[1]))
        return [trial for _, _, trial in first[:MOST]]

    def _front(self, values: Values) -> Values:
        return values[front(values, self._study.objectives)] if len(values) else values

    def _reference(self, values: Values) -> dict[str, float]:
        """The study's; before its baseline is complete, that of the median trial."""
        baseline = self._trials.get(0)
        is_known = baseline is not None and baseline.state is TrialState.COMPLETE
        vector = baseline.values if baseline is not None and is_known else np.median(values, axis=0)
        floor = self._study.floor(describe(self._study.dataset.name).classes)
        return reference_point(dict(zip(self._study.objectives, vector, strict=True)), floor, self._study.objectives)

    def _gains(self, vectors: Values, known: Values, reference: Mapping[str, float]) -> Array:
        """Hypervolume that each vector adds to a front."""
        objectives = self._study.objectives
        base, gains = hypervolume(known, objectives, reference), np.zeros(len(vectors))
        signs = np.array([1.0 if direction == "minimize" else -1.0 for direction in self._study.directions])
        worst = np.array([reference[name] for name in objectives])
        behind = ((known * signs)[None] <= (vectors * signs)[:, None]).all(axis=-1).any(axis=-1)
        for k in np.flatnonzero(~behind & (vectors * signs < worst * signs).all(axis=1)):
            gains[k] = hypervolume(np.concatenate([known, vectors[k : k + 1]]), objectives, reference) - base
        return gains

    def _allowed(self, places: Array, rng: np.random.Generator) -> np.ndarray:
        """Which places satisfy the constraints in each draw: `(draws, places)`; the floor is the reference point's."""
        allowed = np.ones((DRAWS, len(places)), dtype=bool)
        told = [t for t in self._trials.values() if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        names = {key for t in told for key in t.system_attrs if key.startswith(CONSTRAINT)} - {f"{CONSTRAINT}floor"}
        for name in sorted(names):
            rows = [trial for trial in told if name in trial.system_attrs][-MOST:]
            excess = np.array([float(trial.system_attrs[name]) for trial in rows])
            if (excess > 0).any():
                process = GaussianProcess.fit(self._encoded([trial.params for trial in rows]), np.clip(excess, -1, 1))
                allowed &= process.draws(places, DRAWS, rng) <= 0
        return allowed

    def _candidates(self, on_front: Sequence[FrozenTrial], rng: np.random.Generator) -> list[Params]:
        """Configurations over the whole space and beside the front, without those that were begun."""
        begun = {_key(trial.params) for trial in self._trials.values()}
        drawn = [walk(self._study.search, lambda _, domain: _drawn(domain, rng)) for _ in range(CANDIDATES)]
        for _ in range(NEIGHBOURS if on_front else 0):
            near = on_front[int(rng.integers(len(on_front)))].params
            moved = {self._axes[int(k)][0] for k in rng.integers(len(self._axes), size=int(rng.integers(1, 3)))}
            drawn.append(
                walk(
                    self._study.search,
                    lambda name, domain, near=near, moved=moved: (  # type: ignore[misc]
                        near[name] if name in near and name not in moved else _drawn(domain, rng)
                    ),
                )
            )
        found = {_key(params): params for params in drawn}
        return [params for key, params in found.items() if key not in begun] or drawn[:1]

    def _encoded(self, rows: Sequence[Mapping[str, Scalar]]) -> Array:
        """`(rows, inputs)` from 0 to 1; a parameter that a row lacks stands in the middle."""
        columns = []
        for name, domain in self._axes:
            columns.append([_place(domain, row[name]) if name in row else _middle(domain) for row in rows])
        return np.concatenate([np.array(column, dtype=np.float64).reshape(len(rows), -1) for column in columns], axis=1)

    @staticmethod
    def _bent(name: str, values: Array) -> Array:
        """Objectives of hardware by their logarithm: they span decades."""
        return values if name == "accuracy" else np.log(np.maximum(values, 1e-300))

    @staticmethod
    def _unbent(name: str, values: Array) -> Array:
        return np.minimum(values, 1.0) if name == "accuracy" else np.exp(values)


@functools.cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def _rows(values: Values) -> list[list[float]]:
    return [list(row) for row in values.tolist()]


def _is_feasible(trial: FrozenTrial) -> bool:
    return all(float(value) <= 0 for key, value in trial.system_attrs.items() if key.startswith(CONSTRAINT))


def _key(params: Mapping[str, Scalar]) -> str:
    return repr(sorted(params.items()))


def _drawn(domain: Domain, rng: np.random.Generator) -> Scalar:
    points = domain.points()
    if points is not None:
        return points[int(rng.integers(len(points)))]
    low, high = (float(corner) for corner in domain.corners())
    if isinstance(domain, Log):
        return min(high, max(low, math.exp(rng.uniform(math.log(low), math.log(high)))))
    return float(rng.uniform(low, high))


def _place(domain: Domain, value: Scalar) -> list[float]:
    """Where a value lies from 0 to 1: numbers by their size or their place among the options, words one apart."""
    match domain:
        case Choice():
            options = list(domain.options)
            if all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in options):
                return [sorted(options, key=float).index(value) / max(len(options) - 1, 1)]
            return [float(option == value and type(option) is type(value)) for option in options]
        case Log():
            low, high = (math.log(float(corner)) for corner in domain.corners())
            return [(math.log(float(value)) - low) / (high - low or 1.0)]
        case Range() | Integer():
            low, high = (float(corner) for corner in domain.corners())
            return [(float(value) - low) / (high - low or 1.0)]


def _middle(domain: Domain) -> list[float]:
    return [0.5] * len(_place(domain, next(iter(domain.corners()))))
