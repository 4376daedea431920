"""Membranes of the output: those that snnTorch returns, with their gradients."""

from __future__ import annotations

from typing import Any

import pytest
import snntorch
import torch
from torch import Tensor

from objectives.current import watched_currents
from objectives.neuron import Lapicque, Learned, Lif
from objectives.surrogate import Atan
from tests.unit.objectives.factory import make_images, make_network

STEPS = 9


def currents() -> Tensor:
    return torch.randn(STEPS, 4, 5, generator=torch.Generator().manual_seed(0)).add(0.3).requires_grad_()


def snntorchs(cell: Any, current: Tensor) -> Tensor:
    """Membranes of snnTorch's neuron, step by step."""
    membrane, seen = torch.zeros(4, 5), []
    for now in current:
        _, membrane = cell(now, membrane)
        seen.append(membrane)
    return torch.stack(seen)


def check(ours: Tensor, theirs: Tensor, inputs: list[Any]) -> None:
    """Equal membranes, some above the threshold; equal gradients of the inputs."""
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    assert (ours > 0.5).any()
    weights = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1))
    pairs = zip(*(torch.autograd.grad((one * weights).sum(), inputs) for one in (ours, theirs)), strict=True)
    for mine, other in pairs:
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_leaky(reset: Any) -> None:
    current, cell = currents(), snntorch.Leaky(beta=0.8, threshold=0.5, reset_mechanism=reset)
    ours = Lif(0.8, 0.5, Atan(2.0), reset).membranes(current)
    check(ours, snntorchs(cell, current), [current])


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_leaky_that_learns(reset: Any) -> None:
    cell = snntorch.Leaky(beta=0.8, threshold=0.5, reset_mechanism=reset, learn_beta=True, learn_threshold=True)
    current = currents()
    ours = Lif(0.1, 9.0, Atan(2.0), reset).membranes(current, learned=Learned(cell.beta, cell.threshold))
    inputs = [current, cell.beta] + ([cell.threshold] if reset == "subtract" else [])
    check(ours, snntorchs(cell, current), inputs)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_lapicque(reset: Any) -> None:
    current = currents()
    cell = snntorch.Lapicque(beta=0.8, threshold=0.5, reset_mechanism=reset)
    ours = Lapicque.of_beta(0.8, 0.5, Atan(2.0), reset=reset).membranes(current)
    check(ours, snntorchs(cell, current), [current])


def test_the_output_spikes_where_its_membranes_are_above_the_threshold() -> None:
    network, seen = make_network(time_steps=5, threshold=0.2), dict[str, Tensor]()
    with torch.no_grad(), watched_currents(network, ["conv1", "fc2"], seen.__setitem__):
        spikes = network(make_images(6))
        assert seen["conv1"].shape == (6, 4, 8, 8)
        levels = network.neuron.membranes(seen["fc2"].view_as(spikes))
        assert torch.equal((levels > 0.2).float(), spikes)
        assert spikes.any()
    seen.clear()
    network(make_images(1))
    assert not seen
