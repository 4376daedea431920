"""How much memory training takes over that of the idle process, at SVHN size.

Idle is a worker between two trials: torch and the compiled kernels are in place, as a batch of digits was trained.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from tests.bench.bars import Bar
from tests.bench.training_sizes import BY_NAME, training

_BAR = 120.0
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def memory_bar() -> Bar:
    """Peak of a fresh process while it trains, above what it holds before."""
    if not _RESET.exists():
        return Bar("training/svhn/memory", None, _BAR, "MB", at_least=False, reason="this needs Linux's /proc")
    code = "from tests.bench.training_memory import child; child()"
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    idle, peak = map(float, done.stdout.split())
    print(f"\nmemory: svhn, idle {idle:.0f} MB, training {peak:.0f} MB at most")
    return Bar("training/svhn/memory", peak - idle, _BAR, "MB", at_least=False)


def child() -> None:
    """In a process of its own: resident MB before training, with images and network in place, and the peak during."""
    torch.set_num_threads(1)
    training(BY_NAME["digits"]).run_epoch(lambda: True)
    trial = training(BY_NAME["svhn"])
    _RESET.write_text("5")  # the peak starts anew from here
    idle = _megabytes("VmRSS")
    steps = iter(range(5))
    trial.run_epoch(lambda: next(steps) == 4)
    print(idle, _megabytes("VmHWM"))


def _megabytes(field: str) -> float:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024
