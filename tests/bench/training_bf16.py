"""The engine with convolutions and dense layers in bf16 and membranes in float32: how fast, and what it costs."""

from __future__ import annotations

import torch
from torch import Tensor

from objectives.network import SpikingNetwork


def in_bf16(net: SpikingNetwork) -> None:
    """From now on the network's weighted layers compute in bf16, and hand on float32.

    Raises:
        RuntimeError: The engine does not call its layers as modules: nothing would change.
    """
    called = [_wrap(net.get_submodule(layer.name)) for layer in net.plan]
    with torch.no_grad():
        net(torch.zeros(1, *net.plan[0].in_shape))
    if not all(called):
        raise RuntimeError("the engine does not call its layers as modules; bf16 cannot be had by wrapping them")


def has_bf16() -> bool:
    """Whether this processor computes in bf16 itself."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _wrap(module: torch.nn.Module) -> list[bool]:
    """A list that is empty until the module is first called."""
    exact, called = module.forward, list[bool]()

    def forward(signal: Tensor) -> Tensor:
        called[:] = [True]
        with torch.autocast("cpu", torch.bfloat16):
            rounded: Tensor = exact(signal)
        return rounded.float()

    module.forward = forward
    return called
