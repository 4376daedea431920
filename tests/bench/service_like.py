"""Trials per second like for like: our server against plain Optuna, in turns, with studies of 0 and 5,000 trials."""

from __future__ import annotations

import gc
import statistics
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import optuna

from tests.bench.bars import Bar
from tests.bench.service_load import Cost, Crew, Plain, measured, searched
from tests.bench.service_place import opened_site
from tests.support.filler import distributions_of

ROUNDS = 5


@dataclass(frozen=True)
class Case:
    """A sampler and a size.

    Attributes:
        sampler: Of our study.
        plain: Plain Optuna's sampler, from a seed.
        history: Finished trials at the start.
        bar: Least ratio of the trials per second.
        trials: Trials of a round, on each side.
    """

    name: str
    sampler: str
    plain: Callable[[int], optuna.samplers.BaseSampler]
    history: int
    bar: float
    trials: int


def _random(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


def _nsga2(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.NSGAIISampler(seed=seed)


def _tpe(seed: int, *, multivariate: bool | None) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(seed=seed, multivariate=multivariate)


CASES = (
    Case("random-0", "random", _random, 0, 3.0, 160),
    Case("random-5k", "random", _random, 5_000, 3.0, 160),
    Case("nsga2-0", "nsga2", _nsga2, 0, 3.0, 160),
    Case("nsga2-5k", "nsga2", _nsga2, 5_000, 3.0, 160),
    Case("tpe-5k-default", "tpe", partial(_tpe, multivariate=None), 5_000, 4.0, 16),
    Case("tpe-5k-multivariate", "tpe", partial(_tpe, multivariate=True), 5_000, 1.4, 32),
)


def like_bar(case: Case) -> Bar:
    """How many times more trials per second our server hands out and takes back."""
    rounds = _rounds(case)
    ours, theirs = ([pair[side] for pair in rounds] for side in (0, 1))
    ratio = statistics.median(our.rate / their.rate for our, their in rounds)
    print(f"{case.name}\n  ours   {_middle(ours).words()}\n  plain  {_middle(theirs).words()}\n  ratio  {ratio:.2f}",
          flush=True)  # fmt: skip
    return Bar(f"service/{case.name}", ratio, case.bar, "x")


def _rounds(case: Case) -> list[tuple[Cost, Cost]]:
    with opened_site() as site:
        site.serve().close()
        study = site.add(searched("tiny", case.sampler), case.history)
        site.add_plain("plain", study, case.history)
        worker = Plain(site.url, "plain", distributions_of(study), case.plain)
        gc.collect()
        with Crew(site.ours("tiny")) as ours, Crew(worker) as plain:
            ours.run(16)  # loads the study, and opens every connection
            plain.run(16)
            return [
                (
                    measured(ours, case.trials, site.server_pids(), site.postgres_pids),
                    measured(plain, case.trials, [], site.postgres_pids),
                )
                for _ in range(ROUNDS)
            ]


def _middle(costs: list[Cost]) -> Cost:
    return sorted(costs, key=lambda cost: cost.rate)[len(costs) // 2]
