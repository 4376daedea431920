"""Wall clock on two cores: two one-thread workers against one process of plain snnTorch that uses both."""

from __future__ import annotations

import os
import statistics
import time
from functools import partial

import psutil  # type: ignore[import-untyped]

from tests.bench.bars import Bar
from tests.bench.training_sizes import BY_NAME, Size, engine_works
from tests.bench.training_speed import plain_works
from tests.bench.training_turns import Runner

BARS = {"digits": 10.0, "svhn": 2.8}
CORES = 2
_ROUNDS = 5
_STEPS = {"digits": 20, "svhn": 1}  # of each process in a round: as many as the engine has images for


def workers_bars() -> list[Bar]:
    """Images trained in a second, and how many times more two workers train."""
    if (os.cpu_count() or 1) < CORES:
        return [Bar(f"training/{name}/workers", None, bar, "x", reason="this machine has one core")
                for name, bar in BARS.items()]  # fmt: skip
    print(f"\nworkers: {busy()}")
    return [Bar(f"training/{name}/workers", _gain(BY_NAME[name]), bar, "x") for name, bar in BARS.items()]


def busy() -> str:
    """What else the machine is doing: a wall clock needs idle cores."""
    share = psutil.cpu_percent(interval=1.0)
    state = "idle" if share < 10 else "NOT idle, so wall clocks say little"
    return f"load average {os.getloadavg()[0]:.2f}, others take {share:.0f} % of {os.cpu_count()} cores: {state}"


def _gain(size: Size) -> float:
    steps = _STEPS[size.name]
    ours, theirs = [], []
    with (
        Runner(partial(engine_works, size)) as first,
        Runner(partial(engine_works, size)) as second,
        Runner(partial(plain_works, size), threads=CORES) as plain,
    ):
        for _ in range(_ROUNDS):
            theirs.append(_images_per_s(size, [plain], steps))
            ours.append(_images_per_s(size, [first, second], steps))
    gain = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    print(f"{size.name:8s} plain, 1 process x {CORES} threads {statistics.median(theirs):7.0f} images/s, "
          f"engine, {CORES} workers x 1 thread {statistics.median(ours):7.0f} images/s: {gain:.1f}x")  # fmt: skip
    return gain


def _images_per_s(size: Size, runners: list[Runner], steps: int) -> float:
    """Of all runners together, from the first start to the last end."""
    started = time.perf_counter()
    for runner in runners:
        runner.begin("train", steps)
    for runner in runners:
        runner.end()
    return len(runners) * steps * size.batch / (time.perf_counter() - started)
