"""What it costs to count the activity: evaluation that records it against evaluation that does not.

Both take as many images at once as `objectives.activity.record` does.
"""

from __future__ import annotations

import statistics
from functools import partial

import torch

from objectives.activity import _CHUNK, predicted
from objectives.process import settle
from tests.bench.bars import Bar
from tests.bench.training_sizes import BY_NAME, ROUNDS, Size, batch, engine
from tests.bench.training_turns import Runner, Work

_SIZES = ("digits", "mnist", "svhn")
_WITHOUT, _WITH = "evaluation", "evaluation with counts"


def activity_bar() -> Bar:
    """Share over one batch of each size, in CPU time."""
    print()
    costs = [_cost(BY_NAME[name]) for name in _SIZES]
    without, counting = (sum(column) for column in zip(*costs, strict=True))
    share = 100 * counting / without
    print(f"activity: a batch of each {without * 1e3:6.1f} ms, counting the activity {share:+.1f} %")
    return Bar("training/activity", share, 5.0, "%", at_least=False)


def _cost(size: Size) -> tuple[float, float]:
    """CPU seconds of a batch without counting, and those that counting adds: medians over the rounds."""
    rounds: list[dict[str, float]] = []
    with Runner(partial(_works, size)) as runner:
        for turn in range(2 * ROUNDS):
            seconds = {}
            for name in (_WITHOUT, _WITH) if turn % 2 else (_WITH, _WITHOUT):
                runner.begin(name, size.repeats[1])
                seconds[name] = runner.end().cpu_s
            rounds.append(seconds)
    without = statistics.median(one[_WITHOUT] for one in rounds)
    share = statistics.median(one[_WITH] / one[_WITHOUT] - 1 for one in rounds)
    print(f"activity: {size.name:11s} {without * 1e3:6.1f} ms, counting the activity {100 * share:+.1f} %")
    return without, share * without


def _works(size: Size) -> dict[str, Work]:
    settle()
    net, (images, _) = engine(size), batch(size)
    at_once = min(_CHUNK, net.at_once)
    images = images.repeat(-(-at_once // len(images)), 1, 1, 1)[:at_once]

    def evaluate(times: int) -> None:
        with torch.no_grad():
            for _ in range(times):
                predicted(net(images), net.classes)

    def record(times: int) -> None:
        with torch.no_grad():
            for _ in range(times):
                predicted(net.forward_recorded(images)[0], net.classes)

    return {_WITHOUT: evaluate, _WITH: record}
