"""Slow twins of the kernels, written to be read: one Python statement for each thing the hardware does.

`rtl_conv` steps the two machines of the published convolution circuit cycle by cycle and decides everything
from what is visible in that cycle; the kernel jumps from event to event. They share no formula.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from hwmodel.cores import ceil_div, counter_range

Counts = Sequence[Sequence[int]]
Phase = Literal["start", "fetch", "compress", "hand_over", "step", "boundary", "group", "done", "flag", "rest", "again"]


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
    return rtl_stream([counts], record)[0]


def rtl_stream(images: Sequence[Counts], record: ConvRecord, *, pause: int = 0) -> list[Trace]:
    """Step the published circuit over images without a reset between them, a trace an image.

    Each image's start pulse comes `pause` cycles after the flag of the one before; 0 means in that very cycle.
    Activations are noted with the image during which they end, their cycles counted from the first pulse.
    """
    traces = [Trace()]
    iterator = _Iterator()
    boundaries: list[tuple[int, int, int]] = []
    compressor = _compressor(images, record, pause, iterator, traces)
    cycle, pulse, phase, spikes = 0, 0, "start", 0
    offered = 0  # spikes on offer in the previous cycle's hand-over
    t_and_g = (0, 0)
    while phase != "flag" or iterator.state != "idle":
        if phase != "flag":
            phase, spikes, t_and_g = next(compressor)
            if phase in ("flag", "rest", "again"):
                traces[-1].latency = traces[-1].latency or cycle - pulse
            if phase == "again":
                traces.append(Trace())
                phase, pulse = "start", cycle
            if phase not in ("flag", "rest"):
                traces[-1].causes[_cause(phase, iterator)] += 1
            if phase == "boundary":
                boundaries.append((cycle, *t_and_g))
        ended = _advance(iterator, phase, spikes, offered, record, traces[-1])
        if ended:
            traces[-1].idle_from = cycle + 1 - pulse
        if ended == "activate":
            traces[-1].activation_ends.append([cycle + 1])
        offered = spikes if phase == "hand_over" else 0
        cycle += 1
    for trace in traces:
        trace.activation_ends = [_file(end, boundaries) for (end,) in trace.activation_ends]
    return traces


def _compressor(
    images: Sequence[Counts], record: ConvRecord, pause: int, iterator: _Iterator, traces: list[Trace]
) -> Iterator[tuple[Phase, int, tuple[int, int]]]:
    """Machine A: the phase of each cycle, the spikes it offers, and where it is (step, group)."""
    yield "start", 0, (0, 0)
    for number, counts in enumerate(images):
        if number:
            yield from (("rest", 0, (0, 0)) for _ in range(pause))
            yield "again", 0, (0, 0)
        for g in range(record.groups):
            for t, row in enumerate(counts):
                for n in row:
                    yield "fetch", 0, (t, g)
                    for _ in range(2 * record.chunks + 2 * n):
                        yield "compress", 0, (t, g)
                    counted = n % counter_range(record.spike_buffer)
                    traces[-1].hazards["wraps"] += counted != n
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
    if phase != "hand_over":
        return "wait"
    if iterator.available:
        return "hand_over"
    return "wait" if iterator.state == "idle" else iterator.state


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
    """The convolution as intended."""
    return ideal_stream([counts], record)[0]


def ideal_stream(images: Sequence[Counts], record: ConvRecord) -> list[Trace]:
    """The convolution as intended over images, each started when the compressor has done with the one before.

    A diary of machine B, kept from image to image, says what each waiting cycle is for.
    """
    traces: list[Trace] = []
    diary: list[tuple[str, int, int]] = []  # what B does in [start, end)
    now = 0
    for counts in images:
        pulse, trace = now, Trace()
        now = _compress_all(trace, diary, now, counts, record)
        end = _await(trace, diary, now)  # the drain, beside which the next image begins
        written = diary[-1][2] + 3 * record.cores + 1
        trace.latency = _spend(trace, end, max(0, written - end), "wait") - pulse
        traces.append(trace)
    return traces


def _compress_all(trace: Trace, diary: list[tuple[str, int, int]], now: int, counts: Counts, record: ConvRecord) -> int:
    """Machine A over one image; the cycle from which it can take the next."""
    now = _spend(trace, now, 1, "wait")
    for _ in range(record.groups):
        for row in counts:
            for n in row:
                now = _spend(trace, now, 1, "fetch")
                now = _spend(trace, now, 2 * record.chunks + 2 * n, "compress")
                if n:
                    now = _await(trace, diary, now)
                    now = _spend(trace, now, 1, "hand_over")
                    diary.append(("accumulate", now, now + n * record.kernel**2))
                    trace.accumulate_cycles += n * record.kernel**2
                now = _spend(trace, now, 1, "wait")  # channel step
            if diary and diary[-1][0] == "activate":
                now = _await(trace, diary, now)
            now = _spend(trace, now, 1, "wait")  # boundary
            start = max([now, *(end for _, _, end in diary)])
            diary.append(("activate", start, start + record.out_frame))
        now = _spend(trace, now, 1, "wait")  # group boundary
    return _spend(trace, now, 1, "wait")  # done


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
