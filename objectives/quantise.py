"""Weights of few bits: what the network computes with lies on a grid, what the optimizer moves does not."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from objectives.spec import WeightBits


def quantised(weights: Tensor, bits: WeightBits) -> Tensor:
    """Weights on a symmetric grid of `2^bits - 1` values around 0, one scale for the tensor; 32 bits change nothing.

    The scale is the largest magnitude over `2^(bits-1) - 1`, so that nothing is clipped; zeros stay zeros. As float32,
    in the memory order of `weights`. Its gradient is 1 for every weight (straight through).

    Source: `torch.fake_quantize_per_tensor_affine` with zero point 0.
    """
    if bits == 32:
        return weights
    largest = 2 ** (bits - 1) - 1
    scale = (weights.detach().abs().amax() / largest).clamp_min(torch.finfo(weights.dtype).tiny)
    zero = torch.zeros((), dtype=torch.int32, device=weights.device)
    grid: Tensor = torch.fake_quantize_per_tensor_affine(weights, scale, zero, -largest, largest)
    return grid


class FloatTwins:
    """The parameters that an optimizer moves, beside a network that computes with their quantised weights.

    With 32 bits they are the network's own. With fewer, each weight of a convolution or fully connected layer has a
    float32 twin here; the network holds the twin's quantised value as a plain parameter, so that evaluation and export
    see the weights that the hardware stores. The straight-through gradient of the twin is the gradient of that value.
    Biases stay float32: they are added to membranes, not stored among the weights.

    Attributes:
        parameters: By the network's names, in its order.
    """

    def __init__(self, network: nn.Module, bits: WeightBits) -> None:
        self._bits = bits
        self._stored = dict(network.named_parameters()) if bits == 32 else _weights(network)
        twins = {} if bits == 32 else {name: nn.Parameter(one.detach().clone()) for name, one in self._stored.items()}
        self.parameters = {name: twins.get(name, parameter) for name, parameter in network.named_parameters()}
        self._twins = twins
        self.store()

    def gather(self) -> None:
        """Hand the gradients of the stored weights to their twins."""
        for name, twin in self._twins.items():
            twin.grad, self._stored[name].grad = self._stored[name].grad, None

    def store(self) -> None:
        """Write the twins' quantised values into the network."""
        with torch.no_grad():
            for name, twin in self._twins.items():
                self._stored[name].copy_(quantised(twin, self._bits))

    def state(self) -> dict[str, Tensor]:
        """The twins, by the network's names; empty with 32 bits."""
        return {name: twin.detach() for name, twin in self._twins.items()}

    def restore(self, saved: dict[str, Tensor]) -> None:
        """Set the twins to what `state` gave, and the network with them."""
        with torch.no_grad():
            for name, twin in self._twins.items():
                twin.copy_(saved[name])
        self.store()


def _weights(network: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that the accelerator stores, by name."""
    layers = [name for name, one in network.named_modules() if isinstance(one, (nn.Conv2d, nn.Linear))]
    return {f"{name}.weight": network.get_parameter(f"{name}.weight") for name in layers}
