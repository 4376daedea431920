"""Compiled event control: spike counts in, cycles by cause and hazards out.

A convolution's control unit is two machines. The compressor (A) visits each (group, step, channel): fetch
the map, find its spikes, hand them over. The iterator (B) accumulates what it was handed and activates the
output map between steps. `rtl` follows the published circuit with its races, `ideal` what the design
intends. Each layer's cycles are split into causes by what A does in a cycle; a cycle in which A waits for B
counts to what B is doing:

    fetch       read a map from the spike memory (fc: fetch and concatenate the maps)
    compress    load, search and clear the chunks of the encoder
    accumulate  fc: the accumulate phase; conv: A waits for B, and B accumulates; dense: pixels stream in
    activate    fc: the activate phase; conv: A waits for B, and B activates
    wait        everything else: start, hand-over, channel step, boundaries, done, flush, write-back

Source: `docs/hardware-model.md`, from simulations of the public RTL. Slow twins: `reference.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwmodel._jit import jit

Ints = NDArray[np.int64]

CAUSES = ("fetch", "compress", "accumulate", "activate", "wait")
FETCH, COMPRESS, ACCUMULATE, ACTIVATE, WAIT = 0, 1, 2, 3, 4

HAZARDS = ("wraps", "dropped", "ghost", "merged", "lost")
WRAPS, DROPPED, GHOST, MERGED, LOST = 0, 1, 2, 3, 4

# Registers of the rtl iterator: first idle cycle, whether its "available" flag is late, the last accumulation
# [start, end), the last activation entered from idle [start, end), and whether a boundary may activate.
IDLE, LATE, ACC_START, ACC_END, ACT_START, ACT_END, ARMED = 0, 1, 2, 3, 4, 5, 6


class ConvTiming(NamedTuple):
    """What the control unit of a convolution knows.

    `wrap` is the range of the spike counter (a power of two), `taps` K*K, `activation` the cycles of one
    activation, `tail` the cycles of the last write-back (used by `ideal` only).
    """

    groups: int
    chunks: int
    wrap: int
    taps: int
    activation: int
    tail: int


class FcTiming(NamedTuple):
    """What the control unit of a fully connected layer knows; `tail` as above."""

    passes: int
    channels: int
    chunks: int
    tail: int


@jit
def conv_rtl(
    counts: Ints, timing: ConvTiming, causes: Ints, hazards: Ints, bounds: Ints, ends: Ints
) -> tuple[int, int, int, int]:
    """One image through the published convolution circuit.

    Args:
        counts: Spikes `(T, C)` int64; all zeros is legal.
        timing: The layer's constants.
        causes: `(5,)`, zeros; filled with cycles by cause.
        hazards: `(5,)`; counts are added.
        bounds: `(G*T,)`; filled with the cycle of each time-step boundary.
        ends: `(G*T,)`; filled with the first idle cycle after each activation.

    Returns:
        Latency, first cycle from which the iterator stays idle, accumulate cycles (drain included),
        activations.
    """
    steps, channels = counts.shape
    iterator = np.zeros(7, np.int64)
    iterator[ARMED] = 1
    s, worked, activations = 1, 0, 0
    for g in range(timing.groups):
        for t in range(steps):
            for c in range(channels):
                n = counts[t, c]
                work = n & (timing.wrap - 1)  # n mod 2^ceil(log2 S)
                if work != n:
                    hazards[WRAPS] += 1
                tau = s + 1 + 2 * timing.chunks + 2 * n
                causes[FETCH] += 1
                causes[COMPRESS] += 2 * timing.chunks + 2 * n
                causes[WAIT] += 1
                step = tau
                if work > 0:
                    before = iterator[ACC_START]
                    step = _rtl_hand_over(iterator, tau, work * timing.taps, causes, hazards)
                    if iterator[ACC_START] != before:
                        worked += work * timing.taps
                s = step + 1
            bounds[g * steps + t] = s
            end = _rtl_boundary(iterator, s, timing.activation, hazards)
            if end > 0:
                ends[activations] = end
                activations += 1
            s += 1
        s += 1
    causes[WAIT] += 2 + timing.groups * (steps + 1)
    return s + 1, max(s + 1, iterator[IDLE]), worked, activations


@jit
def _rtl_hand_over(iterator: Ints, tau: int, work: int, causes: Ints, hazards: Ints) -> int:
    """Hand a channel over from cycle `tau` on; the cycle of the channel step."""
    causes[WAIT] += 1
    if iterator[ACT_START] <= tau < iterator[ACT_END]:  # the flag still says "available"
        if tau < iterator[ACT_END] - 1:
            hazards[DROPPED] += 1
            return tau + 1
        hazards[GHOST] += 1
        start = iterator[ACT_END] + 1
        step = tau + 1
    elif tau < iterator[IDLE] or (tau == iterator[IDLE] and iterator[LATE] == 1):
        _charge(causes, tau, iterator[ACC_END], iterator[IDLE])
        causes[WAIT] += 1  # B idle, its flag not yet visible
        start = iterator[IDLE] + 1
        step = iterator[IDLE] + 2
    else:
        start = tau + 1
        step = tau + 1
    iterator[ACC_START] = start
    iterator[ACC_END] = start + work
    iterator[IDLE] = start + work
    iterator[LATE] = 1
    iterator[ARMED] = 1
    return step


@jit
def _rtl_boundary(iterator: Ints, x: int, activation: int, hazards: Ints) -> int:
    """Ask for an activation at boundary cycle `x`; first idle cycle after it, or 0 if there is none."""
    if iterator[ACC_START] <= x < iterator[ACC_END]:
        if x == iterator[ACC_START]:
            hazards[LOST] += 1
            return 0
        if iterator[ARMED] == 0:
            hazards[MERGED] += 1
            return 0
        iterator[IDLE] = iterator[ACC_END] + activation
        iterator[LATE] = 1
    elif x >= iterator[IDLE] and iterator[ARMED] == 1:
        iterator[ACT_START] = x + 1
        iterator[ACT_END] = x + 1 + activation
        iterator[IDLE] = x + 1 + activation
        iterator[LATE] = 0
    else:
        hazards[MERGED] += 1
        return 0
    iterator[ARMED] = 0
    return int(iterator[IDLE])


@jit
def _charge(causes: Ints, since: int, accumulated: int, idle: int) -> None:
    """Split A's wait `[since, idle)` at the cycle in which B's last accumulation ended."""
    if since < accumulated:
        causes[ACCUMULATE] += accumulated - since
    if idle > max(since, accumulated):
        causes[ACTIVATE] += idle - max(since, accumulated)


@jit
def conv_ideal(counts: Ints, timing: ConvTiming, causes: Ints) -> int:
    """Latency of one image through the convolution as intended, drain and write-back included.

    Args:
        counts: Spikes `(T, C)` int64; all zeros is legal.
        timing: The layer's constants.
        causes: `(5,)`, zeros; filled with cycles by cause.
    """
    steps, channels = counts.shape
    s, idle, accumulated, acting = 1, 0, 0, False
    for _ in range(timing.groups):
        for t in range(steps):
            for c in range(channels):
                n = counts[t, c]
                tau = s + 1 + 2 * timing.chunks + 2 * n
                causes[FETCH] += 1
                causes[COMPRESS] += 2 * timing.chunks + 2 * n
                causes[WAIT] += 1
                step = tau
                if n > 0:
                    _charge(causes, tau, accumulated, idle)
                    causes[WAIT] += 1
                    step = max(tau, idle) + 1
                    accumulated = step + n * timing.taps
                    idle = accumulated
                    acting = False
                s = step + 1
            x = s
            if acting and idle > x:  # an unfinished activation holds the boundary
                _charge(causes, x, accumulated, idle)
                x = idle
            idle = max(x + 1, idle) + timing.activation
            acting = True
            s = x + 1
        s += 1
    latency = max(s + 1, idle + timing.tail)
    _charge(causes, s + 1, accumulated, idle)
    causes[WAIT] += 2 + timing.groups * (steps + 1) + latency - max(s + 1, idle)
    return latency


@jit
def conv_rtl_images(counts: Ints, timing: ConvTiming, cycles: Ints, busy: Ints, causes: Ints, hazards: Ints) -> None:
    """`conv_rtl` for counts `(images, T, C)`; fills `(images,)` and `(images, 5)` arrays."""
    bounds = np.empty(timing.groups * counts.shape[1], np.int64)
    ends = np.empty_like(bounds)
    for image in range(counts.shape[0]):
        latency, idle, _, _ = conv_rtl(counts[image], timing, causes[image], hazards[image], bounds, ends)
        cycles[image] = latency
        busy[image] = idle


@jit
def conv_ideal_images(counts: Ints, timing: ConvTiming, cycles: Ints, causes: Ints) -> None:
    """`conv_ideal` for counts `(images, T, C)`; fills `cycles` `(images,)` and `causes` `(images, 5)`."""
    for image in range(counts.shape[0]):
        cycles[image] = conv_ideal(counts[image], timing, causes[image])


@jit
def fc_cycles(totals: Ints, timing: FcTiming, causes: Ints) -> tuple[int, int]:
    """One image through a fully connected layer, in either mode.

    L = 4 + T*(C + 2 + 2M) + 2N + R*(1 + sum_t(max(n_t, 1) + 2)) + tail

    Args:
        totals: Spikes `(T,)` int64 of all inputs together; all zeros is legal.
        timing: The layer's constants.
        causes: `(5,)`, zeros; filled with cycles by cause.

    Returns:
        Latency and the cycles of the circuit's accumulate strobe.
    """
    steps = totals.shape[0]
    work, strobes = 0, 0
    for t in range(steps):
        causes[COMPRESS] += 2 * timing.chunks + 2 * totals[t]
        work += max(totals[t], 1)
        strobes += max(totals[t] - 1, 0)
    causes[FETCH] = steps * (timing.channels + 1)
    causes[ACCUMULATE] = timing.passes * work
    causes[ACTIVATE] = timing.passes * steps
    causes[WAIT] = 4 + steps + timing.passes * (steps + 1) + timing.tail
    latency = 4 + steps * (timing.channels + 2 + 2 * timing.chunks) + 2 * totals.sum()
    latency += timing.passes * (1 + work + 2 * steps) + timing.tail
    return latency, timing.passes * strobes


@jit
def fc_images(totals: Ints, timing: FcTiming, cycles: Ints, causes: Ints) -> None:
    """`fc_cycles` for totals `(images, T)`; fills `cycles` `(images,)` and `causes` `(images, 5)`."""
    for image in range(totals.shape[0]):
        latency, _ = fc_cycles(totals[image], timing, causes[image])
        cycles[image] = latency


@jit
def dense_cycles(passes: int, out_frame: int, cells: int, causes: Ints) -> int:
    """Latency of the dense first layer, whatever the image: passes*(F_out + cells + 2) + 1.

    Args:
        passes: Groups times time steps.
        out_frame: Output positions before pooling; one enters a cycle.
        cells: Multiply-accumulate cells of a row, C*K*K; the pipe is flushed through them after each pass.
        causes: `(5,)`, zeros; filled with cycles by cause.
    """
    causes[ACCUMULATE] = passes * out_frame
    causes[WAIT] = passes * (cells + 2) + 1
    return passes * (out_frame + cells + 2) + 1
