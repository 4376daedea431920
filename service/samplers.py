"""Suggestions: a warm mirror of a study in memory, and a fresh seeded sampler for every suggestion."""

from __future__ import annotations

import copy
import itertools
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState

from objectives.space import Choice, Domain, Integer, Log, Params, Range, Scalar, dimensions, has_conditions, walk
from objectives.spec import Study
from service.gp import Improvement
from service.nsga import Generations, WarmNSGA2, WarmNSGA3
from service.qmc import NumberedQMC
from service.tpe import TpeMemory, WarmTPE
from storage.trials import Suggestion

GRID_INDEX = "spikefront:grid_index"
"""System attribute of a trial that came from the grid."""


def seed_sequence(study_seed: int, number: int, *, stream: int = 0) -> np.random.SeedSequence:
    """The seeds of one trial: `stream` 0 for its training, 1 for its suggestion."""
    return np.random.SeedSequence((study_seed, number), spawn_key=(stream,) if stream else ())


def training_seed(study: Study, number: int) -> int:
    """Seed of a trial's training: of its own, or the study's for all (`train.seed: fixed`); below 2**63."""
    at = 0 if study.train.seed == "fixed" else number
    return int(seed_sequence(study.sampler.seed, at).generate_state(1, np.uint64)[0] >> np.uint64(1))


class _Storage(optuna.storages.InMemoryStorage):
    """Optuna's storage in memory for one study and one thread at a time, without deep copies, and none a parameter."""

    def take(self, study_id: int, trial: FrozenTrial) -> FrozenTrial:
        """Append a trial; the storage's own is a copy, deep enough for what is written to it later."""
        own = copy.copy(trial)
        own.params, own.distributions = dict(trial.params), dict(trial.distributions)
        with self._lock:
            trials = self._studies[study_id].trials
            own._trial_id = self._max_trial_id = self._max_trial_id + 1
            self._trial_id_to_study_id_and_number[own._trial_id] = (study_id, len(trials))
            trials.append(own)
        return own

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Write a parameter of a trial in place."""
        trial = self.get_trial(trial_id)
        trial.params[param_name] = distribution.to_external_repr(param_value_internal)
        trial.distributions[param_name] = distribution


class Mirror:
    """An Optuna in-memory study that follows the rows of the real one.

    Suggestions are made here and written to the database by the caller; the trial asked for here is numbered like
    the row it will become. The caller serialises the calls and rebuilds the mirror when a write failed.
    """

    def __init__(self, study: Study) -> None:
        self._spec = study
        self._storage = _Storage()
        self._study = optuna.create_study(directions=list(study.directions), storage=self._storage)
        self._ids: list[int] = []  # Optuna's trial id in the database, by number
        self._open: dict[int, int] = {}  # database id -> number, of trials that are not finished
        self._tpe = TpeMemory(self._study.directions, group=has_conditions(study.search))
        genetic = WarmNSGA3 if study.sampler.name == "nsga3" else WarmNSGA2
        self._generations = Generations(genetic._get_generation_key())
        self._improvement = Improvement(study)
        self._is_slow = False
        self._grid_points = 0

    @property
    def learns(self) -> bool:
        """Whether suggestions depend on how earlier trials ended."""
        return self._spec.sampler.name not in ("random", "grid", "qmc")

    @property
    def known(self) -> int:
        """Number of trials the mirror holds."""
        return len(self._ids)

    @property
    def last_id(self) -> int:
        """Database id of the newest trial; -1 without any."""
        return self._ids[-1] if self._ids else -1

    @property
    def open_ids(self) -> list[int]:
        """Database ids of the trials that are not finished here."""
        return list(self._open)

    def follow(self, trial: FrozenTrial) -> None:
        """Take over a row that is new or has finished; rows are given in the order of their numbers."""
        if trial.number == len(self._ids):
            self._notice(self._storage.take(self._study._study_id, trial))
            self._remember(trial._trial_id, trial.state)
        elif trial._trial_id in self._open and trial.state.is_finished():
            own = self._own_id(trial.number)
            for key, value in trial.system_attrs.items():
                self._storage.set_trial_system_attr(own, key, value)
            if self._storage.get_trial(own).state is TrialState.WAITING:
                self._storage.set_trial_state_values(own, TrialState.RUNNING)
            self._storage.set_trial_state_values(own, trial.state, trial.values)
            self._notice(self._storage.get_trial(own))
            del self._open[trial._trial_id]

    def close(self, trial_id: int) -> None:
        """A trial has finished, of which a sampler that does not learn need not know more."""
        del self._open[trial_id]

    def fixed(self, number: int) -> dict[str, Any]:
        """What a trial's row fixed of its parameters when it was enqueued."""
        return dict(self._storage.get_trial(self._own_id(number)).system_attrs.get("fixed_params", {}))

    def suggest(self, number: int, fixed: Mapping[str, Any] | None = None) -> Suggestion:
        """Parameters for the trial `number`; those in `fixed` are taken as they are.

        An enqueued trial is known to the mirror already; any other is the next number.
        """
        storage, study = self._storage, self._study
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.sampler = self._sampler(number)
        if number < len(self._ids):
            trial_id = self._own_id(number)
            storage.set_trial_state_values(trial_id, TrialState.RUNNING)
        else:
            trial_id = storage.create_new_trial(study._study_id)
        began = time.monotonic()
        if fixed is None and self._spec.sampler.name == "grid":
            storage.set_trial_system_attr(trial_id, GRID_INDEX, self._grid_points)
            fixed = grid_point(self._spec, self._grid_points)
        elif fixed is None and self._is_modelled:
            fixed = self._improvement.suggest(_own_seed(self._spec, number))
            self._is_slow = time.monotonic() - began > self._spec.sampler.limit_s
        if fixed:
            storage.set_trial_system_attr(trial_id, "fixed_params", dict(fixed))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            trial = optuna.Trial(study, trial_id)
            params = walk(self._spec.search, lambda name, domain: _pick(trial, name, domain))
        frozen = storage.get_trial(trial_id)
        self._notice(frozen)
        attrs = {key: value for key, value in frozen.system_attrs.items() if key != "fixed_params"}
        return Suggestion(params, frozen.distributions, attrs)

    def asked(self, trial_id: int, number: int) -> None:
        """The trial suggested last was written to the database under this id."""
        if number == len(self._ids):
            self._remember(trial_id, TrialState.RUNNING)

    @property
    def _is_modelled(self) -> bool:
        return self._spec.sampler.name == "gp" and not self._is_slow and self._improvement.is_ready

    def _own_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number)

    def _remember(self, trial_id: int, state: TrialState) -> None:
        if not state.is_finished():
            self._open[trial_id] = len(self._ids)
        self._ids.append(trial_id)

    def _notice(self, trial: FrozenTrial) -> None:
        """Tell the sampler's memory of a trial that is new, runs with its parameters, or has finished."""
        match self._spec.sampler.name:
            case "tpe":
                self._tpe.see(trial)
            case "gp":
                self._tpe.see(trial)
                self._improvement.see(trial)
            case "nsga2" | "nsga3":
                self._generations.see(trial)
            case "grid":
                self._grid_points = max(self._grid_points, trial.system_attrs.get(GRID_INDEX, -1) + 1)

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        seed = _own_seed(self._spec, number)
        match self._spec.sampler.name:
            case "tpe":
                return WarmTPE(self._tpe, seed=seed)
            case "gp" if self._is_slow:
                return WarmTPE(self._tpe, seed=seed)
            case "nsga2":
                return WarmNSGA2(self._generations, seed=seed)
            case "nsga3":
                return WarmNSGA3(self._generations, seed=seed, study_seed=self._spec.sampler.seed)
            case "qmc" | "gp":
                space = {name: _distribution(domain) for name, domain in self._spec.search.items()}
                return NumberedQMC(space, number, seed=self._spec.sampler.seed, own_seed=seed)
            case "random" | "grid":
                return optuna.samplers.RandomSampler(seed=seed)


