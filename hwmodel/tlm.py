"""The authors' SystemC model: three fully connected layers, each with a logical-to-hardware ratio (LHR).

LHR u = logical neurons a hardware neuron serves in turn. A spike costs the whole layer 4u + 2 cycles: a memory
handshake and add of 4 cycles for each logical neuron, and 2 of control. Compression costs nothing. The layers
are a pipeline over time steps with one-entry buffers between them: a layer takes its next step while its
successor still works, and blocks only when the buffer behind it is full.

    layer 0: a = max(t0 + 1 + n0(4u0+2), free0) + 1, silent: a = t0 + 1    full0 = a + 1, t0 = full0 + 2
    layer 1: b = max(full0, idle1) + 1, c = max(b + 1 + n1(4u1+2), free1)
             full1 = c + 2, free0 = full1 + 1, idle1 = full1 + 2
    layer 2: d = max(full1 + p, idle2) + 1, e = d + 1 + n2(4u2+2)
             end = e + 3, idle2 = e + 4, free1 = e + 2 if e is odd, else e + 3
             p = full1 mod 2, but 0 at the last step if full0 is even

All start at 0; `full` is the cycle in which a buffer is filled, the latency is the last `end`. The parity terms
come from the order in which the SystemC kernel wakes the three controllers; they were fitted to simulated runs, so
expect +-1 cycle elsewhere.

A silent step at layer 0 or 1 makes the original skip its buffer check, overwrite the buffer and lose a step. Here
the step is processed all the same and counted in `lost`: with any of these the latency is an estimate.

Source: recursion read from, and checked against, the public SystemC model (`githubofaliyev/SNN-DSE`, MIT; JETCAS
2023, arXiv 2310.16745).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodel._jit import jit
from hwmodel.errors import AcceleratorError, ActivityError

Ints = NDArray[np.int64]

LAYERS = 3

TLM_CAUSES = ("accumulate", "activate", "control", "input", "output")
"""What a layer does in a cycle: n(4u+2) a step; 3, 4, 3 a step (layer 0 if silent: 2); starting a step and returning
to idle; waiting for its input or, done with its own last step, for the end; waiting for the buffer behind it."""

ACTIVATE = (3, 4, 3)
"""Cycles of a step from its last spike to the layer's result."""

CONTROL = (2, 2, 3)
"""Cycles of a step before its first spike and after its result; the last of layer 2 falls behind the end."""


@dataclass(frozen=True, eq=False)
class TlmCycles:
    """What the three layers did with a set of images.

    Attributes:
        ends: Cycle in which each layer has finished each step `(images, T, 3)`, as the original's log prints it.
        causes: Cycles of each layer by cause `(images, 3, 5)`, in the order of `TLM_CAUSES`. Each layer's sum to the
            latency, as the layers work side by side.
        lost: Silent steps `(images, 3)` at layers 0 and 1, each of which the original loses; layer 2 is always 0.
    """

    ends: Ints
    causes: Ints
    lost: Ints

    @property
    def latency(self) -> Ints:
        """Cycles from the start of an image to the last layer's last result `(images,)`."""
        latency: Ints = self.ends[:, -1, -1]
        return latency

    @property
    def busy(self) -> Ints:
        """Cycles in which each layer works instead of waiting `(images, 3)`."""
        busy: Ints = self.causes[:, :, :3].sum(axis=2)
        return busy


def tlm_cycles(lhr: Sequence[int], totals: Ints) -> TlmCycles:
    """Run the pipeline for a set of images, each from reset.

    Args:
        lhr: Logical neurons a hardware neuron, a layer each.
        totals: Spikes at each layer's input `(images, T, 3)` int64; zeros are legal, no images too.

    Raises:
        AcceleratorError: Not three positive ratios.
        ActivityError: Counts of another shape, not whole, negative, or without a step.
    """
    ratios = _check_lhr(lhr)
    totals = _check_totals(totals)
    ends = np.zeros(totals.shape, np.int64)
    blocked = np.zeros((len(totals), LAYERS), np.int64)
    tlm_images(totals, ratios, ends, blocked)
    lost = (totals == 0).sum(axis=1)
    lost[:, -1] = 0
    return TlmCycles(ends=ends, causes=_causes(totals, ratios, ends, blocked), lost=lost)


