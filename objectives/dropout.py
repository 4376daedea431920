"""Dropout: in training some neurons of an image hand nothing to the fully connected layer behind them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from objectives.architecture import Conv, Layer
from objectives.network import SpikingNetwork


@contextmanager
def dropped(network: SpikingNetwork, share: float, images: int, random: torch.Generator) -> Iterator[None]:
    """Drop inputs of fully connected layers behind other layers, in every forward pass inside the block.

    Each input of each image is dropped with probability `share`, for all time steps; those that stay are multiplied by
    1/(1 - share), so that the mean is as it was. What a layer fires, and what a convolution sees, is left alone.
    A share of 0 changes nothing and draws nothing.

    Args:
        network: The network.
        share: From 0 to below 1.
        images: Images of each forward pass.
        random: Numbers are drawn from it on the CPU, image by image, so that a batch may be passed in parts.

    Source: Srivastava et al., "Dropout", JMLR 15:1929 (2014); one mask over all steps as in Lee et al., "Enabling
    Spike-Based Backpropagation", Front. Neurosci. 14:119 (2020).
    """
    layers = [layer for layer in network.plan[1:] if not isinstance(layer.block, Conv)] if share else []
    handles = [
        network.get_submodule(layer.name).register_forward_pre_hook(_masked_by(mask))
        for layer, mask in zip(layers, _masks(layers, share, images, random), strict=True)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _masks(layers: Sequence[Layer], share: float, images: int, random: torch.Generator) -> list[Tensor]:
    """For each layer what its inputs are multiplied by `(images, ...)`, 0 or 1/(1 - share)."""
    if not layers:
        return []
    sizes = [math.prod(layer.in_shape) for layer in layers]
    factors = (torch.rand((images, sum(sizes)), generator=random) >= share) / (1 - share)
    return [_shaped(own, layer) for own, layer in zip(torch.split(factors, sizes, 1), layers, strict=True)]


def _shaped(mask: Tensor, layer: Layer) -> Tensor:
    """A mask `(images, inputs)` in the shape of the layer's input; maps lie with their channels innermost, as these."""
    if len(layer.in_shape) == 1:
        return mask
    channels, height, width = layer.in_shape
    return mask.view(-1, height, width, channels).permute(0, 3, 1, 2)


def _masked_by(mask: Tensor) -> Callable[[nn.Module, tuple[Tensor]], Tensor]:
    """A hook that multiplies a layer's input `(T * images, ...)` by the mask at each step."""

    def hook(module: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        steps = inputs[0].view(-1, *mask.shape)
        return (steps * mask.to(steps.device)).flatten(0, 1)

    return hook
