"""`service/flat`: what a suggestion costs the server, with taking in the trial before it, in short and long studies.

CPU of the mirror alone, from 500 to 50,000 trials; the sizes take turns, so that all see the same machine. The random
sampler knows no history; of NSGA-II's whole generations are measured, the choice of their parents with them.
"""

from __future__ import annotations

import gc
import statistics
import time

import numpy as np

from objectives.studyfile import parse_study
from tests.bench.bars import Bar
from tests.bench.service_ask import RUNNING, Ours, history
from tests.bench.service_load import searched
from tests.support.filler import POPULATION, scores

SIZES = (500, 5_000, 50_000)
ROUNDS = 7
BARS = {"random": 1.2, "nsga2": 1.5}


def flat_bars() -> list[Bar]:
    """How many times more a suggestion costs in the longest study than in the shortest."""
    return [_bar(sampler, bar) for sampler, bar in BARS.items()]


def _bar(sampler: str, bar: float) -> Bar:
    study = parse_study(searched("flat", sampler))
    sides = [Ours(study, history(study, size)) for size in SIZES]
    for side in sides:
        for _ in range(RUNNING):
            side.ask()
    gc.collect()
    rounds = [[_cost(side, turn) for side in sides] for turn in range(ROUNDS)]
    costs = [statistics.median(costs[at] for costs in rounds) for at in range(len(SIZES))]
    words = ", ".join(f"{1e3 * cost:.2f} ms at {size}" for size, cost in zip(SIZES, costs, strict=True))
    ratio = statistics.median(costs[-1] / costs[0] for costs in rounds)
    print(f"flat: {sampler}: {words} trials; ratio {ratio:.2f}", flush=True)
    return Bar(f"service/flat-{sampler}", ratio, bar, "x", at_least=False)


def _cost(side: Ours, turn: int) -> float:
    """CPU seconds a trial, over two generations."""
    values = scores(np.random.default_rng(turn), 2 * POPULATION).tolist()
    began = time.process_time()
    for one in values:
        side.end(one)
        side.ask()
    return (time.process_time() - began) / len(values)
