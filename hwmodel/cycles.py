"""Cycles of layers: a core and its spike counts, for many images at once.

In modes `ideal` and `rtl` a layer's cycles depend on its own core and counts alone, so layers can be simulated once and
combined freely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hwmodel import circuit, kernels
from hwmodel.circuit import HAZARDS, LOST
from hwmodel.cores import ConvCore, Core, DenseCore, FcCore, Mode, counter_range
from hwmodel.kernels import ACCUMULATE, ACTIVATE, CAUSES, WAIT, ConvTiming, Counts, FcTiming, Ints
from hwmodel.tlm import tlm_cycles

CONV_WRITE_BACK = 3
"""Cycles a core to write its output map of a convolution (public RTL, output writer)."""

FC_WRITE_BACK = 2
"""Cycles a core to write its outputs of a fully connected layer (public RTL, output writer)."""


@dataclass(frozen=True, eq=False)
class LayerCycles:
    """What one layer did, an entry an image.

    Attributes:
        cycles: Latency `(images,)`; in `tlm` mode the cycles in which the layer works.
        busy: Cycles until the layer could take its next image `(images,)`: the latency, or more where a
            drain follows.
        worked: Cycles in which the cores accumulate or activate `(images,)`, drain included.
        causes: `(images, 6)` in the order of `CAUSES`; rows sum to `cycles`.
        hazards: `(images, 5)` in the order of `HAZARDS`; always 0 in `ideal` mode. In `tlm` a `lost` step is a
            silent one, which the SystemC model skips.
    """

    cycles: Ints
    busy: Ints
    worked: Ints
    causes: Ints
    hazards: Ints


def network_cycles(cores: Sequence[Core], counts: Sequence[Counts], mode: Mode) -> tuple[tuple[LayerCycles, ...], Ints]:
    """Cycles of each layer, and of the whole network `(images,)`.

    Layers run one after the other, so the network takes their sum; but in "tlm" they are a pipeline over time
    steps, a layer's cycles are those in which it works, and the network takes less than their sum.
    """
    if mode == "tlm":
        return _pipelined(cores, counts)
    layers = tuple(layer_cycles(core, layer, mode) for core, layer in zip(cores, counts, strict=True))
    return layers, np.sum([layer.cycles for layer in layers], axis=0)


def layer_cycles(core: Core, counts: Counts, mode: Mode) -> LayerCycles:
    """Cycles of a layer for a set of images.

    Args:
        core: The layer as built.
        counts: Spikes at its input `(images, T, C)` int32; a dense core looks at the shape only.
        mode: "ideal" or "rtl"; in "tlm" layers are not independent, see `tlm.py`.
    """
    if isinstance(core, DenseCore):
        return _dense(core, counts, mode)
    if isinstance(core, FcCore):
        return _fc(core, counts, mode)
    return _conv(core, counts, mode)


def cycles_by_cores(core: Core, counts: Counts, mode: Mode, cores: Sequence[int]) -> Ints:
    """Latency of a layer `(len(cores), images)` for several numbers of cores, as `layer_cycles` gives one by one.

    A convolution costs little more than for its fewest cores alone: all numbers share their first groups.

    Args:
        core: The layer; its own number of cores does not matter.
        counts: As in `layer_cycles`.
        mode: "ideal" or "rtl".
        cores: Numbers of cores; each divides the layer's width.
    """
    choices = [replace(core, cores=number) for number in cores]
    if not isinstance(core, ConvCore):
        return np.stack([layer_cycles(choice, counts, mode).cycles for choice in choices])
    groups = np.array([choice.groups(mode) for choice in choices], np.int64)
    distinct, place = np.unique(groups, return_inverse=True)
    ready = np.empty((len(distinct), len(counts)), np.int64)
    if mode == "rtl":
        circuit.conv_rtl_by_groups(counts, conv_timing(core, mode), distinct, ready)
        return ready[place]
    idle = np.empty_like(ready)
    kernels.conv_ideal_by_groups(counts, conv_timing(core, mode), distinct, ready, idle)
    tails = np.array([[_tail(number)] for number in cores], np.int64)
    cycles: Ints = np.maximum(ready[place], idle[place] + tails)
    return cycles


def conv_timing(core: ConvCore, mode: Mode) -> ConvTiming:
    """A convolution's control unit; activating takes F_out cycles, in `rtl` max(F_out - 1, 1)."""
    return ConvTiming(
        groups=core.groups(mode),
        chunks=core.chunks,
        wrap=counter_range(core.spike_buffer),
        taps=core.kernel * core.kernel,
        activation=max(core.out_frame - 1, 1) if mode == "rtl" else core.out_frame,
        tail=_tail(core.cores),
    )


def fc_timing(core: FcCore, mode: Mode) -> FcTiming:
    """Constants of a fully connected layer's control unit."""
    tail = 0 if mode == "rtl" else FC_WRITE_BACK * core.cores
    return FcTiming(passes=core.groups(mode), channels=core.in_channels, chunks=core.chunks, tail=tail)


def _tail(cores: int) -> int:
    """Cycles to write a convolution's last output maps."""
    return CONV_WRITE_BACK * cores + 1


def _conv(core: ConvCore, counts: Counts, mode: Mode) -> LayerCycles:
    result = _empty(len(counts))
    timing = conv_timing(core, mode)
    if mode == "rtl":
        circuit.conv_rtl_images(
            counts, timing, result.cycles, result.busy, result.worked, result.causes, result.hazards
        )
    else:
        kernels.conv_ideal_images(counts, timing, result.cycles, result.worked, result.causes)
        result.busy[:] = result.cycles
    return result


def _fc(core: FcCore, counts: Counts, mode: Mode) -> LayerCycles:
    result = _empty(len(counts))
    kernels.fc_images(counts, fc_timing(core, mode), result.cycles, result.worked, result.causes)
    result.busy[:] = result.cycles
    return result


def _dense(core: DenseCore, counts: Counts, mode: Mode) -> LayerCycles:
    images, steps = counts.shape[:2]
    result = _empty(images)
    cells = core.in_channels * core.kernel * core.kernel
    passes = core.groups(mode) * steps
    causes = np.zeros(len(CAUSES), np.int64)
    result.cycles[:] = kernels.dense_cycles(passes, core.out_frame, cells, causes)
    result.busy[:] = result.cycles
    result.worked[:] = passes * core.out_frame
    result.causes[:] = causes
    return result


def _pipelined(cores: Sequence[Core], counts: Sequence[Counts]) -> tuple[tuple[LayerCycles, ...], Ints]:
    totals = np.stack([layer.sum(axis=2, dtype=np.int64) for layer in counts], axis=2)
    done = tlm_cycles([core.groups("tlm") for core in cores], totals)
    layers = []
    for index in range(len(cores)):
        result = _empty(len(totals))
        for cause, column in ((ACCUMULATE, 0), (ACTIVATE, 1), (WAIT, 2)):
            result.causes[:, cause] = done.causes[:, index, column]
        result.cycles[:] = result.causes.sum(axis=1)
        result.busy[:] = done.latency
        result.worked[:] = result.cycles - result.causes[:, WAIT]
        result.hazards[:, LOST] = done.lost[:, index]
        layers.append(result)
    return tuple(layers), done.latency


def _empty(images: int) -> LayerCycles:
    return LayerCycles(
        cycles=np.zeros(images, np.int64),
        busy=np.zeros(images, np.int64),
        worked=np.zeros(images, np.int64),
        causes=np.zeros((images, len(CAUSES)), np.int64),
        hazards=np.zeros((images, len(HAZARDS)), np.int64),
    )
