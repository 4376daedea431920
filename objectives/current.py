"""What the neurons of a network receive: the currents of its layers, before any pool."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from objectives.network import SpikingNetwork

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
