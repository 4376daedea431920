"""A simulation as plain numbers and strings, ready for JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from hwmodel.accelerator import Core, DenseCore
from hwmodel.kernels import CAUSES, HAZARDS

if TYPE_CHECKING:
    from hwmodel.simulate import Simulation


def simulation_report(simulation: Simulation) -> dict[str, Any]:
    """Latency, energy, layers, hazards and resources of a simulation.

    Where the device's static power is unknown, every energy figure is `None` and `energy_unknown` says why.
    """
    accelerator = simulation.accelerator
    return {
        "mode": accelerator.mode,
        "schedule": accelerator.schedule,
        "clock_hz": accelerator.clock_hz,
        "time_steps": accelerator.time_steps,
        "images": len(simulation.latency_s),
        "latency_ms": _latency(simulation),
        "fps": simulation.fps,
        **_energy(simulation),
        "first_layer_share": simulation.first_layer_share,
        "bottleneck": simulation.bottleneck,
        "hazards": simulation.hazards,
        "resources": _resources(simulation),
        "layers": [_layer(simulation, index, core) for index, core in enumerate(accelerator.layers)],
    }


def _latency(simulation: Simulation) -> dict[str, float]:
    p50, p95 = np.percentile(simulation.latency_s, [50, 95]) * 1e3
    return {
        "mean": simulation.latency_ms,
        "p50": float(p50),
        "p95": float(p95),
        "max": float(simulation.latency_s.max()) * 1e3,
    }


def _has_energy(simulation: Simulation) -> bool:
    return simulation.accelerator.device.static_w is not None


def _energy(simulation: Simulation) -> dict[str, Any]:
    if not _has_energy(simulation):
        unknown = f"static power of device {simulation.accelerator.device.name} is unknown"
        return {
            "fps_per_watt": None,
            "interval": None,
            "energy_uj": None,
            "power_w": None,
            "energy_unknown": unknown,
        }
    energy_uj = float(simulation.energy_j.mean()) * 1e6
    uncertainty = simulation.accelerator.energies.uncertainty
    return {
        "fps_per_watt": simulation.fps_per_watt,
        "interval": {
            "low": simulation.fps_per_watt / (1 + uncertainty),
            "high": simulation.fps_per_watt / (1 - uncertainty),
        },
        "energy_uj": energy_uj,
        "power_w": simulation.power_w,
        "energy_unknown": None,
    }


def _resources(simulation: Simulation) -> dict[str, Any]:
    device = simulation.accelerator.device
    used = simulation.resources
    return {
        **asdict(used),
        "device": {
            "name": device.name,
            "luts": device.luts,
            "flip_flops": device.flip_flops,
            "bram36": device.bram36,
            "uram": device.uram,
            "dsp": device.dsp,
        },
        "utilisation": used.utilisation(device),
        "fits_device": simulation.fits_device,
    }


def _layer(simulation: Simulation, index: int, core: Core) -> dict[str, Any]:
    """One layer; a dense layer sees pixels, so its spikes are `None`."""
    cycles = float(simulation.cycles[:, index].mean())
    hazards = simulation.layers[index].hazards.sum(axis=0)
    dense = isinstance(core, DenseCore)
    return {
        "name": core.name,
        "kind": core.kind,
        "cores": core.cores,
        "cycles": cycles,
        "share": cycles / float(simulation.cycles.sum(axis=1).mean()),
        "causes": {name: float(mean) for name, mean in zip(CAUSES, simulation.causes[index], strict=True)},
        "spikes_per_image": None if dense else float(simulation.activity[index].sum(axis=(1, 2)).mean()),
        "energy_uj": simulation.energy_by_cause_uj(index) if _has_energy(simulation) else None,
        "hazards": {name: int(total) for name, total in zip(HAZARDS, hazards, strict=True)},
        "resources": asdict(simulation.layer_resources[index]),
    }