def step_cycles(layer: int, spikes: int, lhr: int) -> int:
    """Cycles of one step in one layer that waits for nothing, from its input to its result.

    That is n(4u+2) + 4, 5, 4. Within the pipeline layer 2 takes one less where p is 0.

    Args:
        layer: 0, 1 or 2.
        spikes: Spikes at the layer's input in this step; 0 is legal.
        lhr: The layer's logical neurons a hardware neuron.
    """
    silent_first = layer == 0 and spikes == 0
    return 1 + spikes * (4 * lhr + 2) + ACTIVATE[layer] - silent_first


@jit
def tlm_images(totals: Ints, lhr: Ints, ends: Ints, blocked: Ints) -> None:
    """The recursion above for totals `(images, T, 3)`; fills `ends`, alike, and adds to `blocked` `(images, 3)`."""
    images, steps, _ = totals.shape
    spike0, spike1, spike2 = 4 * lhr[0] + 2, 4 * lhr[1] + 2, 4 * lhr[2] + 2
    for image in range(images):
        t0, free0, free1, idle1, idle2 = 0, 0, 0, 0, 0
        for t in range(steps):
            n0, n1, n2 = totals[image, t, 0], totals[image, t, 1], totals[image, t, 2]
            a = t0 + 1
            if n0 > 0:
                summed = t0 + 1 + n0 * spike0
                a = max(summed, free0) + 1
                blocked[image, 0] += max(free0 - summed, 0)
            full0 = a + 1
            t0 = full0 + 2

            summed = max(full0, idle1) + 2 + n1 * spike1
            full1 = max(summed, free1) + 2
            blocked[image, 1] += max(free1 - summed, 0)
            free0 = full1 + 1
            idle1 = full1 + 2

            p = 0 if t == steps - 1 and full0 % 2 == 0 else full1 % 2
            e = max(full1 + p, idle2) + 2 + n2 * spike2
            free1 = e + 2 if e % 2 == 1 else e + 3
            idle2 = e + 4

            ends[image, t, 0] = full0 + 1
            ends[image, t, 1] = full1 + 2
            ends[image, t, 2] = e + 3


def _causes(totals: Ints, lhr: Ints, ends: Ints, blocked: Ints) -> Ints:
    """What the layers did when they neither waited for input nor for the end follows from the counts alone."""
    images, steps, _ = totals.shape
    causes = np.zeros((images, LAYERS, len(TLM_CAUSES)), np.int64)
    causes[:, :, 0] = totals.sum(axis=1) * (4 * lhr + 2)
    causes[:, :, 1] = steps * np.array(ACTIVATE)
    causes[:, 0, 1] -= (totals[:, :, 0] == 0).sum(axis=1)
    causes[:, :, 2] = steps * np.array(CONTROL)
    causes[:, -1, 2] -= 1
    causes[:, :, 4] = blocked
    causes[:, :, 3] = ends[:, -1, -1:] - causes.sum(axis=2)
    return causes


def _check_lhr(lhr: Sequence[int]) -> Ints:
    ratios = np.asarray(lhr)
    if ratios.shape != (LAYERS,) or not np.issubdtype(ratios.dtype, np.integer) or ratios.min() < 1:
        raise AcceleratorError(f"lhr must be {LAYERS} positive integers, one a layer, got {lhr!r}")
    return ratios.astype(np.int64)


def _check_totals(totals: Ints) -> Ints:
    totals = np.asarray(totals)
    if totals.ndim != 3 or totals.shape[2] != LAYERS or not np.issubdtype(totals.dtype, np.integer):
        raise ActivityError(
            f"tlm: totals must be integer counts (images, steps, {LAYERS}), got {totals.dtype} of shape {totals.shape}"
        )
    if totals.shape[1] == 0:
        raise ActivityError("tlm: totals have no steps; give at least one")
    if totals.size and totals.min() < 0:
        raise ActivityError(f"tlm: totals hold a negative count, {totals.min()}; counts start at 0")
    return np.ascontiguousarray(totals, dtype=np.int64)
