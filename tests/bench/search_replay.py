"""Searches replayed on a recorded table: eight asynchronous workers in simulated time, each epoch counted.

A trial takes the seconds that its training took; at each rung it may be stopped. A method sees the vectors of one seed,
and is scored by those of the other: what only looked good on the first adds nothing.
"""

from __future__ import annotations

import heapq
import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from objectives.pareto import front, hypervolume, reference_point
from objectives.searchspec import StoppingSpec
from objectives.stopping import is_spared, judge, rung_epochs, rung_floor
from service.samplers import Mirror
from storage.trials import CONSTRAINT
from tests.bench.search_table import AXES, OBJECTIVES, SURROGATES
from tests.bench.service_ask import row_of
from tests.support.studies import make_study

WORKERS, TRIALS = 8, 100
NEVER = StoppingSpec()
FLOOR, CHANCE = 0.7, 0.1
SPACE: dict[str, BaseDistribution] = {
    "surrogate": CategoricalDistribution(tuple(SURROGATES)),
    "time_steps": IntDistribution(1, len(AXES["scale"])),
    "train.epochs": IntDistribution(1, len(AXES["beta"])),
    "train.batch": IntDistribution(1, len(AXES["threshold"])),
}
"""Places on the table's axes, the same for everybody; three fields of a study stand in for scale, beta, threshold."""

Place = tuple[int, ...]
Vector = dict[str, float]


@dataclass(frozen=True)
class Table:
    """What `search_table` recorded.

    Attributes:
        vectors: (surrogate, scale, beta, threshold, seed, rung, objective).
        seconds: (surrogate, scale, beta, threshold, seed), of an epoch.
        rungs: Epochs of the rungs, the end last.
    """

    vectors: NDArray[np.float64]
    seconds: NDArray[np.float64]
    rungs: list[int]

    @staticmethod
    def load(path: Path) -> Table:
        """From `tests/bench/tables`."""
        with np.load(path) as stored:
            return Table(stored["vectors"], stored["seconds"], stored["rungs"].tolist())

    @property
    def epochs(self) -> int:
        """Of a whole training."""
        return self.rungs[-1]

    def vector(self, place: Place, seed: int, rung: int) -> Vector:
        """All objectives of a configuration at a rung."""
        return dict(zip(OBJECTIVES, self.vectors[(*place, seed, rung)].tolist(), strict=True))

    def volume(self, places: list[Place], seed: int) -> float:
        """Hypervolume of configurations trained to their ends, those below the floor left out."""
        ends = np.array([self.vectors[(*place, seed, -1)] for place in places]).reshape(-1, len(OBJECTIVES))
        return hypervolume(ends[ends[:, 0] >= FLOOR], OBJECTIVES, self.reference(seed))

    def reference(self, seed: int) -> Vector:
        """Of the baseline, as a study has it."""
        return reference_point(self.vector(BASELINE, seed, -1), FLOOR, OBJECTIVES)


BASELINE: Place = (1, AXES["scale"].index(2.0), AXES["beta"].index(0.25), AXES["threshold"].index(1.0))
"""The arctangent with alpha 2, beta 0.25, threshold 1."""


class Searcher(Protocol):
    """Who chooses configurations."""

    def ask(self) -> Place:
        """The configuration of the next trial; trials are numbered as they are asked for."""

    def end(self, number: int, vector: Vector | None) -> None:
        """A trial is complete; None: it was stopped."""


class Plain:
    """Optuna's study in memory, as users have it; the baseline is enqueued."""

    def __init__(self, sampler: optuna.samplers.BaseSampler) -> None:
        self._study = optuna.create_study(directions=["maximize", "minimize", "maximize"], sampler=sampler)
        self._study.enqueue_trial(_params(BASELINE))
        self._trials: list[optuna.Trial] = []

    def ask(self) -> Place:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._trials.append(self._study.ask(SPACE))
        return _place(self._trials[-1].params)

    def end(self, number: int, vector: Vector | None) -> None:
        if vector is None:
            self._study.tell(self._trials[number], state=TrialState.PRUNED)
            return
        self._trials[number].set_constraint("floor", FLOOR - vector["accuracy"])
        self._study.tell(self._trials[number], list(vector.values()))


class Ours:
    """The server's mirror of a study."""

    def __init__(self, sampler: str, seed: int) -> None:
        search = {
            "surrogate": {"choice": list(SURROGATES)},
            **{name: {"int": [1, 6]} for name in ("time_steps", "train.epochs", "train.batch")},
        }
        baseline = {"surrogate": "atan", "time_steps": 1, "train.epochs": 1, "train.batch": 1}
        fields: dict[str, Any] = {"search": search, "baseline": baseline, "objectives": list(OBJECTIVES)}
        constraints = {"floor": {"accuracy": FLOOR}}
        self._mirror = Mirror(make_study(sampler={"name": sampler, "seed": seed}, constraints=constraints, **fields))
        self._rows: list[FrozenTrial] = []

    def ask(self) -> Place:
        number = len(self._rows)
        suggestion = self._mirror.suggest(number, None if number else _params(BASELINE))
        self._mirror.asked(number, number)
        self._rows.append(row_of(number, suggestion, None))
        return _place(suggestion.params)

    def end(self, number: int, vector: Vector | None) -> None:
        row = self._rows[number]
        row.state = TrialState.PRUNED if vector is None else TrialState.COMPLETE
        if vector is not None:
            row.values = list(vector.values())
            row.system_attrs = {**row.system_attrs, f"{CONSTRAINT}floor": FLOOR - vector["accuracy"]}
        self._mirror.follow(row)


