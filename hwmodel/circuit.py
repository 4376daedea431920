"""The published convolution circuit with its races, compiled: one step a visit, exact to the cycle.

The compressor (A) reads a registered flag of the iterator (B) that an activation does not touch, and asks for
activations with a request that B may forget. What follows is counted as hazards:

    wraps    more spikes in a map than the spike counter holds
    dropped  a channel was handed over during an activation, and vanished
    ghost    the same in the activation's last cycle: the right number of spikes, all at address 0
    merged   a time step got no activation of its own
    lost     a request came in the first cycle of an accumulation

Source: `docs/hardware-model.md`, from simulations of the public RTL. Slow twin: `reference.rtl_conv`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodel._jit import jit
from hwmodel.kernels import ACCUMULATE, ACTIVATE, COMPRESS, FETCH, HAND_OVER, WAIT, ConvTiming, Counts, Ints

HAZARDS = ("wraps", "dropped", "ghost", "merged", "lost")
WRAPS, DROPPED, GHOST, MERGED, LOST = 0, 1, 2, 3, 4

REGISTERS = 6
"""Registers of B that outlive an image: first idle cycle, `late`, start and end of its last accumulation, end of its
last activation entered from idle, `armed`."""


class Circuit(NamedTuple):
    """Both machines between two groups.

    Attributes:
        now: A's cycle.
        busy: Cycles from `now` until B is idle; 0 or less when it is.
        late: 1 when B's flag shows one cycle later that it is.
        acc_start: Cycle in which B's last accumulation began.
        accumulating: Cycles from `now` until it ends.
        act_end: Cycle in which B's last activation that was entered from idle ends; until then the flag says
            "available".
        armed: 1 when a boundary may ask for an activation.
    """

    now: int
    busy: int
    late: int
    acc_start: int
    accumulating: int
    act_end: int
    armed: int


class Diary(NamedTuple):
    """What has happened so far: A's waits by cause, hand-overs, B's work, and the hazards."""

    in_accumulate: int
    in_activate: int
    lagged: int
    handed: int
    accumulated: int
    activations: int
    wraps: int
    dropped: int
    ghost: int
    merged: int
    lost: int


@jit
def _group(
    counts: Counts, timing: ConvTiming, at: Circuit, diary: Diary, bounds: Ints, ends: Ints
) -> tuple[Circuit, Diary]:
    """One group of output channels, all steps; fills `bounds` `(T,)` and `ends` unless they are empty.

    `busy` and `accumulating` are relative to A, for speed as in `kernels.conv_ideal`.
    """
    now, busy, late, acc_start, accumulating, act_end, armed = at
    in_accumulate, in_activate, lagged, handed, accumulated, activations, wraps, dropped, ghost, merged, lost = diary
    is_logged = bounds.shape[0] > 0
    for t in range(counts.shape[0]):
        for c in range(counts.shape[1]):
            n = int(counts[t, c])
            work = n & (timing.wrap - 1)  # n mod 2^ceil(log2 S)
            wraps += work != n
            step = 1 + 2 * timing.chunks + 2 * n
            now += step
            busy -= step
            accumulating -= step
            if work > 0:
                handed += 1
                lead = 0  # cycles from the channel step to the accumulation
                is_dropped = False
                if now < act_end:  # the flag still says "available"
                    is_dropped = now < act_end - 1
                    dropped += is_dropped
                    ghost += not is_dropped
                    lead = 1
                elif busy > 0 or (busy == 0 and late == 1):
                    for_sums = max(accumulating, 0)
                    in_accumulate += for_sums
                    in_activate += busy - for_sums
                    now += busy + 1  # B is idle for a cycle before its flag shows it
                    lagged += 1
                    lead = -1
                now += 1
                busy -= 1
                accumulating -= 1
                if not is_dropped:
                    acc_start = now + lead
                    busy = lead + work * timing.taps
                    accumulating = busy
                    late = 1
                    armed = 1
                    accumulated += work * timing.taps
            now += 1
            busy -= 1
            accumulating -= 1
        # `now` is the time-step boundary: A asks for an activation
        before = activations
        if acc_start <= now and accumulating > 0:
            if now == acc_start:
                lost += 1
            elif armed == 0:
                merged += 1
            else:
                busy = accumulating + timing.activation
                late = 1
                activations += 1
                armed = 0
        elif busy <= 0 and armed == 1:
            busy = 1 + timing.activation
            act_end = now + busy
            late = 0
            activations += 1
            armed = 0
        else:
            merged += 1
        if is_logged:
            bounds[t] = now
            if activations > before:
                ends[before] = now + busy
        now += 1
        busy -= 1
        accumulating -= 1
    return (
        Circuit(now + 1, busy - 1, late, acc_start, accumulating - 1, act_end, armed),
        Diary(
            in_accumulate, in_activate, lagged, handed, accumulated, activations, wraps, dropped, ghost, merged, lost
        ),
    )


@jit
def _is_steady(one: Circuit, other: Circuit) -> bool:
    """Whether the circuit cannot tell two group starts apart; what lies in A's past has no effect."""
    return (
        max(one.busy, 0) == max(other.busy, 0)
        and (one.busy <= 0 or one.late == other.late)
        and max(one.accumulating, 0) == max(other.accumulating, 0)
        and max(one.act_end - one.now, 0) == max(other.act_end - other.now, 0)
        and one.armed == other.armed
    )


