"""Compiled kernels of the spiking scan: neurons over all steps, with a 2x2 pool before or behind them, and counts.

Layout: currents `(steps or 1, images, height * width * channels)`, channels innermost. An image is cut into units: a
place of all channels without a pool, two rows of the map with one. A block of units runs over all steps in cache, and
the backward pass computes its membranes anew there. One thread, fixed order, no fused multiply-add: the same bits on
every machine. All kernels stand in this one file, since numba's disk cache looks at the caller's file alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")
Floats = NDArray[np.float32]

SUBTRACT, ZERO, ZERO_ALL = 0, 1, 2
"""Resets: the threshold is subtracted; the membrane is cleared before the input; membrane and input are cleared."""

FAST_SIGMOID, ATAN, TRIANGULAR, STRAIGHT_THROUGH, SIGMOID, ESCAPE = range(6)
"""Surrogates by number; `knobs` holds two vectors for them."""

NO_POOL, POOL_FIRST, POOL_LAST = range(3)
"""Where the 2x2 pool stands: nowhere, before the neurons, behind them."""

_NONE, _ONE = np.float32(0), np.float32(1)
_BLOCK = 1024
_SCRATCH = 65536
"""Floats of a block, and of its membranes over all steps: within first-level and second-level cache."""
_LOG2_E, _LN_2 = 1.4426950408889634, 0.6931471805599453
_POWERS = np.exp2(np.arange(-150.0, 129.0))
_CASCADE = 16
"""Steps summed before they join the coarser sum: torch's own order."""


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a kernel: native code, no GIL, cached on disk, no reordered sums, division by zero as in IEEE 754."""
    return cast(Callable[P, R], numba.jit(nopython=True, nogil=True, cache=True, error_model="numpy")(function))


@jit
def forward(
    current: Floats,
    pool: int,
    shape: tuple[int, int, int],
    reset: int,
    decay: Floats,
    threshold: Floats,
    gains: Floats,
    spikes: Floats,
    counts: NDArray[np.int32],
    places: Floats,
) -> int:
    """Write the spikes, and count them where `counts` and `places` are not empty.

    Args:
        current: `(T or 1, images, height * width * channels)`; 1 where it is the same at each step.
        pool: NO_POOL, POOL_FIRST or POOL_LAST.
        shape: Height, width and channels of the current.
        reset: SUBTRACT, ZERO or ZERO_ALL.
        decay: What a membrane keeps over a step, a vector whose length divides the channels.
        threshold: The same for thresholds.
        gains: Factors of the current, applied one after the other; may be empty.
        spikes: Output `(T, images, places)`, after the pool.
        counts: Adds to `(images, T, channels)`: the output's spikes.
        places: Adds to `(places,)`: the output's spikes over images and steps, exact below 2^24.

    Returns:
        Spikes of the neurons, before a pool behind them; 0 where nothing is counted.
    """
    height, width, channels = shape
    unit_in, unit_out, units = _units(pool, height, width, channels, current.shape[2])
    unit = unit_in if pool == POOL_LAST else unit_out
    steps, images, rows = len(spikes), spikes.shape[1], _units_of_a_block(unit, _BLOCK)
    size = min(rows, units) * unit
    leaks, levels = _tiled(decay, size), _tiled(threshold, size)
    membrane, arrived, fired = np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.float32)
    folded, has_counts, total = np.empty(min(rows, units) * unit_out, np.float32), len(counts) > 0, 0
    for image in range(images):
        for first in range(0, units, rows):
            last = min(first + rows, units)
            length = (last - first) * unit
            u, d, level, spike = membrane[:length], leaks[:length], levels[:length], fired[:length]
            u[:] = _NONE
            seen = places[first * unit_out : last * unit_out]
            for step in range(steps):
                if step == 0 or len(current) > 1:
                    x = _arrive(
                        current[step, image, first * unit_in : last * unit_in],
                        pool, width, channels, gains, arrived[:length],
                    )  # fmt: skip
                out = spikes[step, image, first * unit_out : last * unit_out]
                if pool == POOL_LAST:
                    _advance(u, x, d, level, reset)
                    _fire(u, level, spike)
                    _pool(spike, width, channels, out)
                    if has_counts:
                        total += _sum(spike)
                else:
                    _advance(u, x, d, level, reset)
                    _fire(u, level, out)
                if has_counts:
                    _count(out, counts, image, step, seen, folded)
        if has_counts and pool == POOL_LAST and units * unit_in < current.shape[2]:
            total += _unseen(current, image, units * unit_in, steps, reset, decay, threshold, gains)
    return total


@jit
def backward(
    current: Floats,
    pool: int,
    shape: tuple[int, int, int],
    reset: int,
    decay: Floats,
    threshold: Floats,
    gains: Floats,
    surrogate: int,
    knobs: Floats,
    outer: Floats,
    gradient: Floats,
    learned: NDArray[np.float64],
) -> None:
    """Write the gradient of the current, and add those of decay and threshold where `learned` is not empty.

    Args:
        current: As in `forward`.
        pool: As in `forward`.
        shape: As in `forward`.
        reset: As in `forward`.
        decay: As in `forward`.
        threshold: As in `forward`.
        gains: As in `forward`.
        surrogate: Number of the surrogate.
        knobs: Its two vectors `(2, ...)`, whose length divides the channels.
        outer: Gradient of the spikes `(T, images, places)`.
        gradient: Output, shaped as the current; summed over the steps where the current is the same at each. The odd
            last row of a map under a pool is left as it is.
        learned: Adds to `(2, n)`: gradients of decay and threshold, n a divisor of the channels.
    """
    height, width, channels = shape
    unit_in, unit_out, units = _units(pool, height, width, channels, current.shape[2])
    unit = unit_in if pool == POOL_LAST else unit_out
    steps, images, is_constant = len(outer), outer.shape[1], len(current) == 1
    rows = _units_of_a_block(unit, min(_BLOCK, _SCRATCH // steps))
    size = min(rows, units) * unit
    leaks, levels = _tiled(decay, size), _tiled(threshold, size)
    knob, second = _tiled(knobs[0], size), _tiled(knobs[1], size)
    membranes = np.empty((steps + 1, size), np.float32)
    arrived, summed = np.empty(size, np.float32), np.empty((4, size), np.float32)
    carry, routed, fired = np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.float32)
    sums = np.zeros((2, size))
    for image in range(images):
        for first in range(0, units, rows):
            last = min(first + rows, units)
            length = (last - first) * unit
            d, level, k, k2 = leaks[:length], levels[:length], knob[:length], second[:length]
            membranes[0, :length] = _NONE
            for step in range(steps):
                if step == 0 or not is_constant:
                    x = _arrive(
                        current[step, image, first * unit_in : last * unit_in],
                        pool, width, channels, gains, arrived[:length],
                    )  # fmt: skip
                u = membranes[step + 1, :length]
                _copy(membranes[step, :length], u)
                _advance(u, x, d, level, reset)
            back = carry[:length]
            back[:] = -_NONE
            for step in range(steps - 1, -1, -1):
                before, u = membranes[step, :length], membranes[step + 1, :length]
                g = outer[step, image, first * unit_out : last * unit_out]
                if pool == POOL_LAST:
                    _fire(u, level, fired[:length])
                    _route(fired[:length], g, width, channels, routed[:length])
                    g = routed[:length]
                _chain(surrogate, u, level, k, k2, g)
                if len(learned) > 0:
                    _learn(u, back, before, level, d, reset, sums)
                _retreat(u, back, before, d, level, reset)
                if not is_constant:
                    _leave(
                        u, gains, pool, width, channels,
                        current[step, image, first * unit_in : last * unit_in],
                        gradient[step, image, first * unit_in : last * unit_in],
                    )  # fmt: skip
            if is_constant:
                _leave(
                    _sum_steps(membranes, summed, length), gains, pool, width, channels,
                    current[0, image, first * unit_in : last * unit_in],
                    gradient[0, image, first * unit_in : last * unit_in],
                )  # fmt: skip
    if len(learned) > 0:
        for place in range(size):
            learned[0, place % learned.shape[1]] += sums[0, place]
            learned[1, place % learned.shape[1]] += sums[1, place]


@jit
def count_dense(spikes: Floats, counts: NDArray[np.int32], places: Floats) -> None:
    """Count spikes `(T, images, neurons)`: adds to `counts` `(images, T, 1)` and to `places` `(neurons,)`."""
    for step in range(len(spikes)):
        for image in range(spikes.shape[1]):
            row = spikes[step, image]
            counts[image, step, 0] += np.int32(_sum(row))
            _add(places, row)


@jit
def _units(pool: int, height: int, width: int, channels: int, places: int) -> tuple[int, int, int]:
    """Places of a unit at the input and at the output, and the number of units in an image."""
    if pool == NO_POOL:
        return channels, channels, places // channels
    return 2 * width * channels, width // 2 * channels, height // 2


@jit
def _units_of_a_block(unit: int, size: int) -> int:
    return max(1, size // unit)


@jit
def _tiled(vector: Floats, size: int) -> Floats:
    tiled = np.empty(size, np.float32)
    for place in range(size):
        tiled[place] = vector[place % len(vector)]
    return tiled


@jit
def _copy(source: Floats, target: Floats) -> None:
    for place in range(len(target)):
        target[place] = source[place]


@jit
def _arrive(block: Floats, pool: int, width: int, channels: int, gains: Floats, scratch: Floats) -> Floats:
    """What the neurons of a block receive: the current itself, or `scratch` with the pooled and scaled one."""
    if pool == POOL_FIRST:
        _pool(block, width, channels, scratch)
    elif len(gains) > 0:
        _copy(block, scratch)
    else:
        return block
    for index in range(len(gains)):
        for place in range(len(scratch)):
            scratch[place] *= gains[index]
    return scratch


@jit
def _leave(row: Floats, gains: Floats, pool: int, width: int, channels: int, block: Floats, out: Floats) -> None:
    """The way of `_arrive` backwards: from the neurons' gradient, which is overwritten, to that of the current."""
    for index in range(len(gains) - 1, -1, -1):
        for place in range(len(row)):
            row[place] *= gains[index]
    if pool == POOL_FIRST:
        _route(block, row, width, channels, out)
    else:
        _copy(row, out)


