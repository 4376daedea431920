"""Accelerators: a network's geometry plus the choices of its builder, checked and frozen.

A `LayerShape` is what the network says, a core is what is built for it. All frames are numbers of
positions (width times height), never widths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal, TypeAlias, get_args

from hwmodel.device import Device, load_device
from hwmodel.errors import AcceleratorError
from hwmodel.preset import EventEnergies, Preset, load_preset

Mode: TypeAlias = Literal["ideal", "rtl"]
Schedule: TypeAlias = Literal["sequential", "ping_pong"]

MAX_RTL_KERNEL = 5
"""Largest kernel the published phase counter can count: K*K - 1 must fit in ceil(log2 K) + 2 bits."""


@dataclass(frozen=True)
class LayerShape:
    """Geometry of one weighted layer, as the network defines it.

    Attributes:
        name: "conv1", "conv2", "fc1", ...
        kind: "conv" or "fc".
        in_channels: Maps coming in; for an fc layer fed by an fc layer 1.
        in_frame: Positions of one incoming map, after the previous layer's pooling (the image for the first
            layer); for an fc layer fed by an fc layer the neurons of that layer.
        out_channels: Maps going out; neurons of an fc layer.
        out_frame: Positions of one outgoing map, before this layer's pooling; 1 for fc.
        kernel: Kernel width; 0 for fc.
    """

    name: str
    kind: Literal["conv", "fc"]
    in_channels: int
    in_frame: int
    out_channels: int
    out_frame: int
    kernel: int


@dataclass(frozen=True)
class DenseCore:
    """Direct-coded first layer: `cores` rows of C*K*K multiply-accumulate cells, timed alike for all data."""

    kind: ClassVar[Literal["dense"]] = "dense"
    name: str
    cores: int
    in_channels: int
    in_frame: int
    out_channels: int
    out_frame: int
    kernel: int

    def groups(self, mode: Mode) -> int:
        """Passes over the image in one time step; `rtl` rounds down, as the circuit does."""
        return self.out_channels // self.cores if mode == "rtl" else ceil_div(self.out_channels, self.cores)


@dataclass(frozen=True)
class ConvCore:
    """Event-driven convolution: one control unit and `cores` neural cores, one output channel each."""

    kind: ClassVar[Literal["conv"]] = "conv"
    name: str
    cores: int
    in_channels: int
    in_frame: int
    out_channels: int
    out_frame: int
    kernel: int
    penc: int
    spike_buffer: int

    @property
    def chunks(self) -> int:
        """Encoder loads M for one map."""
        return ceil_div(self.in_frame, self.penc)

    def groups(self, mode: Mode) -> int:
        """Output-channel groups G; each re-reads the whole spike train."""
        return ceil_div(self.out_channels, self.cores)


@dataclass(frozen=True)
class FcCore:
    """Event-driven fully connected layer: compresses all steps first, then accumulates group by group."""

    kind: ClassVar[Literal["fc"]] = "fc"
    name: str
    cores: int
    in_channels: int
    in_frame: int
    out_channels: int
    penc: int
    out_frame: ClassVar[int] = 1

    @property
    def inputs(self) -> int:
        """Neurons feeding this layer."""
        return self.in_channels * self.in_frame

    @property
    def chunks(self) -> int:
        """Encoder loads M for one step's concatenated maps."""
        return ceil_div(self.inputs, self.penc)

    def groups(self, mode: Mode) -> int:
        """Passes over the spikes; `rtl` makes one pass too many when the cores divide the layer."""
        whole = self.out_channels // self.cores
        return whole + 1 if mode == "rtl" else ceil_div(self.out_channels, self.cores)


Core: TypeAlias = DenseCore | ConvCore | FcCore


