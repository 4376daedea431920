from __future__ import annotations

import pytest
import torch
from torch import Tensor

from objectives.neuron import Lif
from objectives.surrogate import Atan, FastSigmoid, Surrogate
from tests.unit.objectives.oracle import leaky

SURROGATES = [FastSigmoid(25.0), FastSigmoid(0.7), Atan(2.0), Atan(13.3)]


def plain(current: Tensor, beta: float, threshold: float, surrogate: Surrogate) -> Tensor:
    cell, membrane, spikes = leaky(beta, threshold, surrogate), torch.zeros(0), []
    for x in current:
        spike, membrane = cell(x, membrane)
        spikes.append(spike)
    return torch.stack(spikes)


def both(current: Tensor, beta: float, threshold: float, surrogate: Surrogate) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Spikes and input gradients of ours and of snnTorch under the same outer gradient."""
    outer = torch.randn(current.shape, generator=torch.Generator().manual_seed(9))
    ours, theirs = current.clone().requires_grad_(), current.clone().requires_grad_()
    our_spikes = Lif(beta, threshold, surrogate).scan(ours)
    their_spikes = plain(theirs, beta, threshold, surrogate)
    (our_gradient,) = torch.autograd.grad(our_spikes, ours, outer)
    (their_gradient,) = torch.autograd.grad(their_spikes, theirs, outer)
    return our_spikes, their_spikes, our_gradient, their_gradient


@pytest.mark.parametrize("surrogate", SURROGATES, ids=str)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("beta", "threshold"), [(0.25, 1.0), (0.95, 0.3), (0.0, 0.5), (1.0, 1.7)])
def test_bit_equal_to_snntorch(surrogate: Surrogate, seed: int, beta: float, threshold: float) -> None:
    current = torch.randn(12, 3, 37, generator=torch.Generator().manual_seed(seed))
    ours, theirs, our_gradient, their_gradient = both(current, beta, threshold, surrogate)
    assert 0 < ours.mean() < 1
    assert torch.equal(ours, theirs)
    assert torch.equal(our_gradient, their_gradient)


@pytest.mark.parametrize("surrogate", SURROGATES, ids=str)
@pytest.mark.parametrize("level", [-3.0, 0.0, 5.0], ids=["silent", "zero", "all-firing"])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_edges_are_bit_equal_to_snntorch(surrogate: Surrogate, level: float, steps: int) -> None:
    ours, theirs, our_gradient, their_gradient = both(torch.full((steps, 2, 5), level), 0.5, 1.0, surrogate)
    assert set(ours.flatten().tolist()) == {1.0 if level > 1 else 0.0}
    assert torch.equal(ours, theirs)
    assert torch.equal(our_gradient, their_gradient)


def test_the_threshold_itself_does_not_fire() -> None:
    assert Lif(0.5, 1.0, Atan(2.0)).scan(torch.tensor([[1.0], [0.5], [0.76]])).flatten().tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("surrogate", SURROGATES, ids=str)
def test_maps_in_channels_last_order(surrogate: Surrogate) -> None:
    random = torch.Generator().manual_seed(4)
    maps = torch.randn(6 * 3, 5, 7, 3, generator=random).contiguous(memory_format=torch.channels_last)
    current = maps.view(6, 3, 5, 7, 3)
    ours, theirs, our_gradient, their_gradient = both(current, 0.7, 0.4, surrogate)
    assert torch.equal(ours, theirs)
    assert torch.equal(our_gradient, their_gradient)
    assert ours.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("surrogate", SURROGATES, ids=str)
def test_constant_current_equals_the_repeated_one(surrogate: Surrogate) -> None:
    current = torch.randn(4, 9, generator=torch.Generator().manual_seed(5))
    one, repeated = current.clone().requires_grad_(), current.expand(8, 4, 9).clone().requires_grad_()
    lif = Lif(0.6, 0.5, surrogate)
    spikes, expected = lif.scan(one, constant_steps=8), lif.scan(repeated)
    weights = torch.randn(8, 4, 9, generator=torch.Generator().manual_seed(6))
    (gradient,) = torch.autograd.grad(spikes, one, weights)
    (by_step,) = torch.autograd.grad(expected, repeated, weights)
    assert torch.equal(spikes, expected)
    torch.testing.assert_close(gradient, by_step.sum(0), rtol=1e-6, atol=1e-6)


def test_without_gradient_the_spikes_are_the_same() -> None:
    current = torch.randn(9, 4, 11, generator=torch.Generator().manual_seed(7))
    lif = Lif(0.8, 0.4, Atan(2.0))
    assert torch.equal(lif.scan(current), lif.scan(current.clone().requires_grad_()))


def test_the_current_is_left_alone() -> None:
    current = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(8))
    kept, traced = current.clone(), current.clone().requires_grad_()
    Lif(0.8, 0.4, Atan(2.0)).scan(current)
    torch.autograd.grad(Lif(0.8, 0.4, Atan(2.0)).scan(traced).sum(), traced)
    assert torch.equal(current, kept)
    assert torch.equal(traced.detach(), kept)


def test_beta_is_clamped_as_in_snntorch() -> None:
    current = torch.rand(6, 2, 3, generator=torch.Generator().manual_seed(8))
    assert torch.equal(Lif(1.4, 0.5, Atan(2.0)).scan(current), plain(current, 1.4, 0.5, Atan(2.0)))
