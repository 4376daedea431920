"""What cannot be built: layers that do not chain, cores that do not divide, circuits that would hang."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hwmodel.cores import ConvCore, Core, DenseCore, FcCore, LayerShape, counter_range, divisors
from hwmodel.errors import AcceleratorError

MAX_RTL_KERNEL = 5
"""Largest kernel the published phase counter can count: K*K - 1 must fit in ceil(log2 K) + 2 bits."""


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
        if not is_positive(cores) or shape.out_channels % cores:
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


def check_encoder(core: Core) -> None:
    """Refuse an encoder wider than what it searches, and spike buffers without entries.

    Raises:
        AcceleratorError: Naming the layer and the limit.
    """
    if isinstance(core, DenseCore):
        return
    positions = core.inputs if isinstance(core, FcCore) else core.in_frame
    if not is_positive(core.penc) or core.penc > positions:
        what = "inputs" if isinstance(core, FcCore) else "positions of a map"
        raise AcceleratorError(f"{core.name}: encoder width {core.penc!r}: expected 1 to {positions}, the {what}")
    if isinstance(core, ConvCore) and not is_positive(core.spike_buffer):
        raise AcceleratorError(f"{core.name}: spike buffer of {core.spike_buffer!r} entries: expected 1 or more")


def check_tlm(layers: Sequence[Core]) -> None:
    """Refuse what the authors' SystemC model does not describe.

    Raises:
        AcceleratorError: The network is not of three fully connected layers.
    """
    kinds = [core.kind for core in layers]
    if kinds != ["fc"] * 3:
        raise AcceleratorError(
            f"mode 'tlm' describes networks of three fully connected layers, got {'-'.join(kinds)}; use mode 'ideal'"
        )


def is_positive(value: object) -> bool:
    """Whether a value is a whole number above 0 (a truth value is not)."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _check_shape(shape: LayerShape) -> None:
    if shape.kind not in ("conv", "fc"):
        raise AcceleratorError(f"{shape.name}: kind {shape.kind!r} is unknown; known: conv, fc")
    for name in ("in_channels", "in_frame", "out_channels", "out_frame"):
        if not is_positive(getattr(shape, name)):
            raise AcceleratorError(f"{shape.name}: {name} must be a positive integer, got {getattr(shape, name)!r}")
    if shape.kind == "conv" and not is_positive(shape.kernel):
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
