"""How many images a training step takes at once, so that its memory is bounded whatever the batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from objectives.architecture import Layer
from objectives.spec import Study

HELD_BYTES = 64 * 2**20
"""Most activity held at once. Small networks train whole batches in it; a step needs a few tens of MB besides."""

_FLOAT_BYTES = 4


def largest_part(study: Study, plan: Sequence[Layer]) -> int:
    """Most images at once: as many as the study asks for, else as many as `HELD_BYTES` hold; at least 1.

    A function of the study, not of the machine: parts are summed one after the other, so they decide the last bits.
    """
    return study.train.micro_batch or max(1, HELD_BYTES // held_bytes(study, plan))


def held_bytes(study: Study, plan: Sequence[Layer]) -> int:
    """Activity that the training step of one image holds for its way back [B], as float32.

    At each step the first layer's input, and of every layer what its weights give and its neurons' current, membrane
    and spike. A still image is there once, and so is what the first convolution gives.
    """
    is_still = study.encoding == "direct" and len(plan[0].in_shape) == 3
    values = math.prod(plan[0].in_shape) * (1 if is_still else study.time_steps)
    for layer in plan:
        neurons = math.prod(layer.pooled_shape if study.pool == "before_lif" else layer.out_shape)
        once = is_still and layer is plan[0]
        values += math.prod(layer.out_shape) * (1 if once else study.time_steps) + 3 * neurons * study.time_steps
    return _FLOAT_BYTES * values


def part_sizes(images: int, most: int) -> list[int]:
    """Sizes of the fewest parts of at most so many images, as even as can be, the larger ones first."""
    parts = -(-images // most)
    return [images // parts + (part < images % parts) for part in range(parts)]
