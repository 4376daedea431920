"""Numeric arrays out of MATLAB files of version 5.

Parsed here, as `scipy.io.loadmat` 1.17 ends the whole process with a segmentation fault on some altered files.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HEADER = 128
_MAGIC = b"\x00\x01IM"
"""End of the header: version 1.0, little-endian."""

_MATRIX, _COMPRESSED = 14, 15
_NUMERIC = range(6, 16)
"""Classes of arrays of numbers, from double to uint64."""

_STORED = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8", 12: "<i8", 13: "<u8"}
"""Types in which numbers are stored, whatever the class of the array."""

_COMPLEX = 0x800


def read_arrays(content: bytes, names: Collection[str]) -> dict[str, NDArray[Any]]:
    """The arrays of these names, each in the type in which it is stored; those that are not there are left out.

    Raises:
        ValueError: The file is cut short or altered, of another version, or such a variable is no array of numbers.

    Source: MathWorks, MAT-File Format, "Level 5 MAT-File Format".
    """
    if len(content) < _HEADER or content[_HEADER - len(_MAGIC) : _HEADER] != _MAGIC:
        raise ValueError("no little-endian MATLAB file of version 5")
    found = {}
    for kind, data in _elements(memoryview(content)[_HEADER:]):
        matrix = _unpacked(data) if kind == _COMPRESSED else data if kind == _MATRIX else None
        if matrix is not None and (named := _array(matrix, names)) is not None:
            found[named[0]] = named[1]
    return found


def _elements(view: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Elements one after another: type and data."""
    at = 0
    while at < len(view):
        if at + 8 > len(view):
            raise ValueError("cut short")
        kind, size = struct.unpack_from("<II", view, at)
        if kind >> 16:  # small: size and type share four bytes, the data the next four
            kind, size, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        else:
            start = at + 8
            end = start + (size if kind == _COMPRESSED else -(-size // 8) * 8)
        if start + size > min(end, len(view)):
            raise ValueError("cut short")
        yield kind, view[start : start + size]
        at = end


def _unpacked(data: memoryview) -> memoryview:
    """Data of the one matrix in a compressed element."""
    try:
        kind, matrix = next(_elements(memoryview(zlib.decompress(data))))
    except (zlib.error, StopIteration) as error:
        raise ValueError(f"cannot be unpacked: {error}") from error
    if kind != _MATRIX:
        raise ValueError(f"element of type {kind} in a compressed one")
    return matrix


def _array(matrix: memoryview, names: Collection[str]) -> tuple[str, NDArray[Any]] | None:
    """Name and numbers; None for another name."""
    parts = list(_elements(matrix))
    if len(parts) < 3:
        raise ValueError("a matrix without flags, sizes and name")
    (_, flags), (_, sizes), (_, label) = parts[:3]
    if (name := bytes(label).decode("latin-1")) not in names:
        return None
    if len(flags) != 8 or len(parts) != 4 or flags[0] not in _NUMERIC or flags[1] & (_COMPLEX >> 8):
        raise ValueError(f"{name} is no array of real numbers")
    kind, data = parts[3]
    if kind not in _STORED or len(sizes) % 4:
        raise ValueError(f"{name} is stored in no known type")
    numbers = np.frombuffer(data, _STORED[kind])
    shape = struct.unpack(f"<{len(sizes) // 4}i", sizes)
    if min(shape, default=-1) < 0 or math.prod(shape) != len(numbers):
        raise ValueError(f"{name} has {len(numbers)} numbers, {shape} announced")
    return name, numbers.reshape(shape, order="F")
