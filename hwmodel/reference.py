"""Slow twins of the kernels, written to be read: one Python statement for each thing the hardware does.

`rtl_conv` steps the two machines of the published convolution circuit cycle by cycle and decides everything
from what is visible in that cycle; the kernel jumps from event to event. They share no formula.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from hwmodel.accelerator import ceil_div, counter_range

Counts = Sequence[Sequence[int]]
Phase = Literal["start", "fetch", "compress", "hand_over", "step", "boundary", "group", "done", "flag"]


@dataclass
class Trace:
    """What a twin saw; `activation_ends` holds `[cycle, step, group]` of each activation."""

    latency: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    hazards: Counter[str] = field(default_factory=Counter)
    accumulate_cycles: int = 0
    activation_ends: list[list[int]] = field(default_factory=list)
    idle_from: int = 0


@dataclass(frozen=True)
class ConvRecord:
    """A convolution's constants, as the hardware's parameters."""

    groups: int
    chunks: int
    spike_buffer: int
    kernel: int
    out_frame: int
    cores: int = 1


@dataclass
class _Iterator:
    """Machine B: idle, accumulating or activating, plus the registers the compressor sees."""

    state: Literal["idle", "accumulate", "activate"] = "idle"
    left: int = 0
    age: int = 0
    available: bool = True
    armed: bool = True
    held: bool = False


def rtl_conv(counts: Counts, record: ConvRecord) -> Trace:
    """Step the published circuit over one image `counts[t][c]`, until both machines have stopped."""
    trace = Trace()
    iterator = _Iterator()
    boundaries: list[tuple[int, int, int]] = []
    compressor = _compressor(counts, record, iterator, trace)
    cycle, phase, spikes = 0, "start", 0
    offered = 0  # spikes on offer in the previous cycle's hand-over
    finished = False
    t_and_g = (0, 0)
    while not finished or iterator.state != "idle":
        if not finished:
            phase, spikes, t_and_g = next(compressor)
            finished = phase == "flag"
            if finished:
                trace.latency = cycle
            else:
                trace.causes[_cause(phase, iterator)] += 1
        if phase == "boundary" and not finished:
            boundaries.append((cycle, *t_and_g))
        ended = _advance(iterator, phase, spikes, offered, record, trace)
        if ended:
            trace.idle_from = cycle + 1
        if ended == "activate":
            trace.activation_ends.append([cycle + 1])
        offered = spikes if phase == "hand_over" else 0
        cycle += 1
    trace.activation_ends = [_file(end, boundaries) for (end,) in trace.activation_ends]
    return trace


def _compressor(
    counts: Counts, record: ConvRecord, iterator: _Iterator, trace: Trace
) -> Iterator[tuple[Phase, int, tuple[int, int]]]:
    """Machine A: the phase of each cycle, the spikes it offers, and where it is (step, group)."""
    yield "start", 0, (0, 0)
    for g in range(record.groups):
        for t, row in enumerate(counts):
            for n in row:
                yield "fetch", 0, (t, g)
                for _ in range(2 * record.chunks + 2 * n):
                    yield "compress", 0, (t, g)
                counted = n % counter_range(record.spike_buffer)
                trace.hazards["wraps"] += counted != n
                waiting = counted > 0
                while waiting:
                    waiting = not iterator.available  # as visible in the cycle now starting
                    yield "hand_over", counted, (t, g)
                yield "step", 0, (t, g)
            yield "boundary", 0, (t, g)
        yield "group", 0, (0, g)
    yield "done", 0, (0, 0)
    yield "flag", 0, (0, 0)


def _cause(phase: str, iterator: _Iterator) -> str:
    if phase in ("fetch", "compress"):
        return phase
    if phase == "hand_over" and not iterator.available and iterator.state != "idle":
        return iterator.state
    return "wait"


def _advance(iterator: _Iterator, phase: str, spikes: int, offered: int, record: ConvRecord, trace: Trace) -> str:
    """One cycle of machine B; the state that ends with this cycle in idleness, or an empty string."""
    if phase == "boundary":
        _request(iterator, trace)
    if phase == "hand_over" and iterator.state == "activate" and iterator.available:
        trace.hazards["ghost" if iterator.left == 1 else "dropped"] += 1
    if iterator.state == "idle":
        _leave_idle(iterator, spikes or offered, record)
        iterator.available = True
        return ""
    if iterator.state == "accumulate":
        trace.accumulate_cycles += 1
        iterator.available = False
    iterator.age += 1
    iterator.left -= 1
    return _leave_busy(iterator, record) if iterator.left == 0 else ""


def _request(iterator: _Iterator, trace: Trace) -> None:
    """A time-step boundary asks for an activation."""
    if iterator.state == "accumulate" and iterator.age == 0:
        trace.hazards["lost"] += 1
    elif iterator.state == "activate" or not iterator.armed:
        trace.hazards["merged"] += 1
    else:
        iterator.held = True
        iterator.armed = False


def _leave_idle(iterator: _Iterator, spikes: int, record: ConvRecord) -> None:
    if spikes:
        iterator.state = "accumulate"
        iterator.left = spikes * record.kernel * record.kernel
        iterator.age = 0
        iterator.armed = True
    elif iterator.held:
        _activate(iterator, record)


def _leave_busy(iterator: _Iterator, record: ConvRecord) -> str:
    ended = iterator.state
    if iterator.held:
        _activate(iterator, record)
        return ""
    iterator.state = "idle"
    return ended


def _activate(iterator: _Iterator, record: ConvRecord) -> None:
    iterator.state = "activate"
    iterator.left = max(record.out_frame - 1, 1)
    iterator.held = False


def _file(end: int, boundaries: list[tuple[int, int, int]]) -> list[int]:
    """Spikes go to the step of the last boundary before the end, the group of the last boundary up to it."""
    step = [t for cycle, t, _ in boundaries if cycle <= end - 1][-1]
    group = [g for cycle, _, g in boundaries if cycle <= end][-1]
    return [end, step, group]


def ideal_conv(counts: Counts, record: ConvRecord) -> Trace:
    """The convolution as intended, with a diary of machine B from which each waiting cycle is looked up."""
    trace = Trace()
    diary: list[tuple[str, int, int]] = []  # what B does in [start, end)
    now = 0
    now = _spend(trace, now, 1, "wait")
    for _ in range(record.groups):
        for row in counts:
            for n in row:
                now = _spend(trace, now, 1, "fetch")
                now = _spend(trace, now, 2 * record.chunks + 2 * n, "compress")
                if n:
                    now = _await(trace, diary, now)
                    now = _spend(trace, now, 1, "wait")  # hand-over
                    diary.append(("accumulate", now, now + n * record.kernel**2))
                now = _spend(trace, now, 1, "wait")  # channel step
            if diary and diary[-1][0] == "activate":
                now = _await(trace, diary, now)
            now = _spend(trace, now, 1, "wait")  # boundary
            start = max([now, *(end for _, _, end in diary)])
            diary.append(("activate", start, start + record.out_frame))
        now = _spend(trace, now, 1, "wait")  # group boundary
    now = _spend(trace, now, 1, "wait")  # done
    now = _await(trace, diary, now)
    written = diary[-1][2] + 3 * record.cores + 1
    trace.latency = _spend(trace, now, max(0, written - now), "wait")
    return trace


def _spend(trace: Trace, now: int, cycles: int, cause: str) -> int:
    trace.causes[cause] += cycles
    return now + cycles


def _await(trace: Trace, diary: list[tuple[str, int, int]], now: int) -> int:
    """Let cycles pass until B has nothing left to do."""
    while diary and now < diary[-1][2]:
        trace.causes[next(what for what, start, end in diary if start <= now < end)] += 1
        now += 1
    return now


def fc(totals: Sequence[int], *, passes: int, channels: int, chunks: int, tail: int) -> Trace:
    """A fully connected layer, phase by phase; `totals[t]` are the spikes of all inputs together."""
    trace = Trace()
    causes = trace.causes
    causes["wait"] += 4  # start, change of phase, done, flag
    for n in totals:
        causes["fetch"] += channels + 1
        causes["compress"] += 2 * chunks + 2 * n
        causes["wait"] += 1  # boundary
    for _ in range(passes):
        for n in totals:
            causes["accumulate"] += n if n else 1
            causes["activate"] += 1
            causes["wait"] += 1  # boundary
            trace.accumulate_cycles += n - 1 if n else 0
        causes["wait"] += 1  # group
    causes["wait"] += tail
    trace.latency = causes.total()
    return trace


def dense(*, out_channels: int, rows: int, time_steps: int, out_frame: int, cells: int, mode: str) -> Trace:
    """The dense first layer; `activation_ends` holds `[cycle, step, group]` of each ready pulse."""
    trace = Trace()
    now = _spend(trace, 0, 1, "wait")
    groups = ceil_div(out_channels, rows) if mode == "ideal" else out_channels // rows
    for g in range(groups):
        for t in range(time_steps):
            now = _spend(trace, now, out_frame, "accumulate")
            now = _spend(trace, now, 1, "wait")  # last pixel registered
            now = _spend(trace, now, cells + 1, "wait")  # flush
            trace.activation_ends.append([now, t, g])
    trace.latency = now
    return trace
