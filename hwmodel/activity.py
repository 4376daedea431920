"""Activity: spike counts at each layer's input, checked against the accelerator that will read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwmodel.accelerator import Accelerator
from hwmodel.cores import Core, DenseCore
from hwmodel.errors import ActivityError
from hwmodel.kernels import Counts, Ints


def check_activity(accelerator: Accelerator, activity: Sequence[Counts | Ints]) -> tuple[Counts, ...]:
    """Check spike counts and return them as contiguous int32, not copied where they are that already.

    Args:
        accelerator: One entry of `activity` a layer of it.
        activity: Counts `(images, T, channels)`; all zeros is legal. A dense layer's entry gives images and
            steps only: its values are ignored and it may have no channels.

    Raises:
        ActivityError: Naming the layer, what does not fit and what would.
    """
    layers = accelerator.layers
    if len(activity) != len(layers):
        names = ", ".join(core.name for core in layers)
        raise ActivityError(f"activity has {len(activity)} entries; expected one a layer: {names}")
    checked = tuple(_check_layer(core, counts, accelerator) for core, counts in zip(layers, activity, strict=True))
    for core, counts in zip(layers, checked, strict=True):
        if len(counts) != len(checked[0]):
            raise ActivityError(
                f"{core.name}: activity has {len(counts)} images, but {layers[0].name} has {len(checked[0])}"
            )
    return checked


def _check_layer(core: Core, given: Counts | Ints, accelerator: Accelerator) -> Counts:
    try:
        counts: NDArray[Any] = np.asarray(given)
    except ValueError:
        raise ActivityError(f"{core.name}: activity must be an array (images, steps, channels)") from None
    if counts.ndim != 3 or not np.issubdtype(counts.dtype, np.integer):
        raise ActivityError(
            f"{core.name}: activity must be integer counts (images, steps, channels), "
            f"got {counts.dtype} of shape {counts.shape}"
        )
    images, steps, channels = counts.shape
    if images == 0:
        raise ActivityError(f"{core.name}: activity has no images; give at least one")
    if steps != accelerator.time_steps:
        raise ActivityError(f"{core.name}: activity has {steps} steps, the accelerator {accelerator.time_steps}")
    if isinstance(core, DenseCore):
        return np.empty((images, steps, 0), np.int32)
    if channels != core.in_channels:
        raise ActivityError(f"{core.name}: activity has {channels} channels, the layer takes {core.in_channels}")
    _check_range(core, counts)
    return np.ascontiguousarray(counts, dtype=np.int32)


def _check_range(core: Core, counts: NDArray[Any]) -> None:
    low, high = int(counts.min()), int(counts.max())
    if low < 0:
        raise ActivityError(f"{core.name}: activity holds a negative count, {low}; counts start at 0")
    if high > core.in_frame:
        raise ActivityError(
            f"{core.name}: activity holds {high} spikes in one map of {core.in_frame} positions; "
            f"count pooled maps after pooling"
        )
