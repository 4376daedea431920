"""Compiled event control: spike counts in, cycles by cause out. The published circuit's races are in `circuit.py`.

A convolution's control unit is two machines. The compressor (A) visits each (group, step, channel): fetch
the map, find its spikes, hand them over. The iterator (B) accumulates what it was handed and activates the
output map between steps. Each layer's cycles are split into causes by what A does in a cycle; a cycle in which
A waits for B counts to what B is doing:

    fetch       read a map from the spike memory (fc: fetch and concatenate the maps)
    compress    load, search and clear the chunks of the encoder
    accumulate  fc: the accumulate phase; conv: A waits for B, and B accumulates; dense: pixels stream in
    activate    fc: the activate phase; conv: A waits for B, and B activates
    hand_over   conv: the spikes found pass from A to B
    wait        everything else: start, channel step, boundaries, done, flush, write-back

Every group of output channels meets the same spikes, so a group that starts in the state in which its
predecessor started takes exactly as long. Kernels stop there and count the remaining groups off; no
cycle is estimated.

Source: `docs/hardware-model.md`, from simulations of the public RTL. Slow twins: `reference.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwmodel._jit import jit

Counts = NDArray[np.int32]
Ints = NDArray[np.int64]

CAUSES = ("fetch", "compress", "accumulate", "activate", "hand_over", "wait")
FETCH, COMPRESS, ACCUMULATE, ACTIVATE, HAND_OVER, WAIT = 0, 1, 2, 3, 4, 5


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


class Ideal(NamedTuple):
    """Both machines between two groups.

    Attributes:
        now: A's cycle since the stream began.
        busy: Cycles from `now` until B is idle; 0 or less when it is.
        accumulating: Cycles from `now` until B's last accumulation ends; below `busy` when B has activated since.
        in_accumulate: Cycles A has waited for B to accumulate.
        in_activate: Cycles A has waited for B to activate.
        handed: Hand-overs.
        worked: Cycles in which the cores accumulated or activated.
    """

    now: int
    busy: int
    accumulating: int
    in_accumulate: int
    in_activate: int
    handed: int
    worked: int


@jit
def _ideal_group(counts: Counts, timing: ConvTiming, before: Ideal) -> Ideal:
    """One group of output channels, all steps.

    Times of B are kept relative to A: what a hand-over leaves then depends on its own spikes only, and the
    processor can work on several visits at once.
    """
    now, busy, accumulating, in_accumulate, in_activate, handed, worked = before
    for t in range(counts.shape[0]):
        for c in range(counts.shape[1]):
            n = int(counts[t, c])
            step = 1 + 2 * timing.chunks + 2 * n
            busy -= step
            accumulating -= step
            now += step + 1
            if n > 0:
                waited = max(busy, 0)
                for_sums = max(accumulating, 0)
                in_accumulate += for_sums
                in_activate += waited - for_sums
                now += waited + 1
                work = n * timing.taps
                busy = work - 1  # begins with the channel step
                accumulating = busy
                worked += work
                handed += 1
            else:
                busy -= 1
                accumulating -= 1
        if busy > accumulating and busy > 0:  # an unfinished activation holds the boundary
            for_sums = max(accumulating, 0)
            in_accumulate += for_sums
            in_activate += busy - for_sums
            now += busy
            accumulating -= busy
            busy = 0
        busy = max(busy - 1, 0) + timing.activation
        accumulating -= 1
        worked += timing.activation
        now += 1
    return Ideal(now + 1, busy - 1, accumulating - 1, in_accumulate, in_activate, handed, worked)


@jit
def _ideal_is_steady(one: Ideal, other: Ideal) -> bool:
    """Whether the machines cannot tell two group starts apart; what lies in A's past has no effect."""
    same = max(one.busy, 0) == max(other.busy, 0)
    return same and max(one.accumulating, 0) == max(other.accumulating, 0)


@jit
def _ideal_ahead(one: Ideal, other: Ideal, groups: int) -> Ideal:
    """`other` after further `groups` that each do what was done from `one` to `other`."""
    return Ideal(
        other.now + groups * (other.now - one.now),
        other.busy,
        other.accumulating,
        other.in_accumulate + groups * (other.in_accumulate - one.in_accumulate),
        other.in_activate + groups * (other.in_activate - one.in_activate),
        other.handed + groups * (other.handed - one.handed),
        other.worked + groups * (other.worked - one.worked),
    )


@jit
def _ideal_groups(counts: Counts, timing: ConvTiming, start: Ideal) -> Ideal:
    """All groups of one image."""
    before, after = start, _ideal_group(counts, timing, start)
    for done in range(1, timing.groups):
        if _ideal_is_steady(before, after):
            return _ideal_ahead(before, after, timing.groups - done)
        before, after = after, _ideal_group(counts, timing, after)
    return after


