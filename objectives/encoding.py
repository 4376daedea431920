"""From images to network input: the image itself (direct), Bernoulli spikes (rate) or one spike a pixel (latency).

Frames of events are spikes already; where a network has fewer steps, neighbouring frames are joined (events).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
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
    """Encode images `(B, C, H, W)` with values from 0 to 1, or event frames `(B, F, C, H, W)` of 0 and 1.

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
    """Spikes `(T, B, C, H, W)` of event frames `(B, F, C, H, W)` with F a multiple of T; all zeros is legal.

    F / T neighbouring frames make a step: a pixel spikes where it did in one of them or more.

    Raises:
        TrainingError: The frames are of another shape, T does not divide their number, or they are not spikes.
    """
    if frames.dim() != 5:
        raise TrainingError(f"event frames have the shape {tuple(frames.shape)}; expected (images, T, C, H, W)")
    if frames.shape[1] == 0 or frames.shape[1] % time_steps:
        raise TrainingError(
            f"there are {frames.shape[1]} event frames, the network has {time_steps} steps; give one frame for each "
            f"step, or a whole number of them"
        )
    if not is_binary(frames):
        raise TrainingError(
            "event frames must hold 0 or 1 at each pixel and step; clip numbers of events to 1, or use more frames"
        )
    if frames.shape[1] > time_steps:
        frames = frames.reshape(len(frames), time_steps, -1, *frames.shape[2:]).amax(2)
    return frames.transpose(0, 1).float()


def standardised(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Images `(B, C, H, W)` with (x - mean)/std in place of each value, by channel."""
    shape = (-1, 1, 1)
    return (images - images.new_tensor(mean).view(shape)) / images.new_tensor(std).view(shape)


def is_binary(signal: Tensor) -> bool:
    """Whether a signal holds spikes alone: exactly 0 or 1, never NaN; true of an empty one."""
    return bool(((signal == 0) | (signal == 1)).all())
