"""Sweep: the exact Pareto set of all accelerators that a network's layers can be built into.

A layer's cycles and resources depend on its own core and counts alone. So each layer is simulated once for each of
its options, and an accelerator is a sum of options. Objectives, all to be small: mean latency, mean energy of an
image (its inverse is FPS/W) and every part of the device. Equal accelerators are all kept.

Latencies are compared as cycles summed over the images, parts in halves of a BRAM36: whole numbers, nothing is
rounded. Together they are a row (cycles, parts...), and rows add.

`sequential`: the energy needs no column of its own. It is (static power + clock power of the parts) * mean latency
+ events; the events are the same for all accelerators of a space, and clock power never falls when a part grows. So
an accelerator that is nowhere worse in its row is not worse in energy, and equal rows have equal energy: dominance
is the same with and without it. Rows are filtered layer by layer. If p dominates q, then p + r dominates q + r
whatever r the remaining layers add, so q is dropped; and so is a row too large even with the smallest rest.

`ping_pong`: energy follows the interval, the mean over images of the slowest layer. That is no sum, and a partial
row says nothing about it. Every accelerator that fits is looked at, image by image, and energy is a column more.
If the device's static power is unknown, the interval stands in for it: the set then contains the one for any static
power, as energy grows with interval and parts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodel._jit import jit
from hwmodel.accelerator import Accelerator
from hwmodel.activity import check_activity
from hwmodel.cores import Core
from hwmodel.cycles import layer_cycles
from hwmodel.device import PARTS
from hwmodel.errors import AcceleratorError
from hwmodel.hardwarefront import HardwareFront, ranks
from hwmodel.kernels import Counts, Ints
from hwmodel.nondominated import nondominated
from hwmodel.power import clock_power, event_energies, layer_events
from hwmodel.resources import Resources, layer_resources
from hwmodel.sweepspace import SweepSpace, full_space, layer_cores

__all__ = ["HardwareFront", "SweepSpace", "full_space", "sweep"]

Floats = NDArray[np.float64]
Indices = NDArray[np.int32]

MAX_PING_PONG = 2_000_000
"""Most accelerators of a space under `ping_pong`, where each is looked at on its own."""

BATCH = 1 << 20
"""Rows looked at together: bounds the memory."""


def sweep(
    accelerator: Accelerator,
    activity: Sequence[Counts | Ints],
    space: SweepSpace | None = None,
    *,
    budget: Mapping[str, float] | None = None,
) -> HardwareFront:
    """The Pareto set of the accelerators that fit the device and a budget.

    In `rtl` mode options that would hang the circuit are left out. Hazards are not looked at: simulate a point.

    Args:
        accelerator: All but cores, encoders and spike buffers stays as it is.
        activity: As for `simulate`.
        space: Choices; None for `full_space(accelerator)`.
        budget: Upper limits by part (a name of `device.PARTS`); the device's totals always hold too.

    Returns:
        The front, sorted by latency; empty if nothing fits.

    Raises:
        AcceleratorError: The space or budget does not fit the accelerator, every option of a layer would hang, the
            mode is "tlm", or the space is too large for `ping_pong`.
        ActivityError: The counts do not fit the accelerator, or there is no image.
        DeviceError: How much of an occupied part the device holds is unknown.
    """
    _check_mode(accelerator)
    cores = layer_cores(accelerator, full_space(accelerator) if space is None else space)
    _check_size(accelerator, math.prod(map(len, cores)))
    counts = check_activity(accelerator, activity)
    layers = [_options(options, layer, accelerator) for options, layer in zip(cores, counts, strict=True)]
    limits = _limits(accelerator, layers, budget or {})
    sequential = accelerator.schedule == "sequential"
    chosen, rows = _combined(layers, limits, filtered=sequential)
    intervals = rows[:, 0] if sequential else _interval_sums(layers, chosen)
    energy_j = _energy(accelerator, counts, rows, intervals)
    points = np.arange(len(rows))
    if not sequential:
        stand_in = ranks(intervals if energy_j is None else energy_j)
        points = np.flatnonzero(nondominated(np.column_stack([rows, stand_in])))
    points = points[np.lexsort([*chosen[points].T[::-1], *rows[points].T[::-1]])]
    return _front(
        accelerator,
        layers,
        limits,
        chosen=chosen[points],
        rows=rows[points],
        interval_s=intervals[points] / len(counts[0]) / accelerator.clock_hz,
        energy_j=None if energy_j is None else energy_j[points],
    )


@dataclass(frozen=True, eq=False)
class _Options:
    """What one layer can be.

    Attributes:
        cores: The options.
        rows: Cycles summed over the images, then parts in halves `(options, 1 + parts)`.
        busy: Cycles until the next image `(options, images)`; no rows under `sequential`, which does not need them.
        images: Their number.
    """

    cores: list[Core]
    rows: Ints
    busy: Ints
    images: int

    @property
    def least(self) -> Ints:
        """Fewest halves of each part `(parts,)`."""
        least: Ints = self.rows[:, 1:].min(axis=0)
        return least


def _check_mode(accelerator: Accelerator) -> None:
    if accelerator.mode == "tlm":
        raise AcceleratorError(
            "mode 'tlm' cannot be swept: its layers work side by side, so their latencies do not add; "
            "use mode 'ideal' or 'rtl'"
        )


def _check_size(accelerator: Accelerator, swept: int) -> None:
    if accelerator.schedule == "ping_pong" and swept > MAX_PING_PONG:
        raise AcceleratorError(
            f"{swept:,} accelerators are too many for schedule 'ping_pong', which looks at each on its own; "
            f"leave at most {MAX_PING_PONG:,}, or use 'sequential'"
        )


def _options(cores: list[Core], counts: Counts, accelerator: Accelerator) -> _Options:
    rows = np.empty((len(cores), 1 + len(PARTS)), np.int64)
    busy = np.empty((len(cores) if accelerator.schedule == "ping_pong" else 0, len(counts)), np.int64)
    for index, core in enumerate(cores):
        cycles = layer_cycles(core, counts, accelerator.mode)
        resources = layer_resources(core, accelerator)
        rows[index, 0] = cycles.cycles.sum()
        rows[index, 1:] = [2 * getattr(resources, part) for part in PARTS]
        if len(busy):
            busy[index] = cycles.busy
    return _Options(cores, rows, busy, len(counts))


def _limits(accelerator: Accelerator, layers: list[_Options], budget: Mapping[str, float]) -> Ints:
    """Halves of each part that device and budget allow; 0 for a part that no option occupies."""
    for part, most in budget.items():
        if part not in PARTS:
            raise AcceleratorError(f"budget: part {part!r} is unknown; known: {', '.join(PARTS)}")
        if isinstance(most, bool) or not (math.isfinite(most) and most >= 0):
            raise AcceleratorError(f"budget.{part}: expected a finite number, 0 or more, got {most!r}")
    limits = np.zeros(len(PARTS), np.int64)
    for index, part in enumerate(PARTS):
        if any(options.rows[:, 1 + index].any() for options in layers):
            available = accelerator.device.available(part)
            limits[index] = math.floor(2 * min(available, budget.get(part, available)))
    return limits


def _combined(layers: list[_Options], limits: Ints, *, filtered: bool) -> tuple[Indices, Ints]:
    """Accelerators that fit, as chosen options `(points, layers)` and rows; only the nondominated if `filtered`."""
    chosen, rows = np.zeros((1, 0), np.int32), np.zeros((1, 1 + len(PARTS)), np.int64)
    for layer, options in enumerate(layers):
        room = limits - sum(later.least for later in layers[layer + 1 :])
        width = max(1, BATCH // len(options.rows))
        batches = [
            _extended(chosen[start : start + width], rows[start : start + width], options.rows, room, filtered=filtered)
            for start in range(0, max(1, len(rows)), width)
        ]
        chosen = np.concatenate([batch[0] for batch in batches])
        rows = np.concatenate([batch[1] for batch in batches])
        if filtered and len(batches) > 1:
            kept = nondominated(rows)
            chosen, rows = chosen[kept], rows[kept]
    return chosen, rows


def _extended(chosen: Indices, rows: Ints, added: Ints, room: Ints, *, filtered: bool) -> tuple[Indices, Ints]:
    """Each row with each option of the next layer, where it fits."""
    sums = (rows[:, None] + added).reshape(-1, rows.shape[1])
    kept = np.flatnonzero((sums[:, 1:] <= room).all(axis=1))
    if filtered:
        kept = kept[nondominated(sums[kept])]
    before, option = np.divmod(kept, len(added))
    return np.column_stack([chosen[before], option.astype(np.int32)]), sums[kept]


def _energy(accelerator: Accelerator, counts: tuple[Counts, ...], rows: Ints, intervals: Ints) -> Floats | None:
    """Mean energy of an image `(points,)` [J]; None if the device's static power is unknown.

    Products and sums are taken in the same order for every row, so rounding never turns a smaller row into a larger
    energy.
    """
    device, clock_hz = accelerator.device, accelerator.clock_hz
    if device.static_w is None:
        return None
    power = np.full(len(rows), float(device.static_power()))
    for halves, part in zip(rows[:, 1:].T, PARTS, strict=True):
        power += halves / 2 * clock_power(Resources(**{part: 1}), clock_hz)
    events = sum(
        float(layer_events(core, layer).mean(axis=0) @ event_energies(core, accelerator))
        for core, layer in zip(accelerator.layers, counts, strict=True)
    )
    energy: Floats = power * (intervals / len(counts[0]) / clock_hz) + events
    return energy


def _interval_sums(layers: list[_Options], chosen: Indices) -> Ints:
    """Cycles of the slowest layer, summed over the images, of each accelerator `(points,)`."""
    starts = np.cumsum([0, *(len(options.busy) for options in layers[:-1])])
    sums = np.zeros(len(chosen), np.int64)
    _sum_slowest(np.concatenate([options.busy for options in layers]), chosen + starts, sums)
    return sums


@jit
def _sum_slowest(busy: Ints, chosen: Ints, sums: Ints) -> None:
    """Sum over images of the maximum over layers of busy[chosen[point, layer], image].

    Neighbouring points share their first layers, so the maxima over these are kept.
    """
    points, layers = chosen.shape
    images = busy.shape[1]
    slowest = np.zeros((layers + 1, images), np.int64)
    for point in range(points):
        first = 0
        while point > 0 and first < layers - 1 and chosen[point, first] == chosen[point - 1, first]:
            first += 1
        for layer in range(first, layers):
            option = busy[chosen[point, layer]]
            for image in range(images):
                slowest[layer + 1, image] = max(slowest[layer, image], option[image])
        sums[point] = slowest[layers].sum()


def _front(
    accelerator: Accelerator,
    layers: list[_Options],
    limits: Ints,
    *,
    chosen: Indices,
    rows: Ints,
    interval_s: Floats,
    energy_j: Floats | None,
) -> HardwareFront:
    halves = dict(zip(PARTS, rows[:, 1:].T, strict=True))
    least = np.sum([options.least for options in layers], axis=0)
    return HardwareFront(
        accelerator=accelerator,
        swept=math.prod(len(options.cores) for options in layers),
        limits=dict(zip(PARTS, (limits / 2).tolist(), strict=True)),
        least=dict(zip(PARTS, (least / 2).tolist(), strict=True)),
        neural_cores=_choices(layers, chosen, "cores"),
        encoder_widths=_choices(layers, chosen, "penc"),
        spike_buffers=_choices(layers, chosen, "spike_buffer"),
        latency_s=rows[:, 0] / layers[0].images / accelerator.clock_hz,
        interval_s=interval_s,
        energy_j=energy_j,
        luts=halves["luts"] // 2,
        flip_flops=halves["flip_flops"] // 2,
        bram36=halves["bram36"] / 2,
        uram=halves["uram"] // 2,
        dsp=halves["dsp"] // 2,
    )


def _choices(layers: list[_Options], chosen: Indices, name: str) -> Ints:
    """One attribute of every core `(points, layers)`; 0 where the layer has none."""
    columns = [
        np.array([getattr(core, name, 0) for core in options.cores], np.int64)[chosen[:, layer]]
        for layer, options in enumerate(layers)
    ]
    return np.stack(columns, axis=1)
