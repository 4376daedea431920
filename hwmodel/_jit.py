"""The one place with numba's flags: native code only, no GIL, cached on disk, no reordered sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a kernel: plain loops over arrays, no fastmath, so the same bits on every machine."""
    return cast(Callable[P, R], numba.jit(nopython=True, nogil=True, cache=True)(function))