@jit
def _advance(u: Floats, x: Floats, decay: Floats, threshold: Floats, reset: int) -> None:
    """One step of the membranes, in place: reset of those above the threshold, leak, input."""
    if reset == SUBTRACT:
        for place in range(len(u)):
            lost = threshold[place] if u[place] > threshold[place] else _NONE
            u[place] = decay[place] * u[place] + x[place] - lost
    elif reset == ZERO:
        for place in range(len(u)):
            kept = _NONE if u[place] > threshold[place] else _ONE
            u[place] = decay[place] * (kept * u[place]) + x[place]
    else:
        for place in range(len(u)):
            reached = x[place] + decay[place] * u[place]
            u[place] = reached - (reached if u[place] > threshold[place] else _NONE)


@jit
def _fire(u: Floats, threshold: Floats, spikes: Floats) -> None:
    for place in range(len(spikes)):
        spikes[place] = _ONE if u[place] > threshold[place] else _NONE


@jit
def _retreat(g: Floats, carry: Floats, before: Floats, decay: Floats, threshold: Floats, reset: int) -> None:
    """One step of the gradient, in place: `g` becomes that of the input, `carry` that of the membrane before."""
    if reset == SUBTRACT:
        for place in range(len(g)):
            g[place] += carry[place]
            carry[place] = g[place] * decay[place]
    elif reset == ZERO:
        for place in range(len(g)):
            kept = _NONE if before[place] > threshold[place] else _ONE
            g[place] += carry[place]
            carry[place] = g[place] * decay[place] * kept
    else:
        for place in range(len(g)):
            kept = _NONE if before[place] > threshold[place] else _ONE
            g[place] = (g[place] + carry[place]) * kept
            carry[place] = g[place] * decay[place]


