"""Training images altered at random, so that a network sees others in each epoch: moved (crop) and mirrored (flip)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as nnf
from torch import Tensor

if TYPE_CHECKING:
    from objectives.spec import DatasetSpec


def augmented(images: Tensor, spec: DatasetSpec, random: torch.Generator) -> Tensor:
    """A batch as `spec.augment` alters it; the images themselves where it says nothing.

    Crop first, flip second. Each image draws for itself, from `random` alone; all frames of a recording move alike.

    Args:
        images: Images `(B, C, H, W)` or event frames `(B, T, C, H, W)`, before they are normalised or encoded.
        spec: Its `augment` is read.
        random: Numbers are drawn from it on the CPU.
    """
    if spec.augment.crop:
        images = cropped(images, spec.augment.crop, random)
    return flipped(images, random) if spec.augment.flip else images


def cropped(images: Tensor, border: int, random: torch.Generator) -> Tensor:
    """Each image `(..., H, W)` cut at a random place, in its own size, out of itself with `border` zeros around it."""
    height, width = images.shape[-2:]
    shift = torch.randint(2 * border + 1, (2, len(images)), generator=random).to(images.device)
    rows, columns = (
        moved.unsqueeze(1) + torch.arange(size, device=images.device)
        for moved, size in zip(shift, (height, width), strict=True)
    )
    framed = nnf.pad(images.flatten(1, -3), (border,) * 4)
    which = torch.arange(len(images), device=images.device)
    cut = framed.transpose(0, 1)[:, which[:, None, None], rows[:, :, None], columns[:, None, :]]
    return cut.transpose(0, 1).reshape(images.shape)


def flipped(images: Tensor, random: torch.Generator) -> Tensor:
    """Each image `(..., W)` mirrored left to right with probability one half."""
    mirrored = torch.rand(len(images), generator=random).to(images.device) < 0.5
    return torch.where(mirrored.view(-1, *[1] * (images.dim() - 1)), images.flip(-1), images)