@dataclass(frozen=True)
class Accelerator:
    """A network's layers as built, on one device at one clock.

    Attributes:
        layers: One core a weighted layer, in order.
        time_steps: Steps T of one image.
        clock_hz: Clock frequency [Hz].
        mode: "ideal" (what the design intends) or "rtl" (the published circuit with its defects).
        schedule: "sequential" (one layer at a time, as published) or "ping_pong" (our extension: one image
            a layer).
        device: The FPGA.
        energies: Energy of each event at 32 bits.
        weight_bits, membrane_bits, pixel_bits: Stored widths.
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

    def __post_init__(self) -> None:
        _check_settings(self)
        if self.mode == "rtl":
            for core in self.layers:
                check_rtl(core)


def build_accelerator(
    shapes: Sequence[LayerShape],
    neural_cores: Sequence[int],
    *,
    dense_first: bool,
    time_steps: int,
    clock_hz: float,
    mode: Mode,
    schedule: Schedule,
    device: str,
    preset: str = "event-driven-2023",
) -> Accelerator:
    """Build the accelerator of a network.

    Args:
        shapes: The network's weighted layers, in order.
        neural_cores: Cores a layer, in the same order; each divides its layer's width.
        dense_first: True for direct coding (the first layer sees the image), False for spikes from the start.
        time_steps: Steps T of one image.
        clock_hz: Clock frequency [Hz].
        mode: "ideal" or "rtl".
        schedule: "sequential" or "ping_pong".
        device: Name of a device.
        preset: Name of a preset.

    Raises:
        AcceleratorError: Cores do not divide, layers do not chain, or the circuit would hang in `rtl` mode.
        DeviceError: The device is unknown.
    """
    check_shapes(shapes)
    check_cores(shapes, neural_cores)
    if dense_first and shapes[0].kind == "fc":
        raise AcceleratorError(
            f"{shapes[0].name}: direct coding needs a convolution as first layer; use rate coding with this network"
        )
    rules = load_preset(preset)
    return Accelerator(
        layers=_cores(shapes, neural_cores, rules, dense_first=dense_first),
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


def check_cores(shapes: Sequence[LayerShape], neural_cores: Sequence[int]) -> None:
    """Refuse cores that do not divide their layer.

    Raises:
        AcceleratorError: Wrong number of entries, or an entry that is not a divisor; the message names the
            divisors.
    """
    if len(neural_cores) != len(shapes):
        names = ", ".join(shape.name for shape in shapes)
        raise AcceleratorError(f"neural_cores has {len(neural_cores)} entries; expected {len(shapes)}: {names}")
    for index, (shape, cores) in enumerate(zip(shapes, neural_cores, strict=True)):
        if not _is_positive(cores) or shape.out_channels % cores:
            what = "neurons" if shape.kind == "fc" else "output channels"
            raise AcceleratorError(
                f"neural_cores.{index} = {cores!r}: {shape.name} has {shape.out_channels} {what}; "
                f"use a divisor: {', '.join(map(str, divisors(shape.out_channels)))}"
            )


def check_shapes(shapes: Sequence[LayerShape]) -> None:
    """Refuse layers that cannot exist or do not follow from one another.

    Raises:
        AcceleratorError: Naming the layer and the number that does not fit.
    """
    if not shapes:
        raise AcceleratorError("the network has no weighted layer; give at least one")
    for shape in shapes:
        _check_shape(shape)
    for before, after in pairwise(shapes):
        _check_chain(before, after)


def check_rtl(core: Core) -> None:
    """Refuse what would hang the published circuit.

    Raises:
        AcceleratorError: Naming the layer and the counter that never ends.

    Source: the public RTL; the limits follow from the widths of its counters.
    """
    reason = _dense_hang(core) if isinstance(core, DenseCore) else _event_hang(core)
    if reason:
        raise AcceleratorError(f"{core.name}: the published circuit would hang: {reason}; use mode 'ideal'")


def divisors(width: int) -> list[int]:
    """Divisors of a positive number, ascending."""
    return [candidate for candidate in range(1, width + 1) if width % candidate == 0]


def ceil_div(total: int, part: int) -> int:
    """Quotient rounded up."""
    return -(-total // part)


def counter_range(size: int) -> int:
    """Values of a counter of ceil(log2 size) bits: the next power of two."""
    return 1 << (size - 1).bit_length()


def _cores(
    shapes: Sequence[LayerShape], neural_cores: Sequence[int], rules: Preset, *, dense_first: bool
) -> tuple[Core, ...]:
    cores = [_event_core(shape, count, rules) for shape, count in zip(shapes, neural_cores, strict=True)]
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


def _event_core(shape: LayerShape, cores: int, rules: Preset) -> Core:
    if shape.kind == "fc":
        return FcCore(
            name=shape.name,
            cores=cores,
            in_channels=shape.in_channels,
            in_frame=shape.in_frame,
            out_channels=shape.out_channels,
            penc=rules.fc_encoder_width,
        )
    return ConvCore(
        name=shape.name,
        cores=cores,
        in_channels=shape.in_channels,
        in_frame=shape.in_frame,
        out_channels=shape.out_channels,
        out_frame=shape.out_frame,
        kernel=shape.kernel,
        penc=rules.conv_encoder(shape.in_frame),
        spike_buffer=shape.in_frame,
    )


def _check_settings(accelerator: Accelerator) -> None:
    if not accelerator.layers:
        raise AcceleratorError("the accelerator has no layer; give at least one")
    for name, choices in (("mode", get_args(Mode)), ("schedule", get_args(Schedule))):
        if getattr(accelerator, name) not in choices:
            raise AcceleratorError(f"{name} {getattr(accelerator, name)!r} is unknown; known: {', '.join(choices)}")
    for name in ("time_steps", "weight_bits", "membrane_bits", "pixel_bits"):
        if not _is_positive(getattr(accelerator, name)):
            raise AcceleratorError(f"{name} must be a positive integer, got {getattr(accelerator, name)!r}")
    if not (math.isfinite(accelerator.clock_hz) and accelerator.clock_hz > 0):
        raise AcceleratorError(f"clock_hz must be positive and finite, got {accelerator.clock_hz!r}")


def _check_shape(shape: LayerShape) -> None:
    if shape.kind not in ("conv", "fc"):
        raise AcceleratorError(f"{shape.name}: kind {shape.kind!r} is unknown; known: conv, fc")
    for name in ("in_channels", "in_frame", "out_channels", "out_frame"):
        if not _is_positive(getattr(shape, name)):
            raise AcceleratorError(f"{shape.name}: {name} must be a positive integer, got {getattr(shape, name)!r}")
    if shape.kind == "conv" and not _is_positive(shape.kernel):
        raise AcceleratorError(
            f"{shape.name}: kernel of a convolution must be a positive integer, got {shape.kernel!r}"
        )
    if shape.kind == "fc" and (shape.kernel, shape.out_frame) != (0, 1):
        raise AcceleratorError(
            f"{shape.name}: a fully connected layer has kernel 0 and out_frame 1, "
            f"got {shape.kernel!r} and {shape.out_frame!r}"
        )


def _check_chain(before: LayerShape, after: LayerShape) -> None:
    if before.kind == "fc" and after.kind == "conv":
        raise AcceleratorError(f"{after.name}: a convolution cannot follow the fully connected layer {before.name}")
    if before.kind == "fc":
        if (after.in_channels, after.in_frame) != (1, before.out_channels):
            raise AcceleratorError(
                f"{after.name}: in_channels x in_frame must be 1 x {before.out_channels}, the neurons of "
                f"{before.name}; got {after.in_channels} x {after.in_frame}"
            )
    elif after.in_channels != before.out_channels or after.in_frame > before.out_frame:
        raise AcceleratorError(
            f"{after.name}: takes {after.in_channels} maps of {after.in_frame} positions, but {before.name} "
            f"gives {before.out_channels} of {before.out_frame} before pooling"
        )


def _dense_hang(core: DenseCore) -> str:
    return "" if core.groups("rtl") else f"{core.cores} rows for {core.out_channels} channels never start"


def _event_hang(core: ConvCore | FcCore) -> str:
    limit = 2 * counter_range(core.penc)
    if core.chunks > limit:
        return f"{core.chunks} chunks of {core.penc}, but the chunk counter ends at {limit}"
    if isinstance(core, FcCore):
        passes = core.out_channels // core.cores
        return "the group counter overflows with one core" if passes == counter_range(core.out_channels) else ""
    if core.kernel == 1:
        return "K = 1 makes one-cycle accumulations that race"
    if core.kernel > MAX_RTL_KERNEL:
        return f"K = {core.kernel} overflows the kernel-phase counter (2 to {MAX_RTL_KERNEL} work)"
    return ""


def _is_positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