@dataclass
class Run:
    """One replayed search.

    Attributes:
        spent: Epochs of all workers when a trial completed, in their order.
        volumes: Hypervolume on the other seed after it.
        stopped: Configurations that were stopped.
        done: Configurations that were trained to their ends.
        wrong: Of the stopped ones, those that the final front would have held.
    """

    spent: list[int] = field(default_factory=list)
    volumes: list[float] = field(default_factory=list)
    stopped: list[Place] = field(default_factory=list)
    done: list[Place] = field(default_factory=list)
    wrong: int = 0


@dataclass(frozen=True)
class Method:
    """A searcher and when it stops trials."""

    name: str
    searcher: Callable[[int], Searcher]
    stopping: StoppingSpec = NEVER


def replay(table: Table, method: Method, seed: int) -> Run:
    """Search once.

    Args:
        table: Of the data set.
        method: Who searches.
        seed: Of the searcher; its last bit says which of the table's seeds it sees.
    """
    seen, other = seed % 2, 1 - seed % 2
    searcher, run, spent = method.searcher(seed), Run(), 0
    at_rungs: dict[int, list[Vector]] = {rung: [] for rung in range(len(table.rungs))}
    places: list[Place] = []
    tick = itertools.count()
    events: list[tuple[float, int, int, int]] = []  # when, tie, trial, rung that it reaches then

    def go_on(now: float, number: int, rung: int) -> None:
        place = places[number]
        epochs = table.rungs[rung] - (table.rungs[rung - 1] if rung else 0)
        heapq.heappush(events, (now + epochs * table.seconds[(*place, seen)], next(tick), number, rung))

    def begin(now: float) -> None:
        if len(places) < TRIALS:
            places.append(searcher.ask())
            go_on(now, len(places) - 1, 0)

    for _ in range(WORKERS):
        begin(0.0)
    while events:
        now, _, number, rung = heapq.heappop(events)
        place, is_end = places[number], rung == len(table.rungs) - 1
        spent += table.rungs[rung] - (table.rungs[rung - 1] if rung else 0)
        vector = table.vector(place, seen, rung)
        if is_end:
            searcher.end(number, vector)
            run.done.append(place)
            run.spent.append(spent)
            run.volumes.append(table.volume(run.done, other))
        elif _stops(table, method.stopping, seed, number, rung, vector, at_rungs[rung]):
            searcher.end(number, None)
            run.stopped.append(place)
        else:
            at_rungs[rung].append(vector)
            go_on(now, number, rung + 1)
            continue
        at_rungs[rung].append(vector)
        begin(now)
    run.wrong = _wrong(table, run, other)
    return run


def _stops(
    table: Table, spec: StoppingSpec, seed: int, number: int, rung: int, vector: Vector, others: list[Vector]
) -> bool:
    """As `service.judging` decides, of the rungs that the method has among those recorded."""
    epoch = table.rungs[rung]
    if spec.name == "none" or number == 0 or epoch not in rung_epochs(spec, table.epochs):
        return False
    floor = rung_floor(spec, epoch, table.epochs, chance=CHANCE, floor=FLOOR)
    return judge(spec, OBJECTIVES, vector, others, floor).stop and not is_spared(spec, seed, number)


def _wrong(table: Table, run: Run, seed: int) -> int:
    """Stopped configurations that would be on the front of all that were begun."""
    places = list(dict.fromkeys([*run.done, *run.stopped]))
    ends = np.array([table.vectors[(*place, seed, -1)] for place in places])
    feasible = ends[:, 0] >= FLOOR
    on_front = np.zeros(len(places), dtype=bool)
    on_front[feasible] = front(ends[feasible], OBJECTIVES)
    best = {place for place, is_on in zip(places, on_front, strict=True) if is_on}
    return len(best & set(run.stopped) - set(run.done))


def _params(place: Place) -> dict[str, Any]:
    names = list(SPACE)
    return {names[0]: tuple(SURROGATES)[place[0]], **{n: p + 1 for n, p in zip(names[1:], place[1:], strict=True)}}


def _place(params: Any) -> Place:
    names = list(SPACE)
    return (tuple(SURROGATES).index(params[names[0]]), *(int(params[name]) - 1 for name in names[1:]))
