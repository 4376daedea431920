"""Hardware searched with the training: every trial sweeps accelerators under its trained network and reports the best.

The sweep is exact and knows nothing of chance: the same activity gives the same accelerator.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from hwmodel.device import PARTS
from hwmodel.errors import AcceleratorError
from hwmodel.hardwarefront import HardwareFront
from hwmodel.kernels import Counts, Ints
from hwmodel.sweep import sweep
from objectives.acceleratorspec import ChosenAccelerator
from objectives.errors import CheckpointError
from objectives.hardware import accelerator_of, least_choice, searched_space
from objectives.spec import Study

_KEY = "spikefront"
_UJ_PER_J = 1e6
_MS_PER_S = 1e3


@dataclass(frozen=True)
class Found:
    """What a trial found.

    Attributes:
        chosen: The best accelerator of the front; the one that occupies least, where the front is empty.
        front: Every accelerator worth building within device and budget.
        shortage: Why the front is empty; empty text where it is not.
        report: What the best was chosen by.
    """

    chosen: ChosenAccelerator
    front: HardwareFront
    shortage: str
    report: str

    def details(self) -> dict[str, Any]:
        """For a trial's details, JSON-ready: what was chosen, the trade of latency for energy, and what was swept."""
        return {
            "accelerator_chosen": self.chosen.model_dump(mode="json"),
            "hardware_front": _points(self.front, self.front.trade_off()),
            "hardware_search": {
                "report": self.report,
                "accelerators": self.front.swept,
                "front": len(self.front),
                "limits": self.front.limits,
                "shortage": self.shortage or None,
            },
        }


def search_accelerators(study: Study, activity: Sequence[Counts | Ints]) -> Found:
    """Sweep a study's accelerators under one network's activity, and choose.

    Args:
        study: The trial's settings, with a search of accelerators.
        activity: For each layer the spikes at its input `(images, T, channels)`.

    Raises:
        AcceleratorError: The search does not fit the network.
        DeviceError: The device lacks a figure that the choice needs.
        ActivityError: The counts do not fit the network.
    """
    hardware, space = study.accelerator, searched_space(study)
    limits = hardware.budget.limits() if hardware.budget else None
    front = sweep(accelerator_of(study), activity, space, budget=limits)
    try:
        chosen, shortage = _choice(front, front.best(hardware.report)), ""
    except AcceleratorError as error:
        if len(front):
            raise
        chosen, shortage = least_choice(space), str(error)
    return Found(chosen, front, shortage, hardware.report)


def dump(front: HardwareFront) -> bytes:
    """A whole hardware front as safetensors: an array for each column, the layers' names beside them."""
    names = ["neural_cores", "encoder_widths", "latency_s", "interval_s", *PARTS]
    arrays = {name: np.ascontiguousarray(getattr(front, name)) for name in names}
    if front.energy_j is not None:
        arrays["energy_j"] = front.energy_j
    facts = {"layers": [core.name for core in front.accelerator.layers], "limits": front.limits, "swept": front.swept}
    return safetensors.numpy.save(arrays, metadata={_KEY: json.dumps(facts)})


def rows(data: bytes) -> list[dict[str, Any]]:
    """The accelerators of a dumped front, one a row, the fastest first; energies are left out where unknown.

    Raises:
        CheckpointError: The bytes are no hardware front.
    """
    try:
        arrays = safetensors.numpy.load(data)
        length = int.from_bytes(data[:8], "little")
        layers = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_KEY])["layers"]
        return [_row(arrays, layers, index) for index in range(len(arrays["latency_s"]))]
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"not a whole hardware front ({error}); use another copy") from error


def _choice(front: HardwareFront, index: int) -> ChosenAccelerator:
    widths = front.encoder_widths[index].tolist()
    return ChosenAccelerator(
        neural_cores=tuple(front.neural_cores[index].tolist()),
        encoder_widths=tuple(width or None for width in widths),
    )


def _points(front: HardwareFront, indices: Ints) -> list[dict[str, Any]]:
    return [
        {
            **_choice(front, index).model_dump(mode="json"),
            **_figures(front.latency_s[index], None if front.energy_j is None else front.energy_j[index]),
            **{part: getattr(front, part)[index].item() for part in PARTS},
        }
        for index in indices.tolist()
    ]


def _figures(latency_s: float, energy_j: float | None) -> dict[str, float]:
    """Latency; FPS/W and energy where the device's static power is known (unknown is never 0)."""
    figures = {"latency_ms": float(latency_s) * _MS_PER_S}
    if energy_j is not None:
        figures |= {"fps_per_watt": 1 / float(energy_j), "energy_uj": float(energy_j) * _UJ_PER_J}
    return figures


def _row(arrays: dict[str, NDArray[Any]], layers: Sequence[str], index: int) -> dict[str, Any]:
    named = {"cores": "neural_cores", "encoder": "encoder_widths"}
    choices = {
        f"{word} {layer}": int(arrays[name][index, place])
        for word, name in named.items()
        for place, layer in enumerate(layers)
        if word == "cores" or arrays[name][index, place]
    }
    energy = arrays["energy_j"][index] if "energy_j" in arrays else None
    return {
        **_figures(arrays["latency_s"][index], energy),
        **choices,
        **{part: arrays[part][index].item() for part in PARTS},
    }