@jit
def conv_ideal(counts: Counts, timing: ConvTiming, pulse: int, registers: Ints, causes: Ints) -> tuple[int, int, int]:
    """One image through the convolution as intended.

    Args:
        counts: Spikes `(T, C)`; all zeros is legal.
        timing: The layer's constants.
        pulse: Cycle of the image's start pulse; 0 but in a stream.
        registers: `(2,)`, zeros for the first image: B's first idle cycle and the end of its last accumulation,
            carried from image to image of a stream.
        causes: `(6,)`; cycles are added by cause.

    Returns:
        Cycle from which A takes the next image; cycle in which the last output is written; cycles in
        which the cores worked.
    """
    steps, channels = counts.shape
    start = pulse + 1
    end = _ideal_groups(counts, timing, Ideal(start, registers[0] - start, registers[1] - start, 0, 0, 0, 0))
    ready, idle, accumulated = end.now + 1, end.now + end.busy, end.now + end.accumulating
    registers[0], registers[1] = idle, accumulated
    done = max(ready, idle + timing.tail)
    visits = timing.groups * steps * channels
    drained = max(accumulated - ready, 0)
    causes[FETCH] += visits
    causes[COMPRESS] += 2 * (timing.chunks * visits + timing.groups * counts.sum())
    causes[ACCUMULATE] += end.in_accumulate + drained
    causes[ACTIVATE] += end.in_activate + max(idle - ready, 0) - drained
    causes[HAND_OVER] += end.handed
    causes[WAIT] += 2 + visits + timing.groups * (steps + 1) + done - max(ready, idle)
    return ready, done, end.worked


@jit
def conv_ideal_images(counts: Counts, timing: ConvTiming, cycles: Ints, worked: Ints, causes: Ints) -> None:
    """`conv_ideal` for images `(images, T, C)` on their own; fills `(images,)` and `(images, 6)`."""
    registers = np.zeros(2, np.int64)
    for image in range(counts.shape[0]):
        registers[:] = 0
        _, cycles[image], worked[image] = conv_ideal(counts[image], timing, 0, registers, causes[image])


@jit
def conv_ideal_by_groups(counts: Counts, timing: ConvTiming, groups: Ints, ready: Ints, idle: Ints) -> None:
    """Both machines' ends for several numbers of groups at the cost of one.

    Args:
        counts: Spikes `(images, T, C)`.
        timing: The layer's constants; `groups` and `tail` do not matter.
        groups: Numbers of groups `(k,)`, ascending.
        ready: `(k, images)`, filled with A's ends.
        idle: `(k, images)`, filled with B's ends.
    """
    for image in range(counts.shape[0]):
        before = Ideal(1, -1, -1, 0, 0, 0, 0)
        after = before
        done = 0
        for k in range(groups.shape[0]):
            while done < groups[k] and not (done > 0 and _ideal_is_steady(before, after)):
                before, after = after, _ideal_group(counts[image], timing, after)
                done += 1
            end = _ideal_ahead(before, after, groups[k] - done)
            ready[k, image] = end.now + 1
            idle[k, image] = end.now + end.busy


@jit
def fc_cycles(totals: Ints, timing: FcTiming, causes: Ints) -> tuple[int, int]:
    """One image through a fully connected layer, in either mode.

    L = 4 + T*(C + 2 + 2M) + 2N + R*(1 + sum_t(max(n_t, 1) + 2)) + tail

    Args:
        totals: Spikes `(T,)` int64 of all inputs together; all zeros is legal.
        timing: The layer's constants.
        causes: `(6,)`; cycles are added by cause.

    Returns:
        Latency and the cycles of the circuit's accumulate strobe.
    """
    steps = totals.shape[0]
    work, strobes = 0, 0
    for t in range(steps):
        work += max(totals[t], 1)
        strobes += max(totals[t] - 1, 0)
    spikes = totals.sum()
    causes[FETCH] += steps * (timing.channels + 1)
    causes[COMPRESS] += 2 * (steps * timing.chunks + spikes)
    causes[ACCUMULATE] += timing.passes * work
    causes[ACTIVATE] += timing.passes * steps
    causes[WAIT] += 4 + steps + timing.passes * (steps + 1) + timing.tail
    latency = 4 + steps * (timing.channels + 2 + 2 * timing.chunks) + 2 * spikes
    latency += timing.passes * (1 + work + 2 * steps) + timing.tail
    return latency, timing.passes * strobes


@jit
def fc_images(counts: Counts, timing: FcTiming, cycles: Ints, worked: Ints, causes: Ints) -> None:
    """`fc_cycles` for counts `(images, T, C)`; fills `(images,)` and `(images, 6)`."""
    steps = counts.shape[1]
    totals = np.empty(steps, np.int64)
    for image in range(counts.shape[0]):
        for t in range(steps):
            totals[t] = 0
            for c in range(counts.shape[2]):
                totals[t] += counts[image, t, c]
        cycles[image], _ = fc_cycles(totals, timing, causes[image])
        worked[image] = timing.passes * (totals.sum() + steps)


@jit
def dense_cycles(passes: int, out_frame: int, cells: int, causes: Ints) -> int:
    """Latency of the dense first layer, whatever the image: passes*(F_out + cells + 2) + 1.

    Args:
        passes: Groups times time steps.
        out_frame: Output positions before pooling; one enters a cycle.
        cells: Multiply-accumulate cells of a row, C*K*K; the pipe is flushed through them after each pass.
        causes: `(6,)`; cycles are added by cause.
    """
    causes[ACCUMULATE] += passes * out_frame
    causes[WAIT] += passes * (cells + 2) + 1
    return passes * (out_frame + cells + 2) + 1