@jit
def _ahead(diary: Diary, more: Diary, groups: int) -> Diary:
    """`more` after further `groups` that each do what was done from `diary` to `more`."""
    return Diary(
        more.in_accumulate + groups * (more.in_accumulate - diary.in_accumulate),
        more.in_activate + groups * (more.in_activate - diary.in_activate),
        more.lagged + groups * (more.lagged - diary.lagged),
        more.handed + groups * (more.handed - diary.handed),
        more.accumulated + groups * (more.accumulated - diary.accumulated),
        more.activations + groups * (more.activations - diary.activations),
        more.wraps + groups * (more.wraps - diary.wraps),
        more.dropped + groups * (more.dropped - diary.dropped),
        more.ghost + groups * (more.ghost - diary.ghost),
        more.merged + groups * (more.merged - diary.merged),
        more.lost + groups * (more.lost - diary.lost),
    )


@jit
def _later(at: Circuit, cycles: int) -> Circuit:
    """The same state, `cycles` later."""
    return Circuit(
        at.now + cycles,
        at.busy,
        at.late,
        at.acc_start + cycles,
        at.accumulating,
        at.act_end + cycles,
        at.armed,
    )


@jit
def _repeat(log: Ints, start: int, size: int, times: int, period: int) -> None:
    """Write the `size` entries before `start` again, `times` times, each `period` later than the last."""
    for i in range(start, start + times * size):
        log[i] = log[i - size] + period


