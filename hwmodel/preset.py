"""Presets: the structural rules and the per-event energies of one published design."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import PurePath

import yaml

from hwmodel.errors import AcceleratorError

PICO = 1e-12


@dataclass(frozen=True)
class EventEnergies:
    """Energy of one event at 32 bits [J], and how far each may be off (relative).

    `encoder` is stated at an address of 10 bits; `uram_weight_read` stands for `weight_read` where weights are
    kept in UltraRAM.
    """

    accumulate: float
    multiply_accumulate: float
    weight_read: float
    uram_weight_read: float
    membrane_read: float
    membrane_write: float
    encoder: float
    activation: float
    uncertainty: float


@dataclass(frozen=True)
class Preset:
    """Rules that turn a layer's geometry into the encoder, buffers and widths of its core."""

    name: str
    conv_encoder_divisor: int
    fc_encoder_width: int
    weight_bits: int
    membrane_bits: int
    pixel_bits: int
    energies: EventEnergies

    def conv_encoder(self, in_frame: int) -> int:
        """Priority-encoder width P of a convolution over maps of `in_frame` positions."""
        return max(1, in_frame // self.conv_encoder_divisor)

    def fc_encoder(self, inputs: int) -> int:
        """Priority-encoder width P of a fully connected layer, no wider than its `inputs`."""
        return min(self.fc_encoder_width, inputs)


def known_presets() -> list[str]:
    """Names `load_preset` accepts, sorted."""
    return sorted(PurePath(entry.name).stem for entry in files("hwmodel").joinpath("presets").iterdir())


@cache
def load_preset(name: str) -> Preset:
    """Read a preset.

    Raises:
        AcceleratorError: No such preset; the message lists the known ones.
    """
    if name not in known_presets():
        raise AcceleratorError(f"preset {name!r} is unknown; known: {', '.join(known_presets())}")
    text = files("hwmodel").joinpath("presets", f"{name}.yaml").read_text(encoding="utf-8")
    document = yaml.safe_load(text)
    energies = _energies(document.pop("energy_pj"), document.pop("uncertainty"))
    document.pop("source")
    return Preset(energies=energies, **document)


def _energies(picojoules: Mapping[str, float], uncertainty: float) -> EventEnergies:
    joules = {name: value * PICO for name, value in picojoules.items()}
    return EventEnergies(uncertainty=uncertainty, **joules)
