"""Front door: an accelerator and spike counts in; cycles, seconds, joules and resources out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwmodel.accelerator import Accelerator
from hwmodel.activity import check_activity
from hwmodel.circuit import HAZARDS
from hwmodel.cycles import LayerCycles, network_cycles
from hwmodel.kernels import Counts, Ints
from hwmodel.power import ENERGY_CAUSES, layer_energy
from hwmodel.report import simulation_report
from hwmodel.resources import Resources, layer_resources, total_resources
from hwmodel.table import report_table

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Floats = NDArray[np.float64]


def simulate(accelerator: Accelerator, activity: Sequence[Counts | Ints]) -> Simulation:
    """Simulate a set of images.

    Args:
        accelerator: The network as built.
        activity: For each layer the spikes at its input `(images, T, channels)` of any integer type, pooled maps
            counted after pooling; all zeros is legal. A dense first layer's entry may have no channels.

    Raises:
        ActivityError: The counts do not fit the accelerator, or there is no image.
    """
    counts = check_activity(accelerator, activity)
    layers, latency = network_cycles(accelerator.layers, counts, accelerator.mode)
    return Simulation(accelerator=accelerator, activity=counts, layers=layers, latency=latency)


@dataclass(frozen=True, eq=False)
class Simulation:
    """What the accelerator did with a set of images.

    Attributes:
        accelerator: As passed in.
        activity: Checked counts, an entry a layer.
        layers: Cycles, causes and hazards of each layer.
        latency: Cycles from an image's start to its result `(images,)`.
    """

    accelerator: Accelerator
    activity: tuple[Counts, ...]
    layers: tuple[LayerCycles, ...]
    latency: Ints

    @cached_property
    def cycles(self) -> Ints:
        """Cycles of each layer `(images, layers)`; they add up to the latency but in `tlm` mode."""
        return np.stack([layer.cycles for layer in self.layers], axis=1)

    @cached_property
    def causes(self) -> Floats:
        """Mean cycles by cause `(layers, 6)`, in the order of `kernels.CAUSES`; rows sum to the mean."""
        return np.stack([layer.causes.mean(axis=0) for layer in self.layers])

    @cached_property
    def latency_s(self) -> Floats:
        """Time from an image's start to its result `(images,)` [s]."""
        latency: Floats = self.latency / self.accelerator.clock_hz
        return latency

    @property
    def latency_ms(self) -> float:
        """Mean latency [ms]."""
        return float(self.latency_s.mean()) * 1e3

    @cached_property
    def interval_s(self) -> Floats:
        """Time between two images like this one in a steady stream `(images,)` [s].

        `sequential`: the latency. `ping_pong`: the slowest layer, its drain included.
        """
        if self.accelerator.schedule == "sequential":
            return self.latency_s
        busy = np.stack([layer.busy for layer in self.layers], axis=1)
        interval: Floats = busy.max(axis=1) / self.accelerator.clock_hz
        return interval

    @property
    def fps(self) -> float:
        """Images a second in a steady stream of these images."""
        return 1.0 / float(self.interval_s.mean())

    @cached_property
    def layer_energy_j(self) -> Floats:
        """Energy by layer and cause `(images, layers, 8)` [J], in the order of `power.ENERGY_CAUSES`.

        Raises:
            DeviceError: The device's static power is unknown.
        """
        share = self.cycles / self.cycles.sum(axis=1, keepdims=True)
        parts = [
            layer_energy(
                core,
                counts,
                self.accelerator,
                resources=occupied,
                interval_s=self.interval_s,
                share=share[:, index],
            )
            for index, (core, counts, occupied) in enumerate(
                zip(self.accelerator.layers, self.activity, self.layer_resources, strict=True)
            )
        ]
        return np.stack(parts, axis=1)

    @cached_property
    def energy_j(self) -> Floats:
        """Energy of each image `(images,)` [J].

        Raises:
            DeviceError: The device's static power is unknown.
        """
        energy: Floats = self.layer_energy_j.sum(axis=(1, 2))
        return energy

    @property
    def fps_per_watt(self) -> float:
        """Images a second per watt: 1 / mean energy of an image [1/J].

        Raises:
            DeviceError: The device's static power is unknown.
        """
        return 1.0 / float(self.energy_j.mean())

    @property
    def power_w(self) -> float:
        """Mean power in a steady stream of these images [W].

        Raises:
            DeviceError: The device's static power is unknown.
        """
        return float(self.energy_j.mean()) * self.fps

    @cached_property
    def hazards(self) -> dict[str, int]:
        """Events of the published circuit's races and counter wraps, over all layers and images."""
        totals = np.sum([layer.hazards.sum(axis=0) for layer in self.layers], axis=0)
        return {name: int(total) for name, total in zip(HAZARDS, totals, strict=True)}

    @cached_property
    def layer_resources(self) -> tuple[Resources, ...]:
        """What each layer occupies."""
        return tuple(layer_resources(core, self.accelerator) for core in self.accelerator.layers)

    @property
    def resources(self) -> Resources:
        """What the accelerator occupies."""
        return total_resources(self.layer_resources)

    @property
    def fits_device(self) -> bool:
        """Whether the device holds the accelerator."""
        return self.resources.fits(self.accelerator.device)

    @property
    def first_layer_share(self) -> float:
        """The first layer's part of the mean latency, 0 to 1; in `tlm` mode others work at the same time."""
        return float(self.cycles[:, 0].mean() / self.latency.mean())

    @property
    def bottleneck(self) -> str:
        """Name of the layer with the most mean cycles; the first of equals."""
        return self.accelerator.layers[int(self.cycles.mean(axis=0).argmax())].name

    def energy_by_cause_uj(self, layer: int) -> dict[str, float]:
        """Mean energy of one layer by cause [uJ].

        Raises:
            DeviceError: The device's static power is unknown.
        """
        means = self.layer_energy_j[:, layer].mean(axis=0) * 1e6
        return {name: float(mean) for name, mean in zip(ENERGY_CAUSES, means, strict=True)}

    def report(self) -> dict[str, Any]:
        """Everything above as plain numbers and strings for JSON; unknown energies are `None`, never 0."""
        return simulation_report(self)

    def table(self) -> str:
        """The report for people, at most 120 columns wide."""
        return report_table(self.report())

    def figure(self) -> Figure:
        """The report as a plotly figure: latency and energy by cause and layer."""
        from hwmodel.figures import breakdown_figure  # plotly takes a while to import

        return breakdown_figure(self.report())
