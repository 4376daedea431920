"""Training on a GPU at SVHN size: the engine's pure-torch path against plain snnTorch on the same GPU, wall clock."""

from __future__ import annotations

import statistics
from functools import partial

import torch

from tests.bench.bars import Bar
from tests.bench.training_sizes import BY_NAME, ROUNDS, Size, batch, engine, plain, works_of
from tests.bench.training_turns import Runner, Work

_BAR = 10.0
_STEPS = 10


def gpu_bar() -> Bar:
    """Without a GPU the bar has no value."""
    if not torch.cuda.is_available():
        return Bar("training/gpu", None, _BAR, "x", reason="torch finds no CUDA device on this machine")
    return Bar("training/gpu", _gain(BY_NAME["svhn"], "cuda"), _BAR, "x")


def _gain(size: Size, device: str) -> float:
    ratios = []
    with (
        Runner(partial(_works, size, device, is_engine=True)) as ours,
        Runner(partial(_works, size, device, is_engine=False)) as theirs,
    ):
        for _ in range(ROUNDS):
            seconds = []
            for runner in (theirs, ours):
                runner.begin("train", _STEPS)
                seconds.append(runner.end().wall_s)
            ratios.append(seconds[0] / seconds[1])
    print(f"\ngpu: {size.name}, plain snnTorch {seconds[0] * 1e3:.1f} ms a step, engine {seconds[1] * 1e3:.1f} ms")
    return statistics.median(ratios)


def _works(size: Size, device: str, *, is_engine: bool) -> dict[str, Work]:
    """Train steps that end with the device's last operation."""
    images, labels = batch(size)
    net = (engine(size) if is_engine else plain(size)).to(device)
    step = works_of(net, images.to(device), labels.to(device))["train"]

    def train(times: int) -> None:
        step(times)
        if device == "cuda":
            torch.cuda.synchronize()

    return {"train": train}
