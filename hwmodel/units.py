"""Units at the boundary: joules, seconds and watts that mypy keeps apart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NewType

Joules = NewType("Joules", float)
Seconds = NewType("Seconds", float)
Watts = NewType("Watts", float)


def total_j(parts: Iterable[Joules]) -> Joules:
    """Sum of energies [J], exactly rounded; nothing sums to 0 J."""
    return Joules(math.fsum(parts))


def total_s(parts: Iterable[Seconds]) -> Seconds:
    """Sum of durations [s], exactly rounded; nothing sums to 0 s."""
    return Seconds(math.fsum(parts))