def _own_seed(study: Study, number: int) -> int:
    """Seed of one suggestion."""
    return int(seed_sequence(study.sampler.seed, number, stream=1).generate_state(1)[0])


def grid_point(study: Study, index: int) -> Params:
    """The point at `index` of the study's grid, in an order shuffled by the study's seed."""
    names = [name for name, _, _ in dimensions(study.search)]
    axes: Sequence[Sequence[Scalar]] = [domain.points() or () for _, domain, _ in dimensions(study.search)]
    size = int(np.prod([len(axis) for axis in axes]))
    place = int(np.random.Generator(np.random.Philox(study.sampler.seed)).permutation(size)[index % size])
    return dict(zip(names, next(itertools.islice(itertools.product(*axes), place, None)), strict=True))


def _pick(trial: optuna.Trial, name: str, domain: Domain) -> Scalar:
    match domain:
        case Range():
            return trial.suggest_float(name, *domain.range, step=domain.step)
        case Log():
            return trial.suggest_float(name, *domain.log, log=True)
        case Integer():
            low, high = domain.corners()
            return trial.suggest_int(name, int(low), int(high), step=domain.step)
        case Choice():
            return cast(Scalar, trial.suggest_categorical(name, domain.options))


def _distribution(domain: Domain) -> BaseDistribution:
    """As `_pick` lets Optuna make it."""
    match domain:
        case Range():
            return FloatDistribution(*domain.range, step=domain.step)
        case Log():
            return FloatDistribution(*domain.log, log=True)
        case Integer():
            low, high = domain.corners()
            return IntDistribution(int(low), int(high), step=domain.step)
        case Choice():
            return CategoricalDistribution(domain.options)
