"""Networks and inputs that the recorder refuses, with what to change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import snntorch as snn
import torch
from torch import Tensor, nn

from objectives.errors import NetworkError, TrainingError
from objectives.recorder import record_snntorch
from tests.unit.objectives.factory import make_images
from tests.unit.objectives.snntorch_networks import Net, hooks_of, lif, seeded, small


def two_convolutions(*between: nn.Module, second: nn.Module | None = None) -> nn.Module:
    last = second or nn.Conv2d(4, 4, 3)
    return seeded(lambda: nn.Sequential(nn.Conv2d(1, 4, 3), *between, last, lif()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel_size": (3, 2)}, r"kernel_size is \(3, 2\)"),
        ({"kernel_size": 3, "stride": 2}, r"stride is \(2, 2\)"),
        ({"kernel_size": 3, "dilation": 2}, r"dilation is \(2, 2\)"),
        ({"kernel_size": 3, "groups": 2}, "groups is 2"),
        ({"kernel_size": 3, "padding": 1, "padding_mode": "circular"}, "padding_mode is circular"),
    ],
)
def test_convolutions_that_the_accelerator_cannot_do(settings: dict[str, Any], message: str) -> None:
    network = two_convolutions(lif(), second=nn.Conv2d(4, 4, **settings))
    with pytest.raises(NetworkError, match=rf"conv2 \(module 2\): {message}; .* square kernel, stride 1, dilation 1"):
        record_snntorch(network, make_images(2), time_steps=3)


@pytest.mark.parametrize(
    ("between", "message"),
    [
        ([], "no spiking neuron runs before it; put one there"),
        ([nn.MaxPool2d(2)], "no spiking neuron runs before it; put one there"),
        ([lif(), nn.AvgPool2d(2)], r"AvgPool2d \(module 2\) behind the neurons makes numbers of spikes"),
        ([lif(), nn.Identity(), nn.BatchNorm2d(4)], r"BatchNorm2d \(module 3\) behind the neurons"),
        ([lif(graded_spikes_factor=0.5)], r"Leaky \(module 1\) or a function behind it .* use ungraded spikes"),
    ],
    ids=["nothing", "pool", "average", "norm", "graded"],
)
def test_what_is_no_spike_between_layers(between: list[nn.Module], message: str) -> None:
    with pytest.raises(NetworkError, match=rf"conv2 \(module \d\): its input holds \S+, and only 0 and 1 .* {message}"):
        record_snntorch(two_convolutions(*between), make_images(2), time_steps=3)


def test_nan_is_no_spike() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * float("nan")

    with pytest.raises(NetworkError, match=r"its input holds nan.*Broken \(module 2\) behind the neurons"):
        record_snntorch(two_convolutions(lif(), Broken()), make_images(2), time_steps=3)


def test_an_output_without_neurons() -> None:
    with pytest.raises(NetworkError, match=r"the network's output holds .* no spiking neuron runs before it"):
        record_snntorch(nn.Sequential(nn.Linear(4, 3)), torch.ones(2, 2, 4))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            nn.Sequential(nn.Linear(4, 3), snn.RLeaky(beta=0.5, linear_features=3)),
            r"module 1 \(RLeaky\): .* use one of Leaky, Lapicque",
        ),
        (nn.Sequential(nn.LSTM(4, 3)), r"module 0 \(LSTM\) holds parameters"),
        (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), lif()), r"module 1 \(LayerNorm\) holds parameters"),
        (nn.Sequential(nn.Linear(4, 4), nn.ReLU(), lif()), r"ReLU \(module 1\): the accelerator has"),
        (
            nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, affine=False, track_running_stats=False), lif()),
            r"BatchNorm1d \(module 1\): the accelerator has",
        ),
        (nn.Sequential(nn.Flatten(), lif()), "no Conv2d and no Linear"),
        (nn.Sequential(nn.Linear(5, 3), lif()), r"fc1 \(module 0\): takes inputs \(images, 5\), got \(2, 4\)"),
        (
            nn.Sequential(nn.Linear(4, 3), snn.Leaky(beta=0.5), nn.Linear(3, 3), lif()),
            r"Linear \(module 2\): takes a tensor, got a tuple; give the neurons init_hidden=True",
        ),
    ],
    ids=["recurrent", "lstm", "norm", "relu", "batch", "weightless", "width", "tuple"],
)
def test_networks_that_cannot_be_taken(network: nn.Module, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        record_snntorch(network, torch.ones(3, 2, 4))
    assert hooks_of(network) == 0


class Looping(Net):
    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([super(Looping, self).forward(x) for _ in range(3)])


class Idle(Net):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(10, 2)


class Wide(Net):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2 * 3 * 64, 10)

    def forward(self, x: Tensor) -> Tensor:
        spikes, _ = self.first(self.conv(x))
        result: Tensor = self.last(self.fc(torch.cat([spikes, spikes], dim=1).flatten(1)))
        return result


class Restless(nn.Module):
    """Takes its layers in turns."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs = nn.ModuleList(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), lif()) for _ in range(2))
        self.step = 0

    def forward(self, x: Tensor) -> Tensor:
        self.step += 1
        for pair in (self.pairs[self.step % 2], self.pairs[1 - self.step % 2]):
            x = pair(x)
        return x


class Named(Net):
    def forward(self, x: Tensor) -> Any:
        return {"spikes": super().forward(x)}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (Looping, r"Conv2d \(module conv\): runs twice in a step; .* one time step: the recorder loops"),
        (Idle, r"Linear \(module head\): did not run"),
        (Wide, r"fc1 \(module fc\): takes 384 inputs, but the maps before it are 3 of 64 positions"),
        (Restless, "the layers run in another order than in the first step"),
        (Named, "the network returns a dict"),
    ],
)
def test_modules_of_ones_own_that_cannot_be_taken(build: Callable[[], nn.Module], message: str) -> None:
    network = seeded(build)
    with pytest.raises(NetworkError, match=message):
        record_snntorch(network, make_images(2), time_steps=3)
    assert hooks_of(network) == 0


@pytest.mark.parametrize(
    ("inputs", "time_steps", "message"),
    [
        (make_images(2), None, "time_steps is None; images are repeated at each step"),
        (make_images(2), 0, "time_steps is 0"),
        (make_images(0), 3, "nothing to record; give at least one image"),
        (torch.ones(4, 2, 1, 8, 8), 3, "inputs have 4 steps, but time_steps is 3"),
        (torch.full((4, 2, 1, 8, 8), 0.5), None, r"must be spikes, exactly 0 or 1; .* \(N, C, H, W\)"),
        (torch.ones(8), None, r"inputs have the shape \(8,\); expected images"),
    ],
)
def test_inputs_that_cannot_be_taken(inputs: Tensor, time_steps: int | None, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        record_snntorch(small(), inputs, time_steps=time_steps)
