"""Cycles of one layer: a core and its spike counts, in either mode, for many images at once.

A layer's cycles depend on its own core and counts alone, so layers can be simulated once and combined freely.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodel import kernels
from hwmodel.accelerator import ConvCore, Core, DenseCore, FcCore, Mode, counter_range
from hwmodel.kernels import CAUSES, HAZARDS, ConvTiming, FcTiming

Ints = NDArray[np.int64]

CONV_WRITE_BACK = 3
"""Cycles a core to write its output map of a convolution (public RTL, output writer)."""

FC_WRITE_BACK = 2
"""Cycles a core to write its outputs of a fully connected layer (public RTL, output writer)."""


@dataclass(frozen=True, eq=False)
class LayerCycles:
    """What one layer did, an entry an image.

    Attributes:
        cycles: Latency `(images,)`.
        busy: Cycles until the layer could take its next image `(images,)`: the latency, or more where a
            drain follows.
        causes: `(images, 5)` in the order of `CAUSES`; rows sum to `cycles`.
        hazards: `(images, 5)` in the order of `HAZARDS`; always 0 in `ideal` mode.
    """

    cycles: Ints
    busy: Ints
    causes: Ints
    hazards: Ints


def layer_cycles(core: Core, counts: Ints, mode: Mode) -> LayerCycles:
    """Cycles of a layer for a set of images.

    Args:
        core: The layer as built.
        counts: Spikes at its input `(images, T, C)` int64; a dense core looks at the shape only.
        mode: "ideal" or "rtl".
    """
    if isinstance(core, DenseCore):
        return _dense(core, counts, mode)
    if isinstance(core, FcCore):
        return _fc(core, counts, mode)
    return _conv(core, counts, mode)


def conv_timing(core: ConvCore, mode: Mode) -> ConvTiming:
    """A convolution's control unit; activating takes F_out cycles, in `rtl` max(F_out - 1, 1)."""
    return ConvTiming(
        groups=core.groups(mode),
        chunks=core.chunks,
        wrap=counter_range(core.spike_buffer),
        taps=core.kernel * core.kernel,
        activation=max(core.out_frame - 1, 1) if mode == "rtl" else core.out_frame,
        tail=CONV_WRITE_BACK * core.cores + 1,
    )


def fc_timing(core: FcCore, mode: Mode) -> FcTiming:
    """Constants of a fully connected layer's control unit."""
    tail = 0 if mode == "rtl" else FC_WRITE_BACK * core.cores
    return FcTiming(passes=core.groups(mode), channels=core.in_channels, chunks=core.chunks, tail=tail)


def _conv(core: ConvCore, counts: Ints, mode: Mode) -> LayerCycles:
    result = _empty(len(counts))
    timing = conv_timing(core, mode)
    if mode == "rtl":
        kernels.conv_rtl_images(counts, timing, result.cycles, result.busy, result.causes, result.hazards)
    else:
        kernels.conv_ideal_images(counts, timing, result.cycles, result.causes)
        result.busy[:] = result.cycles
    return result


def _fc(core: FcCore, counts: Ints, mode: Mode) -> LayerCycles:
    result = _empty(len(counts))
    kernels.fc_images(counts.sum(axis=2), fc_timing(core, mode), result.cycles, result.causes)
    result.busy[:] = result.cycles
    return result


def _dense(core: DenseCore, counts: Ints, mode: Mode) -> LayerCycles:
    images, steps = counts.shape[:2]
    result = _empty(images)
    cells = core.in_channels * core.kernel * core.kernel
    causes = np.zeros(len(CAUSES), np.int64)
    result.cycles[:] = kernels.dense_cycles(core.groups(mode) * steps, core.out_frame, cells, causes)
    result.busy[:] = result.cycles
    result.causes[:] = causes
    return result


def _empty(images: int) -> LayerCycles:
    return LayerCycles(
        cycles=np.zeros(images, np.int64),
        busy=np.zeros(images, np.int64),
        causes=np.zeros((images, len(CAUSES)), np.int64),
        hazards=np.zeros((images, len(HAZARDS)), np.int64),
    )