@jit
def _groups(counts: Counts, timing: ConvTiming, start: Circuit, bounds: Ints, ends: Ints) -> tuple[Circuit, Diary]:
    """All groups of one image; `bounds` `(G*T,)` and `ends` are filled unless they are empty."""
    steps = counts.shape[0] if bounds.shape[0] else 0
    before, past = start, Diary(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    after, diary = _group(counts, timing, before, past, bounds[:steps], ends)
    for done in range(1, timing.groups):
        if _is_steady(before, after):
            left, period = timing.groups - done, after.now - before.now
            if steps:
                _repeat(bounds, done * steps, steps, left, period)
                _repeat(ends, diary.activations, diary.activations - past.activations, left, period)
            return _later(after, left * period), _ahead(past, diary, left)
        before, past = after, diary
        after, diary = _group(counts, timing, after, diary, bounds[done * steps : (done + 1) * steps], ends)
    return after, diary


@jit
def conv_rtl(
    counts: Counts,
    timing: ConvTiming,
    pulse: int,
    registers: Ints,
    causes: Ints,
    hazards: Ints,
    bounds: Ints,
    ends: Ints,
) -> tuple[int, int, int, int]:
    """One image through the published convolution circuit.

    Args:
        counts: Spikes `(T, C)`; all zeros is legal.
        timing: The layer's constants.
        pulse: Cycle of the image's start pulse; 0 but in a stream.
        registers: `(6,)`, as `reset` leaves them before the first image; carried from image to image of a stream.
        causes: `(6,)`; cycles are added by cause.
        hazards: `(5,)`; counts are added.
        bounds: `(G*T,)`, filled with the cycle of each time-step boundary; or empty.
        ends: `(G*T,)`, filled with the first idle cycle after each activation; or empty.

    Returns:
        Cycle of the flag; first cycle from which B stays idle, the flag's if it is before; accumulate cycles of B
        (drain included); activations.
    """
    steps, channels = counts.shape
    begin = pulse + 1
    start = Circuit(
        begin,
        registers[0] - begin,
        registers[1],
        registers[2],
        registers[3] - begin,
        registers[4],
        registers[5],
    )
    end, diary = _groups(counts, timing, start, bounds, ends)
    idle = end.now + end.busy
    registers[0], registers[1], registers[2] = idle, end.late, end.acc_start
    registers[3], registers[4], registers[5] = end.now + end.accumulating, end.act_end, end.armed
    visits = timing.groups * steps * channels
    causes[FETCH] += visits
    causes[COMPRESS] += 2 * (timing.chunks * visits + timing.groups * counts.sum())
    causes[ACCUMULATE] += diary.in_accumulate
    causes[ACTIVATE] += diary.in_activate
    causes[HAND_OVER] += diary.handed
    causes[WAIT] += 2 + visits + timing.groups * (steps + 1) + diary.lagged
    hazards[WRAPS] += diary.wraps
    hazards[DROPPED] += diary.dropped
    hazards[GHOST] += diary.ghost
    hazards[MERGED] += diary.merged
    hazards[LOST] += diary.lost
    flag = end.now + 1
    return flag, max(flag, idle), diary.accumulated, diary.activations


@jit
def reset(registers: Ints) -> None:
    """B's registers after a reset: idle, flag up, ready to activate."""
    registers[:] = 0
    registers[REGISTERS - 1] = 1


@jit
def conv_rtl_images(
    counts: Counts, timing: ConvTiming, cycles: Ints, busy: Ints, worked: Ints, causes: Ints, hazards: Ints
) -> None:
    """`conv_rtl` for images `(images, T, C)`, each after a reset; fills `(images,)` and `(images, 5 or 6)`."""
    nothing = np.empty(0, np.int64)
    registers = np.empty(REGISTERS, np.int64)
    for image in range(counts.shape[0]):
        reset(registers)
        cycles[image], busy[image], accumulated, activations = conv_rtl(
            counts[image], timing, 0, registers, causes[image], hazards[image], nothing, nothing
        )
        worked[image] = accumulated + activations * timing.activation


@jit
def conv_rtl_by_groups(counts: Counts, timing: ConvTiming, groups: Ints, flag: Ints) -> None:
    """Latency for several numbers of groups at the cost of one; as `kernels.conv_ideal_by_groups`."""
    nothing = np.empty(0, np.int64)
    zero = Diary(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    for image in range(counts.shape[0]):
        before = Circuit(1, -1, 0, 0, -1, 0, 1)
        after = before
        done = 0
        for k in range(groups.shape[0]):
            while done < groups[k] and not (done > 0 and _is_steady(before, after)):
                before = after
                after, _ = _group(counts[image], timing, before, zero, nothing, nothing)
                done += 1
            flag[k, image] = after.now + (groups[k] - done) * (after.now - before.now) + 1
