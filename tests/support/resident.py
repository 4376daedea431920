"""Resident memory of this process: what it holds, and the most it held since its peak was forgotten."""

from __future__ import annotations

import gc
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def forget_peak() -> None:
    """Start the peak anew: compiling kernels took more than training will.

    Source: proc_pid_clear_refs(5), value 5.
    """
    gc.collect()
    _RESET.write_text("5")


def resident() -> int:
    """Bytes held now."""
    return _bytes("VmRSS")


def peak() -> int:
    """Most bytes held since `forget_peak`; `getrusage` would start at the parent's."""
    return _bytes("VmHWM")


def _bytes(field: str) -> int:
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
