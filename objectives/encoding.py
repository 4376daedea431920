"""From images to network input: the image itself (direct), Bernoulli spikes (rate) or one spike a pixel (latency)."""

from __future__ import annotations

import hashlib
from typing import Literal

import torch
from torch import Tensor

Encoding = Literal["direct", "rate", "latency"]

_DARK = 0.01
"""Pixels below this never fire under latency coding: `threshold` of `snntorch.spikegen.latency` with `clip=True`."""


def generator(seed: int, *key: int | str) -> torch.Generator:
    """A random generator that depends on `(seed, *key)` alone, whoever asks and in whatever order."""
    digest = hashlib.sha256(repr((seed, *key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big"))


def encode(images: Tensor, encoding: Encoding, time_steps: int, random: torch.Generator) -> Tensor:
    """Encode images `(B, C, H, W)` with values from 0 to 1.

    Returns:
        direct: the images themselves, `(B, C, H, W)`; the network repeats them. Else spikes `(T, B, C, H, W)`.
    """
    if encoding == "direct":
        return images
    if encoding == "rate":
        return rate(images, time_steps, random)
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
