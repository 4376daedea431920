"""How a process that trains is set up: one thread, and memory that it keeps."""

from __future__ import annotations

import ctypes

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Numbers of `mallopt`, from glibc's malloc.h."""
_KEPT_BYTES = 2**30


def settle() -> None:
    """Compute on one thread, and keep freed memory for what comes next.

    A batch frees and takes the same tensors again. The C library gives large ones back to the system each time, and
    the system clears every page that is taken anew, which costs more than many a layer computes. Where the C library
    is not glibc nothing is changed.

    Source: mallopt(3), M_TRIM_THRESHOLD and M_MMAP_THRESHOLD.
    """
    torch.set_num_threads(1)
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        library.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
        library.mallopt(_MMAP_THRESHOLD, _KEPT_BYTES)
