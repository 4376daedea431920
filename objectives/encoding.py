"""From images to network input: the image itself (direct), Bernoulli spikes (rate) or one spike a pixel (latency).

Frames of events are spikes already and pass through (events).
"""

from __future__ import annotations

import hashlib
from typing import Literal

import torch
from torch import Tensor

from objectives.errors import TrainingError

Encoding = Literal["direct", "rate", "latency", "events"]

_DARK = 0.01
"""Pixels below this never fire under latency coding: `threshold` of `snntorch.spikegen.latency` with `clip=True`."""


def generator(seed: int, *key: int | str) -> torch.Generator:
    """A random generator that depends on `(seed, *key)` alone, whoever asks and in whatever order."""
    digest = hashlib.sha256(repr((seed, *key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big"))


def encode(images: Tensor, encoding: Encoding, time_steps: int, random: torch.Generator) -> Tensor:
    """Encode images `(B, C, H, W)` with values from 0 to 1, or event frames `(B, T, C, H, W)` of 0 and 1.

    Returns:
        direct: the images themselves, `(B, C, H, W)`; the network repeats them. Else spikes `(T, B, C, H, W)`.

    Raises:
        TrainingError: The event frames are of another shape or number of steps, or are not spikes.
    """
    if encoding == "direct":
        return images
    if encoding == "rate":
        return rate(images, time_steps, random)
    if encoding == "events":
        return events(images, time_steps)
    return latency(images, time_steps)


def rate(images: Tensor, time_steps: int, random: torch.Generator) -> Tensor:
    """Spikes `(T, B, C, H, W)`: at each step a pixel fires with its value (clipped to 0..1) as probability.

    Numbers are drawn image by image on the CPU, so the spikes do not depend on how images are cut into chunks.
    """
    draws = torch.rand((len(images), time_steps, *images.shape[1:]), generator=random)
    return (draws.to(images.device) < images.unsqueeze(1)).float().transpose(0, 1)


def latency(images: Tensor, time_steps: int) -> Tensor:
    """Spikes `(T, B, C, H, W)`: pixel p fires once, at step round((T-1)(1-p)), the brightest first.

    Pixels below 0.01 stay silent. Values must lie in 0..1.

    Source: `snntorch.spikegen.latency` 1.0.0 with `linear=True, normalize=True, clip=True`.
    """
    steps = -(time_steps - 1) * (images - 1)
    latest = -(time_steps - 1) * (_DARK - 1)
    when = torch.round(torch.clamp_max(steps, latest)).long()
    spikes = images.new_zeros((time_steps, *images.shape)).scatter_(0, when.unsqueeze(0), 1.0)
    return spikes * (images >= _DARK)


def events(frames: Tensor, time_steps: int) -> Tensor:
    """Spikes `(T, B, C, H, W)` of event frames `(B, T, C, H, W)`, which hold them already; all zeros is legal.

    Raises:
        TrainingError: The frames are of another shape or number of steps, or are not spikes.
    """
    if frames.dim() != 5:
        raise TrainingError(f"event frames have the shape {tuple(frames.shape)}; expected (images, T, C, H, W)")
    if frames.shape[1] != time_steps:
        raise TrainingError(
            f"event frames have {frames.shape[1]} steps, the network {time_steps}; give a frame for each step"
        )
    if not is_binary(frames):
        raise TrainingError(
            "event frames must hold 0 or 1 at each pixel and step; clip numbers of events to 1, or use more frames"
        )
    return frames.transpose(0, 1).float()


def is_binary(signal: Tensor) -> bool:
    """Whether a signal holds spikes alone: exactly 0 or 1, never NaN; true of an empty one."""
    return bool(((signal == 0) | (signal == 1)).all())
