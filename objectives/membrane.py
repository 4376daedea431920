"""What the neurons of a network receive and hold: the currents of its layers, the membranes of its outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from objectives import kernels
from objectives.network import SpikingNetwork
from objectives.neuron import Learned, Neuron

See = Callable[[str, Tensor], None]
"""Told the name of a layer and the current that its weights give, `(T * B, ...)`, or `(B, ...)` of a still image."""


@contextmanager
def watched_currents(network: SpikingNetwork, names: list[str], see: See) -> Iterator[None]:
    """Tell `see` the input currents of layers, before any pool, in every forward pass inside the block."""

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda module, inputs, current: see(name, current)

    handles = [network.get_submodule(name).register_forward_hook(hook(name)) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def membranes(current: Tensor, neuron: Neuron, learned: Learned) -> Tensor:
    """Membranes `(T, B, neurons)` before reset, of neurons driven by `current` `(T, B, neurons)`.

    Made for the few neurons of an output layer: every step is one for autograd. The reset passes no gradient.

    Args:
        current: What the weights give.
        neuron: The neuron.
        learned: The layer's own leak and threshold, where it learns them.

    Source: the membranes that `snntorch.Leaky` and `snntorch.Lapicque` 1.0.0 return beside their spikes.
    """
    constants = neuron.constants
    decay = constants.decay if learned.beta is None else learned.beta.clamp(0, 1)
    threshold = constants.threshold if learned.threshold is None else learned.threshold
    levels = [torch.zeros_like(current[0])]
    for now in current * math.prod(constants.gains):
        before = levels[-1]
        reset = (before > threshold).to(now.dtype)
        if constants.reset == kernels.SUBTRACT:
            levels.append(decay * before + now - reset * threshold)
        elif constants.reset == kernels.ZERO:
            levels.append(decay * ((1 - reset) * before) + now)
        else:
            levels.append((1 - reset) * (decay * before + now))
    return torch.stack(levels[1:])
