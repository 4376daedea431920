"""The outcome of a sweep: accelerators that no other dominates, and what each costs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from hwmodel.accelerator import Accelerator
from hwmodel.device import PARTS
from hwmodel.errors import AcceleratorError
from hwmodel.kernels import Ints
from hwmodel.nondominated import nondominated
from hwmodel.sweepspace import built

Floats = NDArray[np.float64]
Report: TypeAlias = Literal["min_latency", "max_fps_per_watt"]


@dataclass(frozen=True, eq=False)
class HardwareFront:
    """Accelerators that no other dominates, sorted by latency; empty if none fits.

    For percentiles, causes and hazards of a point: `simulate(front.build(index), activity)`.

    Attributes:
        accelerator: The one the sweep varied.
        swept: Accelerators in the space, without those that would hang.
        limits: Most of each part that device and budget allow; 0 for a part that none occupies.
        least: Fewest of each part that an accelerator of the space needs.
        neural_cores: `(points, layers)`.
        encoder_widths: `(points, layers)`; 0 for a dense layer.
        spike_buffers: `(points, layers)`; 0 for dense and fc layers.
        latency_s: Mean latency `(points,)` [s].
        interval_s: Mean time between two images of a steady stream `(points,)` [s].
        energy_j: Mean energy of an image `(points,)` [J]; None if the device's static power is unknown.
        luts, flip_flops, bram36, uram, dsp: Occupied parts `(points,)`.
    """

    accelerator: Accelerator
    swept: int
    limits: dict[str, float]
    least: dict[str, float]
    neural_cores: Ints
    encoder_widths: Ints
    spike_buffers: Ints
    latency_s: Floats
    interval_s: Floats
    energy_j: Floats | None
    luts: Ints
    flip_flops: Ints
    bram36: Floats
    uram: Ints
    dsp: Ints

    def __len__(self) -> int:
        return len(self.latency_s)

    @property
    def fps_per_watt(self) -> Floats | None:
        """Images a second per watt `(points,)` [1/J]; None if the device's static power is unknown."""
        return None if self.energy_j is None else 1.0 / self.energy_j

    def best(self, report: Report) -> int:
        """Index of the point with the least latency or the most FPS/W.

        Ties go to the better other figure (if the energy is unknown, the shorter interval), then to the fewest LUTs,
        flip-flops, BRAM, URAM and DSPs, in this order.

        Raises:
            AcceleratorError: The front is empty (the message says what is short), or no such report.
            DeviceError: FPS/W is asked for and the device's static power is unknown.
        """
        if report not in get_args(Report):
            raise AcceleratorError(f"report {report!r} is unknown; known: {', '.join(get_args(Report))}")
        if len(self) == 0:
            raise AcceleratorError(self._shortage())
        other = self.interval_s if self.energy_j is None else self.energy_j
        figures = [self.latency_s, other]
        if report == "max_fps_per_watt":
            self.accelerator.device.static_power()
            figures.reverse()
        keys = [*figures, *(getattr(self, part) for part in PARTS)]
        return int(np.lexsort(keys[::-1])[0])

    def build(self, index: int) -> Accelerator:
        """The accelerator of a point."""
        choices = zip(self.neural_cores[index], self.encoder_widths[index], self.spike_buffers[index], strict=True)
        layers = [
            built(core, int(cores), int(width), int(buffer))
            for core, (cores, width, buffer) in zip(self.accelerator.layers, choices, strict=True)
        ]
        return replace(self.accelerator, layers=tuple(layers))

    def trade_off(self) -> Ints:
        """Indices of the points nondominated in latency and energy alone, sorted by latency.

        If the energy is unknown: in latency and, under `ping_pong`, interval.
        """
        other = self.interval_s if self.energy_j is None else self.energy_j
        indices: Ints = np.flatnonzero(nondominated(np.column_stack([ranks(self.latency_s), ranks(other)])))
        return indices

    def document(self) -> dict[str, Any]:
        """The front for JSON: what was swept, then one list a column; unknown energies are `None`."""
        accelerator = self.accelerator
        columns = ("neural_cores", "encoder_widths", "spike_buffers", "latency_s", "interval_s")
        energy, efficiency = self.energy_j, self.fps_per_watt
        return {
            "layers": [core.name for core in accelerator.layers],
            "mode": accelerator.mode,
            "schedule": accelerator.schedule,
            "device": accelerator.device.name,
            "clock_hz": accelerator.clock_hz,
            "swept": self.swept,
            "points": len(self),
            "limits": self.limits,
            "least": self.least,
            **{name: getattr(self, name).tolist() for name in columns},
            "energy_j": None if energy is None else energy.tolist(),
            "fps_per_watt": None if efficiency is None else efficiency.tolist(),
            **{part: getattr(self, part).tolist() for part in PARTS},
            "trade_off": self.trade_off().tolist(),
        }

    def _shortage(self) -> str:
        """Each layer's smallest option has the least of every part, so together they show what is short."""
        short = [
            f"{part}: at least {_plain(self.least[part])} needed, {_plain(self.limits[part])} allowed "
            f"({_plain(self.least[part] - self.limits[part])} too many)"
            for part in PARTS
            if self.least[part] > self.limits[part]
        ]
        return (
            f"none of {self.swept:,} accelerators fits device {self.accelerator.device.name} and budget: "
            f"{'; '.join(short)}; raise the budget, take a larger device or a smaller network"
        )


def ranks(values: Floats | Ints) -> Ints:
    """Whole numbers in the order of the values, equal where these are."""
    places: Ints = np.unique(values, return_inverse=True)[1].astype(np.int64)
    return places


def _plain(amount: float) -> str:
    """An amount of a part, in halves at the finest."""
    return f"{amount:,.1f}".removesuffix(".0")
