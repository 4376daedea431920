"""The convolution's cycle algorithm in plain Python, as one would write it first: the peer of `make bench-hwmodel`.

Integers in lists, local variables, no numpy in the loop. `rtl_latency` and `ideal_latency` visit every (group, step,
channel); with `count_off` they leave the loop as soon as a group starts like the one before, as the kernels do.
"""

from __future__ import annotations

from collections.abc import Sequence

from hwmodel.kernels import ConvTiming

Counts = Sequence[Sequence[int]]


def rtl_latency(counts: Counts, timing: ConvTiming, *, count_off: bool) -> int:
    """Latency of one image through the published circuit."""
    visit, taps, activation, mask = 1 + 2 * timing.chunks, timing.taps, timing.activation, timing.wrap - 1
    now, idle, late, acc_start, acc_end, act_end, armed = 1, 0, False, 0, 0, 0, True
    known: tuple[int, bool, int, int, bool] | None = None
    for group in range(timing.groups):
        before = now
        for row in counts:
            for n in row:
                now += visit + 2 * n
                work = n & mask
                if work:
                    start = now + 1
                    if now < act_end:
                        start = act_end + 1 if now == act_end - 1 else 0
                    elif now < idle or (now == idle and late):
                        start = now = idle + 1
                    if start:
                        acc_start, acc_end = start, start + work * taps
                        idle, late, armed = acc_end, True, True
                    now += 1
                now += 1
            if acc_start <= now < acc_end:
                if now > acc_start and armed:
                    idle, late, armed = acc_end + activation, True, False
            elif now >= idle and armed:
                idle = act_end = now + 1 + activation
                late = armed = False
            now += 1
        now += 1
        busy = max(idle - now, 0)
        state = busy, late and busy > 0, max(acc_end - now, 0), max(act_end - now, 0), armed
        if count_off and state == known:
            return now + (timing.groups - group - 1) * (now - before) + 1
        known = state
    return now + 1


def ideal_latency(counts: Counts, timing: ConvTiming, *, count_off: bool) -> int:
    """Latency of one image through the circuit as intended."""
    visit, taps, activation = 1 + 2 * timing.chunks, timing.taps, timing.activation
    now, idle, acting = 1, 0, False
    known: tuple[int, bool] | None = None
    for group in range(timing.groups):
        before = now
        for row in counts:
            for n in row:
                now += visit + 2 * n
                if n:
                    if idle > now:
                        now = idle
                    idle = now + 1 + n * taps
                    acting = False
                    now += 1
                now += 1
            if acting and idle > now:
                now = idle
            idle = (idle if idle > now + 1 else now + 1) + activation
            acting = True
            now += 1
        now += 1
        state = max(idle - now, 0), acting
        if count_off and state == known:
            ahead = (timing.groups - group - 1) * (now - before)
            return max(now + ahead + 1, idle + ahead + timing.tail)
        known = state
    return max(now + 1, idle + timing.tail)