@jit
def _learn(
    g: Floats, carry: Floats, before: Floats, threshold: Floats, decay: Floats, reset: int, sums: NDArray[np.float64]
) -> None:
    """Add to the gradients of decay and threshold, where `g` is the surrogate's part alone."""
    for place in range(len(g)):
        has_reset = before[place] > threshold[place]
        whole = g[place] + carry[place]
        kept = _NONE if has_reset and reset != SUBTRACT else _ONE
        sums[0, place] += np.float64(whole * (kept * before[place]))
        sums[1, place] -= np.float64(g[place])
        if has_reset and reset == SUBTRACT:
            sums[1, place] -= np.float64(whole)


@jit
def _chain(surrogate: int, u: Floats, threshold: Floats, knob: Floats, second: Floats, outer: Floats) -> None:
    """The outer gradient times dS/du in the place of `u`, each in the operation order of snnTorch's surrogate."""
    if surrogate == FAST_SIGMOID:
        for place in range(len(u)):
            root = knob[place] * abs(u[place] - threshold[place]) + _ONE
            u[place] = outer[place] / (root * root)
    elif surrogate == ATAN:
        for place in range(len(u)):
            root = knob[place] * (u[place] - threshold[place])
            u[place] = _ONE / (root * root + _ONE) * second[place] * outer[place]
    elif surrogate == TRIANGULAR:
        for place in range(len(u)):
            slope = outer[place] * knob[place]
            u[place] = -slope if u[place] - threshold[place] >= _NONE else slope
    elif surrogate == STRAIGHT_THROUGH:
        _copy(outer, u)
    elif surrogate == SIGMOID:
        for place in range(len(u)):
            rise = _exp(-knob[place] * (u[place] - threshold[place]))
            square = (rise + _ONE) * (rise + _ONE)
            u[place] = _NONE if np.isinf(square) else outer[place] * knob[place] * rise / square
    else:
        for place in range(len(u)):
            fall = _exp(-second[place] * abs(u[place] - threshold[place] - _ONE))
            u[place] = outer[place] * knob[place] * fall


