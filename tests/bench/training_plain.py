"""Plain snnTorch, written as its tutorials do: one loop over time around all layers. What the engine is measured by."""

from __future__ import annotations

import snntorch as snn
import torch
import torch.nn.functional as nnf
from snntorch import surrogate
from torch import Tensor, nn

BETA, THRESHOLD, SLOPE = 0.5, 0.25, 5.0
"""The neuron of every network: it learns the digits, and untrained all layers of all sizes fire, 7 to 42 %."""


def _leaky() -> snn.Leaky:
    return snn.Leaky(beta=BETA, threshold=THRESHOLD, spike_grad=surrogate.fast_sigmoid(slope=SLOPE))


class OneConvNet(nn.Module):
    """`16C3p1-MP2-64-10` on 8x8 images, pooled before the neurons."""

    def __init__(self, time_steps: int) -> None:
        super().__init__()
        self.time_steps = time_steps
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.lif1 = _leaky()
        self.fc1 = nn.Linear(16 * 4 * 4, 64)
        self.lif2 = _leaky()
        self.fc2 = nn.Linear(64, 10)
        self.lif3 = _leaky()

    def forward(self, images: Tensor) -> Tensor:
        """Output spikes `(T, B, 10)` of images `(B, 1, 8, 8)`."""
        mem1, mem2, mem3 = self.lif1.reset_mem(), self.lif2.reset_mem(), self.lif3.reset_mem()
        recorded = []
        for _ in range(self.time_steps):
            cur1 = nnf.max_pool2d(self.conv1(images), 2)
            spk1, mem1 = self.lif1(cur1, mem1)
            cur2 = self.fc1(spk1.flatten(1))
            spk2, mem2 = self.lif2(cur2, mem2)
            cur3 = self.fc2(spk2)
            spk3, mem3 = self.lif3(cur3, mem3)
            recorded.append(spk3)
        return torch.stack(recorded)


class TwoConvNet(nn.Module):
    """`32C3p1-MP2-32C3p1-MP2-256-10` on square images, pooled before the neurons."""

    def __init__(self, channels: int, side: int, time_steps: int) -> None:
        super().__init__()
        self.time_steps = time_steps
        self.conv1 = nn.Conv2d(channels, 32, 3, padding=1)
        self.lif1 = _leaky()
        self.conv2 = nn.Conv2d(32, 32, 3, padding=1)
        self.lif2 = _leaky()
        self.fc1 = nn.Linear(32 * (side // 4) ** 2, 256)
        self.lif3 = _leaky()
        self.fc2 = nn.Linear(256, 10)
        self.lif4 = _leaky()

    def forward(self, images: Tensor) -> Tensor:
        """Output spikes `(T, B, 10)` of images `(B, channels, side, side)`."""
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        mem3, mem4 = self.lif3.reset_mem(), self.lif4.reset_mem()
        recorded = []
        for _ in range(self.time_steps):
            cur1 = nnf.max_pool2d(self.conv1(images), 2)
            spk1, mem1 = self.lif1(cur1, mem1)
            cur2 = nnf.max_pool2d(self.conv2(spk1), 2)
            spk2, mem2 = self.lif2(cur2, mem2)
            cur3 = self.fc1(spk2.flatten(1))
            spk3, mem3 = self.lif3(cur3, mem3)
            cur4 = self.fc2(spk3)
            spk4, mem4 = self.lif4(cur4, mem4)
            recorded.append(spk4)
        return torch.stack(recorded)


def with_weights(plain: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    """The network with the engine's weights, which bear the same names; the neurons have no weights."""
    missing, unknown = plain.load_state_dict({name: one.contiguous() for name, one in weights.items()}, strict=False)
    assert not unknown, unknown
    assert all(name.startswith("lif") for name in missing), missing
    return plain
