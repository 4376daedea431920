"""Suggestions by expected hypervolume: they find a front sooner than chance, and learn ceilings."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from objectives.pareto import hypervolume
from service.samplers import Mirror
from storage.trials import CONSTRAINT
from tests.support.studies import make_study

SPACE = {"beta": {"range": [0.0, 1.0]}, "threshold": {"range": [0.5, 1.5]}, "train.lr": {"log": [1e-3, 1e-1]}}
NAMES = ("accuracy", "latency_ms", "fps_per_watt")
REFERENCE = {"accuracy": 0.7, "latency_ms": 1.0, "fps_per_watt": 100.0}


def measure(params: dict[str, float]) -> list[float]:
    """Accuracy falls and speed rises with beta; the threshold has its best at 1, the rate at 0.01."""
    off = (params["threshold"] - 1.0) ** 2 + 0.1 * np.log10(params["train.lr"] / 0.01) ** 2
    latency = 0.1 + (1 - params["beta"]) ** 2 + off
    return [float(0.99 - 0.2 * params["beta"] ** 2 - off), float(latency), float(100 / latency)]


def searched(sampler: str, seed: int, count: int, excess: Callable[[list[float]], float] | None = None) -> list[float]:
    """Play a study with three workers; gives the hypervolume after each trial, or the excesses where one is asked."""
    study = make_study(
        sampler={"name": sampler, "seed": seed},
        search=SPACE,
        baseline={"beta": 0.5, "threshold": 0.6, "train.lr": 0.02},
        objectives=list(NAMES),
        constraints={"floor": {"accuracy": 0.7}},
    )
    mirror, rows, found = Mirror(study), [], []
    values: list[list[float]] = []
    for number in range(count):
        suggestion = mirror.suggest(number)
        mirror.asked(number, number)
        rows.append(_row(number, suggestion.params, suggestion.distributions))
        if number >= 2:
            row = rows[number - 2]
            vector = measure(row.params)
            row.state, row.values, row.datetime_complete = TrialState.COMPLETE, vector, datetime(2024, 1, 1)
            if excess:
                row.system_attrs = {f"{CONSTRAINT}max_latency_ms": excess(vector)}
                found.append(excess(vector))
            mirror.follow(row)
            values.append(vector)
            if not excess:
                found.append(hypervolume(np.array(values), NAMES, REFERENCE))
    return found


def _row(number: int, params: dict[str, Any], distributions: dict[str, BaseDistribution]) -> FrozenTrial:
    begun = datetime(2024, 1, 1)
    return FrozenTrial(number, TrialState.RUNNING, None, begun, None, params, distributions, {}, {}, {}, number)


def test_it_reaches_in_twenty_trials_what_chance_needs_sixty_for() -> None:
    ours = np.median([searched("gp", seed, 22)[-1] for seed in range(5)])
    chance = np.median([searched("random", seed, 62)[-1] for seed in range(5)])

    assert ours > chance


def test_it_learns_to_stay_below_a_ceiling() -> None:
    excesses = searched("gp", 3, 40, lambda vector: vector[1] / 0.4 - 1)

    first, last = excesses[:10], excesses[-15:]
    assert np.mean(np.array(first) > 0) > 0.5
    assert np.mean(np.array(last) > 0) < 0.35