@jit
def _exp(x: np.float32) -> np.float32:
    """e^x rounded to float32, infinite above 88.73 and 0 below -103.98: 2^n times a series, in float64."""
    bounded = min(max(np.float64(x), -103.98), 88.73)
    whole = np.floor(bounded * _LOG2_E + 0.5)
    r = bounded - whole * _LN_2
    series = 1 + r * (1 + r / 2 * (1 + r / 3 * (1 + r / 4 * (1 + r / 5 * (1 + r / 6 * (1 + r / 7 * (1 + r / 8)))))))
    power = np.float32(series * _POWERS[int(whole) + 150])
    return power if x == x else x


@jit
def _pool(block: Floats, width: int, channels: int, out: Floats) -> None:
    """Largest of 2x2 in rows of `width` places; NaN where one is, as in torch."""
    row, line = width * channels, width // 2 * channels
    for index in range(len(out) // line):
        start = 2 * index * row
        _pool_rows(
            block[start : start + row], block[start + row : start + 2 * row], channels,
            out[index * line : (index + 1) * line],
        )  # fmt: skip


@jit
def _pool_rows(upper: Floats, lower: Floats, channels: int, out: Floats) -> None:
    for column in range(len(out) // channels):
        left, o = 2 * column * channels, column * channels
        right = left + channels
        for n in range(channels):
            top = upper[left + n]
            value = upper[right + n]
            top = value if (value > top) | (value != value) else top
            value = lower[left + n]
            top = value if (value > top) | (value != value) else top
            value = lower[right + n]
            out[o + n] = value if (value > top) | (value != value) else top


@jit
def _route(block: Floats, g: Floats, width: int, channels: int, out: Floats) -> None:
    """Gradient of `_pool`: to the first largest of each 2x2 (the last NaN where one is), zero elsewhere."""
    row, line = width * channels, width // 2 * channels
    for index in range(len(g) // line):
        start = 2 * index * row
        _route_rows(
            block[start : start + row], block[start + row : start + 2 * row], channels,
            g[index * line : (index + 1) * line], out[start : start + row], out[start + row : start + 2 * row],
        )  # fmt: skip


@jit
def _route_rows(upper: Floats, lower: Floats, channels: int, g: Floats, out_upper: Floats, out_lower: Floats) -> None:
    """One row of `_route`: a loop for each of the four places, so that each has one stream to write."""
    for column in range(len(g) // channels):
        left, o = 2 * column * channels, column * channels
        right = left + channels
        for n in range(channels):
            p, q, r, s = upper[left + n], upper[right + n], lower[left + n], lower[right + n]
            loses = (q > p) | (q != q) | (r > p) | (r != r) | (s > p) | (s != s)
            out_upper[left + n] = _NONE if loses else g[o + n]
        for n in range(channels):
            p, q, r, s = upper[left + n], upper[right + n], lower[left + n], lower[right + n]
            wins, loses = (q > p) | (q != q), (r > q) | (r != r) | (s > q) | (s != s)
            out_upper[right + n] = g[o + n] if wins & (not loses) else _NONE
        for n in range(channels):
            p, q, r, s = upper[left + n], upper[right + n], lower[left + n], lower[right + n]
            wins, loses = ((r > p) & (r > q)) | (r != r), (s > r) | (s != s)
            out_lower[left + n] = g[o + n] if wins & (not loses) else _NONE
        for n in range(channels):
            p, q, r, s = upper[left + n], upper[right + n], lower[left + n], lower[right + n]
            wins = ((s > p) & (s > q) & (s > r)) | (s != s)
            out_lower[right + n] = g[o + n] if wins else _NONE
    for place in range(2 * len(g), len(upper)):
        out_upper[place] = _NONE
        out_lower[place] = _NONE


@jit
def _sum(spikes: Floats) -> int:
    total = 0
    for place in range(len(spikes)):
        total += int(spikes[place])
    return total


@jit
def _count(spikes: Floats, counts: NDArray[np.int32], image: int, step: int, seen: Floats, folded: Floats) -> None:
    """Add a block's spikes of one step to its places and to its channels.

    Places are folded in halves first: long loops, where one over the channels of each place would be short.
    """
    channels, half = counts.shape[2], len(spikes)
    for place in range(half):
        seen[place] += spikes[place]
    if half % (4 * channels) == 0:
        half //= 4
        for n in range(half):
            folded[n] = spikes[n] + spikes[half + n] + spikes[2 * half + n] + spikes[3 * half + n]
    else:
        for place in range(half):
            folded[place] = spikes[place]
    while half > 0:
        if half // channels % 2 == 1:
            half -= channels
            for channel in range(channels):
                counts[image, step, channel] += np.int32(folded[half + channel])
        half //= 2
        for place in range(half):
            folded[place] += folded[half + place]


@jit
def _unseen(
    current: Floats, image: int, start: int, steps: int, reset: int, decay: Floats, threshold: Floats, gains: Floats
) -> int:
    """Spikes of the odd last row of a map, whose neurons no pool behind them sees."""
    size, total = current.shape[2] - start, 0
    u, spikes, scratch = np.zeros(size, np.float32), np.empty(size, np.float32), np.empty(size, np.float32)
    leaks, levels = _tiled(decay, size), _tiled(threshold, size)
    for step in range(steps):
        x = _arrive(current[min(step, len(current) - 1), image, start:], NO_POOL, 0, 0, gains, scratch)
        _advance(u, x, leaks, levels, reset)
        _fire(u, levels, spikes)
        total += _sum(spikes)
    return total


@jit
def _sum_steps(rows: Floats, sums: Floats, length: int) -> Floats:
    """Sum of all rows but the first in the order of `torch.sum`: 16 at a time, and 16 of these sums at a time."""
    sums[:] = _NONE
    for step in range(1, len(rows)):
        _add(sums[0, :length], rows[step, :length])
        done, level = step, 1
        while done % _CASCADE == 0 and level < len(sums):
            _add(sums[level, :length], sums[level - 1, :length])
            sums[level - 1, :length] = _NONE
            done, level = done // _CASCADE, level + 1
    for level in range(1, len(sums)):
        _add(sums[0, :length], sums[level, :length])
    return sums[0, :length]


@jit
def _add(total: Floats, row: Floats) -> None:
    for place in range(len(total)):
        total[place] += row[place]
