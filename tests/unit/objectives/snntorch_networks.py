"""Small snnTorch networks as users write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import snntorch as snn
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn


def lif(beta: float = 0.6, threshold: float = 0.2, **settings: Any) -> Any:
    return snn.Leaky(beta=beta, threshold=threshold, init_hidden=True, **settings)


def seeded(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def small(**settings: Any) -> nn.Module:
    """A `Sequential` as a user writes it, for images (1, 8, 8)."""
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.MaxPool2d(2),
            lif(),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(4 * 4 * 4, 12),
            lif(),
            nn.Linear(12, 10),
            lif(**settings),
        )
    )


class Net(nn.Module):
    """One time step, its layers defined in another order than they run, with functions between them."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * 4 * 4, 10)
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.first = snn.Leaky(beta=0.6, threshold=0.2)  # not init_hidden: returns its membrane as well
        self.last = lif()

    def forward(self, x: Tensor) -> Tensor:
        spikes, _ = self.first(self.conv(x))
        spikes = nnf.max_pool2d(spikes, 2)
        result: Tensor = self.last(self.fc(spikes.flatten(1)))
        return result


def hooks_of(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules())
