"""Small networks and random activity for the tests of the hardware model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwmodel.accelerator import Accelerator, build_accelerator
from hwmodel.cores import DenseCore, LayerShape

SMALL = (
    LayerShape("conv1", "conv", in_channels=3, in_frame=64, out_channels=8, out_frame=36, kernel=3),
    LayerShape("conv2", "conv", in_channels=8, in_frame=9, out_channels=12, out_frame=9, kernel=3),
    LayerShape("fc1", "fc", in_channels=12, in_frame=4, out_channels=20, out_frame=1, kernel=0),
    LayerShape("fc2", "fc", in_channels=1, in_frame=20, out_channels=10, out_frame=1, kernel=0),
)


def small_accelerator(**changes: Any) -> Accelerator:
    """`SMALL` on a device whose static power is known."""
    settings: dict[str, Any] = {
        "shapes": SMALL,
        "neural_cores": [4, 3, 5, 2],
        "dense_first": False,
        "time_steps": 4,
        "clock_hz": 100e6,
        "mode": "ideal",
        "schedule": "sequential",
        "device": "xcku115",
    }
    return build_accelerator(**{**settings, **changes})


def random_activity(
    accelerator: Accelerator, *, seed: int, images: int = 3, rate: float = 0.2
) -> list[NDArray[np.int64]]:
    """Binomial counts for each layer; a dense layer's entry has no channels."""
    rng = np.random.default_rng(seed)
    shapes = [
        (images, accelerator.time_steps, 0 if isinstance(core, DenseCore) else core.in_channels)
        for core in accelerator.layers
    ]
    return [
        rng.binomial(core.in_frame, rate, shape).astype(np.int64)
        for core, shape in zip(accelerator.layers, shapes, strict=True)
    ]
