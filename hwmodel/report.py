"""A simulation as plain numbers and strings, ready for JSON."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from hwmodel.circuit import HAZARDS
from hwmodel.cores import Core, DenseCore, divisors
from hwmodel.cycles import cycles_by_cores
from hwmodel.device import PARTS, Device
from hwmodel.kernels import CAUSES
from hwmodel.resources import Resources

if TYPE_CHECKING:
    from hwmodel.simulate import Simulation


def simulation_report(simulation: Simulation) -> dict[str, Any]:
    """Latency, energy, layers, hazards and resources of a simulation.

    Shares run from 0 to 1. Where the device's static power is unknown, every energy figure is `None` and
    `energy_unknown` says why; where its size is, `resources` has `None` and `fits_unknown`. Floors are latencies with
    as many cores as help, encoders unchanged. In `tlm` mode layers work side by side (`pipelined`): their cycles are
    those in which they work, their shares add up to more than 1, and floors are `None`.
    """
    accelerator = simulation.accelerator
    layers = [_layer(simulation, index, core) for index, core in enumerate(accelerator.layers)]
    return {
        "mode": accelerator.mode,
        "schedule": accelerator.schedule,
        "pipelined": accelerator.mode == "tlm",
        "clock_hz": accelerator.clock_hz,
        "time_steps": accelerator.time_steps,
        "images": len(simulation.latency_s),
        "latency_ms": _latency(simulation),
        "floor_ms": _floor_ms(layers, accelerator.clock_hz),
        "fps": simulation.fps,
        **_energy(simulation),
        "first_layer_share": simulation.first_layer_share,
        "bottleneck": simulation.bottleneck,
        "utilisation": _utilisation(simulation),
        "hazards": simulation.hazards,
        "resources": _resources(simulation),
        "layers": layers,
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


def _floor_ms(layers: list[dict[str, Any]], clock_hz: float) -> float | None:
    """Mean latency of the network with as many cores in each layer as help [ms]."""
    floors = [layer["floor_cycles"] for layer in layers]
    return None if None in floors else sum(floors) / clock_hz * 1e3


def _floor_cycles(simulation: Simulation, index: int) -> float | None:
    """Mean cycles of a layer with the number of cores that makes them fewest; the tail grows with the cores."""
    core, mode = simulation.accelerator.layers[index], simulation.accelerator.mode
    if mode == "tlm":
        return None
    cycles = cycles_by_cores(core, simulation.activity[index], mode, divisors(core.out_channels))
    return float(cycles.mean(axis=1).min())


def _utilisation(simulation: Simulation) -> float:
    """Mean share of a core's time in which it accumulates or activates, over all cores of the accelerator.

    Its time is what an image holds the accelerator: all layers one after the other, or under `ping_pong` and in
    `tlm` mode the longest; drains included.
    """
    accelerator = simulation.accelerator
    cores = np.array([core.cores for core in accelerator.layers])
    worked = np.array([layer.worked.mean() for layer in simulation.layers])
    busy = np.stack([layer.busy for layer in simulation.layers])
    is_serial = accelerator.schedule == "sequential" and accelerator.mode != "tlm"
    held = busy.sum(axis=0) if is_serial else busy.max(axis=0)
    return float(cores @ worked / (cores.sum() * held.mean()))


def _resources(simulation: Simulation) -> dict[str, Any]:
    """What is occupied; a share is `None` where the device's figure is unknown, or 0 and something is occupied."""
    device, used = simulation.accelerator.device, simulation.resources
    shares = {part: _share(used, device, part) for part in PARTS}
    return {
        **asdict(used),
        "device": {"name": device.name, **{part: getattr(device, part) for part in PARTS}},
        "utilisation": {
            part: share if share is None or math.isfinite(share) else None for part, share in shares.items()
        },
        **_fits(shares, device),
    }


def _share(used: Resources, device: Device, part: str) -> float | None:
    is_unknown = getattr(used, part) > 0 and part in device.unknown()
    return None if is_unknown else used.share(device, part)


def _fits(shares: dict[str, float | None], device: Device) -> dict[str, Any]:
    """One part that is too small settles it, whatever is unknown of the others."""
    unknown = [part for part, share in shares.items() if share is None]
    if any(share > 1 for share in shares.values() if share is not None):
        return {"fits_device": False, "fits_unknown": None}
    if unknown:
        return {"fits_device": None, "fits_unknown": f"device {device.name} states no {', '.join(unknown)}"}
    return {"fits_device": True, "fits_unknown": None}


def _layer(simulation: Simulation, index: int, core: Core) -> dict[str, Any]:
    """One layer; a dense layer sees pixels and has no encoder, so its spikes and encoder width are `None`."""
    done = simulation.layers[index]
    cycles = float(done.cycles.mean())
    is_dense = isinstance(core, DenseCore)
    return {
        "name": core.name,
        "kind": core.kind,
        "cores": core.cores,
        "groups": core.groups(simulation.accelerator.mode),
        "encoder_width": None if isinstance(core, DenseCore) else core.penc,
        "cycles": cycles,
        "floor_cycles": _floor_cycles(simulation, index),
        "share": cycles / float(simulation.latency.mean()),
        "utilisation": float(done.worked.mean() / done.busy.mean()),
        "causes": {name: float(mean) for name, mean in zip(CAUSES, simulation.causes[index], strict=True)},
        "spikes_per_image": None if is_dense else float(simulation.activity[index].sum(axis=(1, 2)).mean()),
        "energy_uj": simulation.energy_by_cause_uj(index) if _has_energy(simulation) else None,
        "hazards": {name: int(total) for name, total in zip(HAZARDS, done.hazards.sum(axis=0), strict=True)},
        "resources": asdict(simulation.layer_resources[index]),
    }
