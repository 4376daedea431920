"""`make bench-training`: how fast the training engine is, against plain snnTorch written as its tutorials do.

digits, mnist, svhn, svhn25  CPU time of one thread at four sizes, train step and inference (`training_speed.py`)
memory      what training adds to the memory of an idle process, at SVHN size
workers     wall clock on two cores: two one-thread workers against one plain process on both
protocol    what leases, reports and checkpoints add to a digits trial
activity    what counting the activity adds to evaluation
statistics  twenty paired seeds on digits: the same accuracy as plain snnTorch?
bf16        what bf16 does to the accuracy; its speed stands in the tables of the sizes
gpu         a train step at SVHN size on a GPU

`.venv/bin/python -m tests.bench.training --only digits,workers` runs some of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial

import torch

from tests.bench.bars import Bar, report
from tests.bench.training_activity import activity_bar
from tests.bench.training_bf16 import has_bf16
from tests.bench.training_gpu import gpu_bar
from tests.bench.training_memory import memory_bar
from tests.bench.training_protocol import protocol_bar
from tests.bench.training_sizes import SIZES
from tests.bench.training_speed import speed_bars
from tests.bench.training_statistics import print_bf16, statistics_bars
from tests.bench.training_workers import busy, workers_bars


def _bf16() -> list[Bar]:
    print_bf16()
    return []


PARTS: dict[str, Callable[[], list[Bar]]] = {
    **{size.name: partial(speed_bars, size) for size in SIZES},
    "memory": lambda: [memory_bar()],
    "workers": workers_bars,
    "protocol": lambda: [protocol_bar()],
    "activity": lambda: [activity_bar()],
    "statistics": statistics_bars,
    "bf16": _bf16,
    "gpu": lambda: [gpu_bar()],
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.training", description="Measure the training engine.")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts to run, of {', '.join(PARTS)}")
    wanted = parser.parse_args().only.split(",")
    if unknown := set(wanted) - set(PARTS):
        parser.error(f"--only: no part {', '.join(sorted(unknown))}; expected some of {', '.join(PARTS)}")
    torch.set_num_threads(1)
    own = "computes" if has_bf16() else "does not compute (torch emulates it)"
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}; this processor {own} in bf16")
    print(busy(), flush=True)
    return report([bar for name in PARTS if name in wanted for bar in PARTS[name]()])


if __name__ == "__main__":
    sys.exit(main())
