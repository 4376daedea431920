"""How much memory training takes over that of a worker between two trials, at SVHN size (`tests/support/memory.py`)."""

from __future__ import annotations

from pathlib import Path

from tests.bench.bars import Bar
from tests.support.memory import measured_mb

_BAR = 120.0


def memory_bar() -> Bar:
    """Peak of a fresh process while it trains, above what it held after a batch of digits."""
    if not Path("/proc/self/clear_refs").exists():
        return Bar("training/svhn/memory", None, _BAR, "MB", at_least=False, reason="this needs Linux's /proc")
    grown = measured_mb("svhn", batches=5, images=512)
    print(f"\nmemory: training svhn takes {grown:.0f} MB at most")
    return Bar("training/svhn/memory", grown, _BAR, "MB", at_least=False)
