"""The space of a sweep: what each layer can be built as, checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from hwmodel.accelerator import Accelerator
from hwmodel.cores import ConvCore, Core, DenseCore, FcCore, Mode, divisors
from hwmodel.errors import AcceleratorError
from hwmodel.limits import check_encoder, check_rtl, is_positive

PUBLISHED_DIVISOR = 4
"""A published encoder of a convolution is as wide as a quarter of the map it searches."""

OWNERS = {"neural_cores": ("dense", "conv", "fc"), "encoder_widths": ("conv", "fc"), "spike_buffers": ("conv",)}
"""Kinds of layers that have each choice."""


@dataclass(frozen=True)
class SweepSpace:
    """Choices of each layer; every combination is an accelerator.

    Attributes:
        neural_cores: Numbers of cores of each layer; divisors of its width.
        encoder_widths: Positions searched at once; () for a dense layer, which has no encoder.
        spike_buffers: Entries of a convolution's spike buffer; () for dense and fc layers, which have none.
    """

    neural_cores: tuple[tuple[int, ...], ...]
    encoder_widths: tuple[tuple[int, ...], ...]
    spike_buffers: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> int:
        """Number of accelerators."""
        every = (*self.neural_cores, *self.encoder_widths, *self.spike_buffers)
        return math.prod(max(1, len(choices)) for choices in every)


def full_space(
    accelerator: Accelerator,
    *,
    neural_cores: Sequence[Sequence[int]] | None = None,
    encoder_divisors: Sequence[int] = (PUBLISHED_DIVISOR,),
) -> SweepSpace:
    """The space around an accelerator.

    Args:
        accelerator: Gives the layers and, unchanged, their spike buffers.
        neural_cores: Choices of each layer; None for every divisor of its width.
        encoder_divisors: For each d a convolution's encoder is a d-th of the map wide, at least 1. A fully connected
            layer's encoder has its own width, and for each d also 4/d of that, at least 1 and at most the layer's
            inputs: so d = 4 stands for the published widths of both.

    Raises:
        AcceleratorError: A divisor is not a positive integer, or `neural_cores` does not name every layer.
    """
    for divisor in encoder_divisors:
        if not is_positive(divisor):
            raise AcceleratorError(f"encoder_divisors: {divisor!r} is not a positive integer")
    layers = accelerator.layers
    cores = neural_cores if neural_cores is not None else [divisors(core.out_channels) for core in layers]
    space = SweepSpace(
        neural_cores=tuple(tuple(choices) for choices in cores),
        encoder_widths=tuple(_encoder_widths(core, encoder_divisors) for core in layers),
        spike_buffers=tuple((core.spike_buffer,) if isinstance(core, ConvCore) else () for core in layers),
    )
    _check_space(accelerator, space)
    return space


def layer_cores(accelerator: Accelerator, space: SweepSpace) -> list[list[Core]]:
    """Options of each layer; in `rtl` mode without those that would hang.

    Raises:
        AcceleratorError: A choice does not fit its layer, or a layer is left without options; the message names it.
    """
    _check_space(accelerator, space)
    choices = zip(accelerator.layers, space.neural_cores, space.encoder_widths, space.spike_buffers, strict=True)
    return [
        _working([built(core, *choice) for choice in product(cores, widths or (0,), buffers or (0,))], accelerator.mode)
        for core, cores, widths, buffers in choices
    ]


def built(core: Core, cores: int, encoder_width: int, spike_buffer: int) -> Core:
    """The core with other choices; those that its kind does not have are ignored."""
    if isinstance(core, DenseCore):
        return replace(core, cores=cores)
    if isinstance(core, FcCore):
        return replace(core, cores=cores, penc=encoder_width)
    return replace(core, cores=cores, penc=encoder_width, spike_buffer=spike_buffer)


def _encoder_widths(core: Core, encoder_divisors: Sequence[int]) -> tuple[int, ...]:
    if isinstance(core, DenseCore):
        return ()
    if isinstance(core, ConvCore):
        return tuple(sorted({max(1, core.in_frame // divisor) for divisor in encoder_divisors}))
    scaled = {max(1, core.penc * PUBLISHED_DIVISOR // divisor) for divisor in encoder_divisors}
    return tuple(sorted({core.penc} | {min(width, core.inputs) for width in scaled}))


def _working(cores: list[Core], mode: Mode) -> list[Core]:
    """Those that do not hang in `rtl` mode; one must be left."""
    working, reason = [], ""
    for core in cores:
        check_encoder(core)
        try:
            if mode == "rtl":
                check_rtl(core)
            working.append(core)
        except AcceleratorError as error:
            reason = str(error)
    if not working:
        raise AcceleratorError(f"none of the layer's {len(cores)} options is left; the last: {reason}")
    return working


def _check_space(accelerator: Accelerator, space: SweepSpace) -> None:
    layers = accelerator.layers
    for name, kinds in OWNERS.items():
        entries = getattr(space, name)
        if len(entries) != len(layers):
            names = ", ".join(core.name for core in layers)
            raise AcceleratorError(f"{name} has {len(entries)} entries; expected {len(layers)}: {names}")
        for index, (core, choices) in enumerate(zip(layers, entries, strict=True)):
            _check_choices(f"{name}.{index} ({core.name})", choices, wanted=core.kind in kinds)
    for index, (core, choices) in enumerate(zip(layers, space.neural_cores, strict=True)):
        for cores in choices:
            if core.out_channels % cores:
                raise AcceleratorError(
                    f"neural_cores.{index} ({core.name}): {cores} does not divide {core.out_channels}; "
                    f"use divisors: {', '.join(map(str, divisors(core.out_channels)))}"
                )


def _check_choices(where: str, choices: Sequence[int], *, wanted: bool) -> None:
    if not wanted and choices:
        raise AcceleratorError(f"{where}: this kind of layer has none; leave it empty")
    if wanted and not choices:
        raise AcceleratorError(f"{where}: no choice; give at least one")
    if not all(is_positive(choice) for choice in choices):
        raise AcceleratorError(f"{where}: expected positive integers, got {', '.join(map(repr, choices))}")
    if len(set(choices)) < len(choices):
        raise AcceleratorError(f"{where}: a choice stands twice in {', '.join(map(str, choices))}; give each once")
