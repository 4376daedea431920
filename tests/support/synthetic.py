"""Studies without a database for tests of the pages: synthetic trials behind the methods that routes call."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from types import SimpleNamespace
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from objectives.pareto import reference_point
from service.errors import Conflict, NotFound
from service.fronts import baseline_of, build_front, feasible_front, hypervolume_steps, is_feasible
from service.hardwarefronts import hardware_points, union
from service.studies import _WORDS, Status, _trial_document
from storage.studies import Event

OBJECTIVES = ("accuracy", "latency_ms", "fps_per_watt")
FLOOR = 0.4
BEGIN = datetime(2026, 3, 1, 7, 14, tzinfo=UTC)
BASELINE = {"surrogate": "atan", "alpha": 2.0, "beta": 0.25, "threshold": 1.0, "accelerator.neural_cores.1": 8}


class SyntheticStudy:
    """One study; `add` finishes another trial, as a worker would.

    Args:
        name: Of the study.
        trials: How many trials have ended, the baseline included.
        seed: Of the parameters and of the noise.
        objectives: A part of `OBJECTIVES`, or energy too.
        spoil: Constraint that every trial breaks, if any.
        has_hardware_search: Whether each trial tries three accelerators and reports the middle one.
    """

    def __init__(
        self,
        name: str,
        trials: int = 200,
        seed: int = 0,
        *,
        state: str = "running",
        objectives: tuple[str, ...] = OBJECTIVES,
        spoil: str | None = None,
        has_hardware_search: bool = False,
    ) -> None:
        self.name, self.state, self.reason, self.objectives, self.spoil = name, state, "", objectives, spoil
        self.has_hardware_search = has_hardware_search
        self.random = np.random.default_rng(seed)
        self.trials: list[FrozenTrial] = []
        self.results: dict[int, dict[str, Any]] = {}
        self.events: list[Event] = []
        self.running: list[dict[str, Any]] = []
        self.log("created", f"study {name} created")
        for _ in range(trials):
            self.add()

    def log(self, kind: str, message: str, number: int | None = None) -> None:
        at = BEGIN + timedelta(minutes=len(self.events))
        self.events.append(Event(len(self.events) + 1, number, kind, message, at))

    def add(self, values: dict[str, float] | None = None, params: dict[str, Any] | None = None) -> int:
        number = len(self.trials)
        params = params or (dict(BASELINE) if number == 0 else _draw(self.random))
        noise = self.random.normal(size=3)
        values = values or _score(params, noise if number else np.zeros(3))
        state = self._state(number, values)
        constraints = {"floor": FLOOR - values["accuracy"], "fits_device": float(noise[0] > 1.4 and number > 0)}
        if self.spoil:
            constraints[self.spoil] = 0.5 + number / 10
        self.trials.append(self._trial(number, state, params, values, constraints))
        self.results[number] = {"on_baseline_accelerator": {**values, "latency_ms": values["latency_ms"] * 1.1}}
        self.log("trial complete", f"trial {number} {_WORDS[state]}: accuracy {values['accuracy']:.4g}", number)
        return number

    def lease(self, worker: str, epoch: int, *, accuracy: float | None = None, **more: Any) -> None:
        number = len(self.trials) + len(self.running)
        lease = {"trial": number, "task": "train", "worker": worker, "attempt": 1, "epoch": epoch, "epochs": 25}
        self.running.append({**lease, "accuracy": accuracy, "seconds": 12.0, "expired": False, **more})

    def _state(self, number: int, values: dict[str, float]) -> TrialState:
        if number and self.random.random() < 0.02:
            return TrialState.FAIL
        stops = number and values["accuracy"] < 0.75 and self.random.random() < 0.3
        return TrialState.PRUNED if stops else TrialState.COMPLETE

    def _trial(
        self,
        number: int,
        state: TrialState,
        params: dict[str, Any],
        values: dict[str, float],
        constraints: dict[str, float],
    ) -> FrozenTrial:
        is_complete = state is TrialState.COMPLETE
        trial = FrozenTrial(
            number=number,
            state=state,
            value=None,
            values=[values[name] for name in self.objectives] if is_complete else None,
            datetime_start=BEGIN + timedelta(minutes=number),
            datetime_complete=BEGIN + timedelta(minutes=number + 1),
            params=params,
            distributions={key: CategoricalDistribution([value]) for key, value in params.items()},
            user_attrs={},
            system_attrs={},
            intermediate_values={},
            trial_id=number,
        )
        if is_complete:
            for key, value in constraints.items():
                trial.set_constraint(key, value)
        return trial


class FakeStudies:
    """What `service.studies.Studies` offers to pages and routes, over synthetic studies."""

    def __init__(self, *studies: SyntheticStudy) -> None:
        self.studies = {study.name: study for study in studies}
        self.refusal = ""

    def names(self) -> list[str]:
        return list(self.studies)

    def row(self, name: str) -> SyntheticStudy:
        if name not in self.studies:
            raise NotFound(f"there is no study {name!r}; `spikefront studies` lists them")
        return self.studies[name]

    def front(self, name: str) -> Any:
        study = self.row(name)
        on_front = feasible_front(study.trials, study.objectives)
        first = baseline_of(study.trials)
        front = build_front(name, study.objectives, on_front, first, study.results, self._reference(study))
        points = self.hardware_front(name)
        return front if points is None else replace(front, hardware=tuple(points))

    def hardware_front(self, name: str) -> list[dict[str, Any]] | None:
        study = self.row(name)
        if not study.has_hardware_search:
            return None
        feasible = [trial for trial in study.trials if is_feasible(trial)]
        tried = [hardware_points(trial, study.objectives, _tried(trial, study.objectives)) for trial in feasible]
        return union(chain.from_iterable(tried), study.objectives)

    def status(self, name: str) -> Status:
        study = self.row(name)
        counts = Counter(_WORDS[trial.state] for trial in study.trials)
        counts["running"] += len(study.running)
        return Status(
            name=name,
            state=study.state,
            reason=study.reason,
            asked=400,
            counts={word: counts[word] for word in _WORDS.values()},
            feasible=sum(map(is_feasible, study.trials)),
            front=self.front(name),
            hypervolume_steps=hypervolume_steps(study.trials, study.objectives, self._reference(study)),
            running=list(study.running),
            created_at=BEGIN,
            eta_s=6720.0 if study.running else None,
            last_event=len(study.events),
            spared={"complete": 0, "on_front": 0},
        )

    def trials(self, name: str) -> list[dict[str, Any]]:
        study = self.row(name)
        return [_trial_document(trial, study.objectives) for trial in study.trials]

    def trial(self, name: str, number: int) -> dict[str, Any]:
        study = self.row(name)
        if not 0 <= number < len(study.trials):
            raise NotFound(f"study {name!r} has no trial {number}")
        trial = self.trials(name)[number]
        hardware = trial["values"] and _hardware(trial["values"].get("latency_ms", 5.0))
        return {**trial, "curve": [], "rungs": [], "test": None, "details": {"hardware": hardware}}

    def events(self, name: str, after: int = 0, limit: int = 200) -> list[Event]:
        return [event for event in self.row(name).events if event.event_id > after][-limit:]

    def stop(self, name: str) -> None:
        self._change(name, "stopped", "stopped on request")

    def resume(self, name: str, changes: Any = None) -> Any:
        self._change(name, "running", "")
        return SimpleNamespace()

    def _change(self, name: str, state: str, reason: str) -> None:
        study = self.row(name)
        if self.refusal:
            raise Conflict(self.refusal)
        study.state, study.reason = state, reason
        study.log(state, f"{state} by test")

    def _reference(self, study: SyntheticStudy) -> dict[str, float] | None:
        first = study.trials[0] if study.trials else None
        if first is None or first.state is not TrialState.COMPLETE:
            return None
        return reference_point(dict(zip(study.objectives, first.values, strict=True)), FLOOR, study.objectives)


def _draw(random: np.random.Generator) -> dict[str, Any]:
    surrogate = str(random.choice(["atan", "fast_sigmoid"]))
    knob = "alpha" if surrogate == "atan" else "slope"
    return {
        "surrogate": surrogate,
        knob: float(np.exp(random.uniform(np.log(0.5), np.log(32)))),
        "beta": float(random.uniform(0.05, 0.95)),
        "threshold": float(random.uniform(0.25, 2.5)),
        "accelerator.neural_cores.1": int(random.choice([4, 8, 16, 32])),
    }


def _score(params: dict[str, Any], noise: np.ndarray) -> dict[str, float]:
    rate = 0.4 * math.exp(-1.1 * params["threshold"]) / (1.15 - params["beta"])
    cores = params["accelerator.neural_cores.1"]
    peak = math.log(params.get("alpha", params.get("slope", 2.0))) - 1.2
    accuracy = 0.93 * (1 - math.exp(-18 * rate)) * math.exp(-0.04 * peak * peak) - abs(noise[0]) * 0.03
    latency = (0.5 + 60 * rate) / (cores / 8) ** 0.7 * math.exp(0.2 * noise[1])
    watt = 0.6 + 0.02 * cores + 1.5 * rate
    efficiency = 1000 / latency / watt * math.exp(0.1 * noise[2])
    return {
        "accuracy": max(0.1, accuracy),
        "latency_ms": latency,
        "fps_per_watt": efficiency,
        "energy_uj": 1e6 / efficiency,
    }


def _tried(trial: FrozenTrial, objectives: tuple[str, ...]) -> dict[str, Any]:
    """Details of a trial that reports one accelerator and tried two more: a faster one, and one for more FPS/W."""
    values = dict(zip(objectives, trial.values, strict=True))
    front = []
    for cores, latency, efficiency in ((32, 0.85, 0.9), (16, 1.0, 1.0), (8, 1.3, 1.08)):
        costs = {name: values[name] * (latency if name == "latency_ms" else efficiency) for name in objectives[1:]}
        built = {"neural_cores": [4, cores, 8, 5], "encoder_widths": [None, 64, 200, 200]}
        front.append(
            {**built, **costs, "luts": 900 * cores, "flip_flops": 1200 * cores, "bram36": 2.5 * cores, "dsp": 8}
        )
    return {
        "accelerator_chosen": {name: front[1][name] for name in ("neural_cores", "encoder_widths")},
        "hardware_front": front,
    }


def _hardware(latency_ms: float) -> dict[str, Any]:
    """Report of an accelerator at 100 MHz in which the second layer sets the pace."""
    shares = {"conv1": 0.2, "conv2": 0.5, "fc1": 0.22, "fc2": 0.08}
    causes = {"fetch": 0.0, "compress": 0.22, "accumulate": 0.54, "activate": 0.15, "hand_over": 0.01, "wait": 0.08}
    layers = [
        {
            "name": name,
            "cores": 8,
            "cycles": latency_ms * 1e5 * share,
            "causes": {key: latency_ms * 1e5 * share * part for key, part in causes.items()},
        }
        for name, share in shares.items()
    ]
    return {"clock_hz": 1e8, "layers": layers}
