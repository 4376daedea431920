"""Accelerators: a network's geometry plus the choices of its builder, checked and frozen.

A `LayerShape` is what the network says, a core is what is built for it. All frames are numbers of
positions (width times height), never widths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from hwmodel.cores import ConvCore, Core, DenseCore, FcCore, LayerShape, Mode, Schedule
from hwmodel.device import Device, load_device
from hwmodel.errors import AcceleratorError
from hwmodel.limits import check_cores, check_encoder, check_rtl, check_shapes, check_tlm, is_positive
from hwmodel.preset import EventEnergies, Preset, load_preset

__all__ = ["Accelerator", "LayerShape", "build_accelerator"]

WeightMemory: TypeAlias = Literal["bram", "uram"]


@dataclass(frozen=True)
class Accelerator:
    """A network's layers as built, on one device at one clock.

    Attributes:
        layers: One core a weighted layer, in order.
        time_steps: Steps T of one image.
        clock_hz: Clock frequency [Hz].
        mode: "ideal" (what the design intends), "rtl" (the published circuit with its defects) or "tlm" (the
            authors' SystemC model: three fully connected layers, pipelined over time steps).
        schedule: "sequential" (one layer at a time, as published) or "ping_pong" (our extension: one image
            a layer).
        device: The FPGA.
        energies: Energy of each event at 32 bits.
        weight_bits, membrane_bits, pixel_bits: Stored widths.
        weight_memory: Where weights are kept: "bram", or "uram" on a device that has it.
    """

    layers: tuple[Core, ...]
    time_steps: int
    clock_hz: float
    mode: Mode
    schedule: Schedule
    device: Device
    energies: EventEnergies
    weight_bits: int = 32
    membrane_bits: int = 32
    pixel_bits: int = 8
    weight_memory: WeightMemory = "bram"

    def __post_init__(self) -> None:
        _check_settings(self)
        for core in self.layers:
            check_encoder(core)
            if self.mode == "rtl":
                check_rtl(core)
        if self.mode == "tlm":
            check_tlm(self.layers)


def build_accelerator(
    shapes: Sequence[LayerShape],
    neural_cores: Sequence[int],
    *,
    dense_first: bool,
    time_steps: int,
    clock_hz: float = 100e6,
    mode: Mode = "ideal",
    schedule: Schedule = "sequential",
    device: str | Path = "xcku115",
    preset: str = "event-driven-2023",
    encoder_widths: Sequence[int | None] | None = None,
) -> Accelerator:
    """Build the accelerator of a network.

    Args:
        shapes: The network's weighted layers, in order.
        neural_cores: Cores a layer, in the same order; each divides its layer's width.
        dense_first: True for direct coding (the first layer sees the image), False for spikes from the start.
        time_steps: Steps T of one image.
        clock_hz: Clock frequency [Hz].
        mode: "ideal", "rtl" or "tlm".
        schedule: "sequential" or "ping_pong".
        device: Name of a device, or the path of a device file.
        preset: Name of a preset.
        encoder_widths: Positions the priority encoder of each layer searches at once, instead of the preset's;
            None for a layer keeps the preset's. A dense first layer has no encoder.

    Raises:
        AcceleratorError: Cores do not divide, layers do not chain, an encoder is wider than its map, or the
            circuit would hang in `rtl` mode.
        DeviceError: The device is unknown.
    """
    check_shapes(shapes)
    check_cores(shapes, neural_cores)
    if dense_first and shapes[0].kind == "fc":
        raise AcceleratorError(
            f"{shapes[0].name}: direct coding needs a convolution as first layer; use rate coding with this network"
        )
    rules = load_preset(preset)
    encoders = list(encoder_widths) if encoder_widths is not None else [None] * len(shapes)
    _check_encoders(shapes, encoders, dense_first=dense_first)
    return Accelerator(
        layers=_cores(shapes, neural_cores, encoders, rules, dense_first=dense_first),
        time_steps=time_steps,
        clock_hz=clock_hz,
        mode=mode,
        schedule=schedule,
        device=load_device(device),
        energies=rules.energies,
        weight_bits=rules.weight_bits,
        membrane_bits=rules.membrane_bits,
        pixel_bits=rules.pixel_bits,
    )


def _cores(
    shapes: Sequence[LayerShape],
    neural_cores: Sequence[int],
    encoders: Sequence[int | None],
    rules: Preset,
    *,
    dense_first: bool,
) -> tuple[Core, ...]:
    cores = [
        _event_core(shape, count, encoder, rules)
        for shape, count, encoder in zip(shapes, neural_cores, encoders, strict=True)
    ]
    if not dense_first:
        return tuple(cores)
    first = shapes[0]
    dense = DenseCore(
        name=first.name,
        cores=neural_cores[0],
        in_channels=first.in_channels,
        in_frame=first.in_frame,
        out_channels=first.out_channels,
        out_frame=first.out_frame,
        kernel=first.kernel,
    )
    return (dense, *cores[1:])


def _event_core(shape: LayerShape, cores: int, encoder: int | None, rules: Preset) -> Core:
    if shape.kind == "fc":
        return FcCore(
            name=shape.name,
            cores=cores,
            in_channels=shape.in_channels,
            in_frame=shape.in_frame,
            out_channels=shape.out_channels,
            penc=rules.fc_encoder(shape.in_channels * shape.in_frame) if encoder is None else encoder,
        )
    return ConvCore(
        name=shape.name,
        cores=cores,
        in_channels=shape.in_channels,
        in_frame=shape.in_frame,
        out_channels=shape.out_channels,
        out_frame=shape.out_frame,
        kernel=shape.kernel,
        penc=rules.conv_encoder(shape.in_frame) if encoder is None else encoder,
        spike_buffer=shape.in_frame,
    )


def _check_encoders(shapes: Sequence[LayerShape], encoders: Sequence[int | None], *, dense_first: bool) -> None:
    if len(encoders) != len(shapes):
        names = ", ".join(shape.name for shape in shapes)
        raise AcceleratorError(f"encoder_widths has {len(encoders)} entries; expected {len(shapes)}: {names}")
    if dense_first and encoders[0] is not None:
        raise AcceleratorError(
            f"encoder_widths.0 = {encoders[0]!r}: {shapes[0].name} is dense and has no encoder; give null"
        )


def _check_settings(accelerator: Accelerator) -> None:
    if not accelerator.layers:
        raise AcceleratorError("the accelerator has no layer; give at least one")
    kinds = (("mode", Mode), ("schedule", Schedule), ("weight_memory", WeightMemory))
    for name, choices in ((name, get_args(kind)) for name, kind in kinds):
        if getattr(accelerator, name) not in choices:
            raise AcceleratorError(f"{name} {getattr(accelerator, name)!r} is unknown; known: {', '.join(choices)}")
    for name in ("time_steps", "weight_bits", "membrane_bits", "pixel_bits"):
        if not is_positive(getattr(accelerator, name)):
            raise AcceleratorError(f"{name} must be a positive integer, got {getattr(accelerator, name)!r}")
    if not (math.isfinite(accelerator.clock_hz) and accelerator.clock_hz > 0):
        raise AcceleratorError(f"clock_hz must be positive and finite, got {accelerator.clock_hz!r}")
    if accelerator.mode == "tlm" and accelerator.schedule != "sequential":
        raise AcceleratorError("mode 'tlm' takes one image at a time; use schedule 'sequential'")
    if accelerator.weight_memory == "uram" and not accelerator.device.available("uram"):
        raise AcceleratorError(f"weight_memory 'uram': device {accelerator.device.name} has none; use 'bram'")
