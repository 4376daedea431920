"""Which of many points no other point dominates: an exact filter over whole numbers, smaller is better.

Points are taken in the order of the sum of their columns, so a point can be dominated only by one that came before.
Those kept so far stand in k-d trees of 1, 2, 4, ... leaves, at most one of each size, as the bits of a binary
counter: when a leaf is full, it is merged with the trees that would overflow, and one balanced tree is built of
them. A node knows the least value of each column below it, which rules out most of a tree at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwmodel._jit import jit

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

LEAF = 16
"""Points of a leaf."""

DEEPEST = 64
"""Nodes that can wait to be looked at: one a level, and no array has 2^63 leaves."""


def nondominated(values: Ints) -> Bools:
    """Which points no other point dominates: none is as small in every column and smaller in one.

    Args:
        values: `(points, columns)` int64; the widest column's span times the number of columns stays below 2^63.

    Returns:
        `(points,)`; equal points are all kept or all dropped, no points give an empty array.
    """
    if len(values) == 0:
        return np.zeros(0, np.bool_)
    levelled = values - values.min(axis=0)
    spans = levelled.max(axis=0)
    levelled *= max(int(spans.max()), 1) // np.maximum(spans, 1)  # alike in size, so that each steers the trees
    sums = levelled.sum(axis=1)
    order = np.argsort(sums, kind="stable")
    kept = np.empty(len(values), np.bool_)
    kept[order] = _sweep_up(levelled[order], sums[order])
    return kept


@jit
def _sweep_up(points: Ints, sums: Ints) -> Bools:
    """The filter, for points in ascending order of their `sums`.

    A point that is nowhere greater than a later one of the same sum equals it: then both are kept, and one stands
    for both in the trees.
    """
    count, columns = points.shape
    kept = np.zeros(count, np.bool_)
    members = np.empty(count, np.int64)
    lows = np.empty((2 * (count // LEAF) + 1, columns), np.int64)
    size = 0
    for point in range(count):
        found = _below(points, point, members, size, lows)
        if found >= 0:
            kept[point] = sums[found] == sums[point]
            continue
        kept[point] = True
        members[size] = point
        size += 1
        if size % LEAF == 0:
            leaves = size // LEAF
            start = leaves - (leaves & -leaves)  # of the trees that this leaf completes
            _build(points, members[start * LEAF : size], lows[2 * start :])
    return kept


@jit
def _below(points: Ints, point: int, members: Ints, size: int, lows: Ints) -> int:
    """A member that is nowhere greater than the point, or -1; the greatest tree is searched first."""
    waiting = np.empty(DEEPEST, np.int64)
    leaves = size // LEAF
    start = 0
    while start < leaves:
        width = 1
        while 2 * width <= leaves - start:
            width *= 2
        waiting[0] = 1
        top = 1
        while top > 0:
            top -= 1
            node = waiting[top]
            if not _nowhere_greater(lows[2 * start + node - 1], points[point]):
                continue
            if node < width:
                waiting[top] = 2 * node + 1
                waiting[top + 1] = 2 * node
                top += 2
                continue
            first = (start + node - width) * LEAF
            for member in members[first : first + LEAF]:
                if _nowhere_greater(points[member], points[point]):
                    return int(member)
        start += width
    for member in members[leaves * LEAF : size]:
        if _nowhere_greater(points[member], points[point]):
            return int(member)
    return -1


@jit
def _nowhere_greater(one: Ints, other: Ints) -> bool:
    for column in range(one.shape[0]):  # noqa: SIM110 - a compiled loop
        if one[column] > other[column]:
            return False
    return True


@jit
def _build(points: Ints, members: Ints, lows: Ints) -> None:
    """Order the members into a balanced tree; node k has the children 2k and 2k + 1, its lows are in row k - 1."""
    leaves = members.shape[0] // LEAF
    nodes = 1  # of the level
    while nodes <= leaves:
        width = members.shape[0] // nodes
        for index in range(nodes):
            part = members[index * width : (index + 1) * width]
            low = lows[nodes + index - 1]
            column = _bounds(points, part, low)
            if nodes < leaves:
                _halve(points, part, column)
        nodes *= 2


@jit
def _bounds(points: Ints, part: Ints, low: Ints) -> int:
    """Fill in the least value of each column; the column of the widest span."""
    widest, span = 0, -1
    for column in range(points.shape[1]):
        least = points[part[0], column]
        most = least
        for member in part:
            least = min(least, points[member, column])
            most = max(most, points[member, column])
        low[column] = least
        if most - least > span:
            widest, span = column, most - least
    return widest


@jit
def _halve(points: Ints, part: Ints, column: int) -> None:
    """Move the smaller half, by one column, to the front: Hoare's quickselect."""
    middle = part.shape[0] // 2
    left, right = 0, part.shape[0] - 1
    while left < right:
        pivot = points[part[(left + right) // 2], column]
        low, high = left, right
        while low <= high:
            while points[part[low], column] < pivot:
                low += 1
            while points[part[high], column] > pivot:
                high -= 1
            if low <= high:
                part[low], part[high] = part[high], part[low]
                low += 1
                high -= 1
        if middle <= high:
            right = high
        elif middle >= low:
            left = low
        else:
            return
