from __future__ import annotations

import numpy as np
import pytest
import snntorch
import torch
from torch import Tensor

from objectives import torchscan
from objectives.neuron import Lapicque, Learned, Lif, Neuron
from objectives.surrogate import (
    Atan,
    FastSigmoid,
    Sigmoid,
    SpikeRateEscape,
    StraightThrough,
    Surrogate,
    Triangular,
)
from tests.unit.objectives.oracle import cell_of, over_time, spike_grad

EXACT: list[Surrogate] = [
    FastSigmoid(25.0), FastSigmoid(0.7), Atan(2.0), Atan(13.3), Triangular(), Triangular(0.3), StraightThrough()
]  # fmt: skip
NEAR: list[Surrogate] = [Sigmoid(25.0), Sigmoid(3.0), SpikeRateEscape(25.0), SpikeRateEscape(2.0, 7.0)]
NEURONS: list[Neuron] = [
    *(Lif(beta, threshold, Atan(2.0), reset) for beta, threshold in [(0.25, 1.0), (0.95, 0.3), (0.0, 0.5), (1.0, 1.7)]
      for reset in ("subtract", "zero")),
    *(Lapicque.of_beta(beta, 0.4, FastSigmoid(9.0), reset=reset) for beta in (0.2, 0.9)
      for reset in ("subtract", "zero")),
    *(Lapicque(5.1, 0.7, 0.4, Atan(3.0), time_step=0.3, reset=reset) for reset in ("subtract", "zero")),
]  # fmt: skip


def both(neuron: Neuron, current: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Spikes and input gradients of ours and of snnTorch under the same outer gradient."""
    outer = torch.randn(current.shape, generator=torch.Generator().manual_seed(9))
    ours, theirs = current.clone().requires_grad_(), current.clone().requires_grad_()
    our_spikes, their_spikes = neuron.scan(ours), over_time(cell_of(neuron), theirs)
    (our_gradient,) = torch.autograd.grad(our_spikes, ours, outer)
    (their_gradient,) = torch.autograd.grad(their_spikes, theirs, outer)
    return our_spikes, their_spikes, our_gradient, their_gradient


def randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def bits(one: Tensor) -> np.ndarray:  # type: ignore[type-arg]
    return one.detach().contiguous().numpy().view(np.int32)


@pytest.mark.parametrize("surrogate", EXACT, ids=str)
@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("beta", "threshold"), [(0.25, 1.0), (0.95, 0.3)])
def test_bit_equal_to_snntorch(surrogate: Surrogate, reset: str, seed: int, beta: float, threshold: float) -> None:
    neuron = Lif(beta, threshold, surrogate, reset)  # type: ignore[arg-type]
    ours, theirs, our_gradient, their_gradient = both(neuron, randn(12, 3, 37, seed=seed))
    assert 0 < ours.mean() < 1
    assert torch.equal(ours, theirs)
    np.testing.assert_array_equal(bits(our_gradient), bits(their_gradient))


@pytest.mark.parametrize("neuron", NEURONS, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_every_neuron_is_bit_equal_to_snntorch(neuron: Neuron, seed: int) -> None:
    ours, theirs, our_gradient, their_gradient = both(neuron, 2 * randn(12, 3, 37, seed=seed))
    assert 0 < ours.mean() < 1
    assert torch.equal(ours, theirs)
    assert torch.equal(our_gradient, their_gradient)


def test_lapicque_of_beta_is_snntorchs() -> None:
    current = 2 * randn(12, 3, 37, seed=0)
    theirs = over_time(snntorch.Lapicque(beta=0.7, threshold=0.4), current)
    assert 0 < theirs.mean() < 1
    assert torch.equal(Lapicque.of_beta(0.7, 0.4, Atan(2.0)).scan(current), theirs)


def ulps(one: Tensor, other: Tensor) -> int:
    """Largest distance in steps of float32."""
    ours, theirs = (
        np.where(b < 0, -(2**31) - b.astype(np.int64), b.astype(np.int64)) for b in (bits(one), bits(other))
    )
    return int(np.abs(ours - theirs).max())


@pytest.mark.parametrize("surrogate", NEAR, ids=str)
@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_exponential_surrogates_are_within_4_ulp_where_snntorch_is_finite(surrogate: Surrogate, reset: str) -> None:
    current, outer = torch.linspace(-60, 60, 200_001).reshape(1, 1, -1), torch.tensor(0.7).expand(1, 1, 200_001)
    ours, theirs = current.clone().requires_grad_(), current.clone().requires_grad_()
    neuron = Lif(0.5, 0.5, surrogate, reset)  # type: ignore[arg-type]
    (our_gradient,) = torch.autograd.grad(neuron.scan(ours), ours, outer)
    (their_gradient,) = torch.autograd.grad(over_time(cell_of(neuron), theirs), theirs, outer)
    finite = their_gradient.isfinite()
    assert our_gradient.isfinite().all()
    assert finite.float().mean() > 0.5
    assert ulps(our_gradient[finite], their_gradient[finite]) <= 4


def test_sigmoid_stays_finite_where_snntorch_does_not() -> None:
    current = torch.tensor([[-9.0]])
    ours, theirs = current.clone().requires_grad_(), current.clone().requires_grad_()
    neuron = Lif(0.5, 1.0, Sigmoid(25.0))
    (our_gradient,) = torch.autograd.grad(neuron.scan(ours).sum(), ours)
    (their_gradient,) = torch.autograd.grad(over_time(cell_of(neuron), theirs).sum(), theirs)
    assert their_gradient.isnan().all()
    assert our_gradient.item() == 0


@pytest.mark.parametrize("surrogate", NEAR, ids=str)
@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_exponential_surrogates_over_time(surrogate: Surrogate, reset: str) -> None:
    neuron = Lif(0.6, 0.5, surrogate, reset)  # type: ignore[arg-type]
    ours, theirs, our_gradient, their_gradient = both(neuron, 0.3 + 0.3 * randn(12, 3, 37, seed=1))
    assert torch.equal(ours, theirs)
    torch.testing.assert_close(our_gradient, their_gradient, rtol=2e-6, atol=1e-6 * float(their_gradient.abs().max()))


@pytest.mark.parametrize("surrogate", EXACT, ids=str)
@pytest.mark.parametrize("level", [-3.0, 0.0, 5.0], ids=["silent", "zero", "all-firing"])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_edges_are_bit_equal_to_snntorch(surrogate: Surrogate, level: float, steps: int) -> None:
    ours, theirs, our_gradient, their_gradient = both(Lif(0.5, 1.0, surrogate), torch.full((steps, 2, 5), level))
    assert set(ours.flatten().tolist()) == {1.0 if level > 1 else 0.0}
    assert torch.equal(ours, theirs)
    assert torch.equal(our_gradient, their_gradient)


def test_the_threshold_itself_does_not_fire() -> None:
    assert Lif(0.5, 1.0, Atan(2.0)).scan(torch.tensor([[1.0], [0.5], [0.76]])).flatten().tolist() == [0.0, 0.0, 1.0]


def test_nan_is_silent_and_its_gradient_is_nan() -> None:
    current = torch.tensor([[float("nan")], [2.0]]).requires_grad_()
    spikes = Lif(0.5, 1.0, Atan(2.0)).scan(current)
    (gradient,) = torch.autograd.grad(spikes.sum(), current)
    assert spikes.flatten().tolist() == [0.0, 0.0]
    assert gradient.isnan().all()


@pytest.mark.parametrize("surrogate", EXACT, ids=str)
def test_maps_in_channels_last_order(surrogate: Surrogate) -> None:
    maps = randn(6 * 3, 5, 7, 3, seed=4).contiguous(memory_format=torch.channels_last)
    ours, theirs, our_gradient, their_gradient = both(Lif(0.7, 0.4, surrogate), maps.view(6, 3, 5, 7, 3))
    assert torch.equal(ours, theirs)
    assert torch.equal(our_gradient, their_gradient)
    assert ours.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("neuron", NEURONS, ids=str)
@pytest.mark.parametrize("steps", [1, 8, 40])
def test_constant_current_equals_the_repeated_one(neuron: Neuron, steps: int) -> None:
    current = randn(4, 9, seed=5)
    one, repeated = current.clone().requires_grad_(), current.expand(steps, 4, 9).clone().requires_grad_()
    spikes, expected = neuron.scan(one, constant_steps=steps), neuron.scan(repeated)
    weights = randn(steps, 4, 9, seed=6)
    (gradient,) = torch.autograd.grad(spikes, one, weights)
    (by_step,) = torch.autograd.grad(expected, repeated, weights)
    assert torch.equal(spikes, expected)
    torch.testing.assert_close(gradient, by_step.sum(0), rtol=1e-5, atol=1e-5)


def test_steps_are_summed_as_torch_sums_them() -> None:
    current, weights = randn(64, seed=5).expand(40, 64).clone().requires_grad_(), randn(40, 64, seed=6)
    one = current.detach()[0].clone().requires_grad_()
    lif = Lif(0.6, 0.5, Atan(2.0))
    (by_step,) = torch.autograd.grad(lif.scan(current.unsqueeze(1)).squeeze(1), current, weights)
    (gradient,) = torch.autograd.grad(lif.scan(one.unsqueeze(0), constant_steps=40).squeeze(1), one, weights)
    assert torch.equal(gradient, by_step.sum(0))


@pytest.mark.parametrize("neuron", NEURONS, ids=str)
@pytest.mark.parametrize("surrogate", [*EXACT, *NEAR], ids=str)
def test_the_reference_in_torch_agrees(neuron: Neuron, surrogate: Surrogate) -> None:
    neuron = type(neuron)(**{**vars_of(neuron), "surrogate": surrogate})
    current = 2 * randn(7, 3, 11, seed=2)
    ours, plain = current.clone().requires_grad_(), current.clone().requires_grad_()
    spikes, expected = neuron.scan(ours), torchscan.spikes(plain, None, neuron.constants, None, None)
    outer = randn(7, 3, 11, seed=3)
    (gradient,) = torch.autograd.grad(spikes, ours, outer)
    (by_torch,) = torch.autograd.grad(expected, plain, outer)
    assert torch.equal(spikes, expected)
    if surrogate in EXACT:
        assert torch.equal(gradient, by_torch)
    torch.testing.assert_close(gradient, by_torch, rtol=2e-6, atol=1e-6 * float(by_torch.abs().max()))


def vars_of(neuron: Neuron) -> dict[str, object]:
    return {name: getattr(neuron, name) for name in neuron.__dataclass_fields__}


@pytest.mark.parametrize("neuron", NEURONS[-4:], ids=str)
def test_float64_takes_the_reference(neuron: Neuron) -> None:
    current = randn(7, 3, 11, seed=2).double().requires_grad_()
    spikes = neuron.scan(current)
    assert spikes.dtype == torch.float64
    (gradient,) = torch.autograd.grad(spikes.sum(), current)
    assert gradient.dtype == torch.float64


LEARNED = [
    (beta, threshold)
    for beta in (None, 0.4, 0.97, 1.3, -0.2)
    for threshold in (None, 0.6, -0.3)
    if (beta, threshold) != (None, None)
]


@pytest.mark.parametrize(("beta", "threshold"), LEARNED)
@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("compiled", [True, False])
def test_learned_numbers_get_snntorchs_gradients(
    beta: float | None, threshold: float | None, reset: str, constant: bool, compiled: bool
) -> None:
    learned = Learned(*(None if one is None else torch.tensor(one).requires_grad_() for one in (beta, threshold)))
    neuron = Lif(0.5, 0.3, Atan(2.0), reset)  # type: ignore[arg-type]
    current = randn(1, 4, 31, seed=1).expand(9, 4, 31) if constant else randn(9, 4, 31, seed=1)
    outer, cell = randn(9, 4, 31, seed=2), cell_of(neuron, learned)
    steps = 9 if constant else None
    ours = current[0] if constant else current
    spikes = (
        neuron.scan(ours, constant_steps=steps, learned=learned)
        if compiled
        else torchscan.spikes(ours, steps, neuron.constants, *learned)
    )
    expected = over_time(cell, current)
    assert torch.equal(spikes, expected)
    spikes.backward(outer)
    expected.backward(outer)
    for own, name in zip(learned, Learned._fields, strict=True):
        if own is not None:
            theirs = getattr(cell, name).grad
            assert own.grad is not None
            torch.testing.assert_close(own.grad, theirs, rtol=1e-4, atol=1e-4)
            assert (float(own.grad) == 0) == (name == "beta" and not 0 <= float(own.detach()) <= 1)


def test_a_circuits_threshold_is_learned() -> None:
    neuron = Lapicque.of_beta(0.7, 0.4, Atan(2.0))
    for reset in ("subtract", "zero"):
        learned = Learned(threshold=torch.tensor(0.6).requires_grad_())
        neuron = Lapicque.of_beta(0.7, 0.4, Atan(2.0), reset=reset)  # type: ignore[arg-type]
        cell, current = cell_of(neuron, learned), 2 * randn(9, 4, 31, seed=1)
        neuron.scan(current, learned=learned).sum().backward()
        over_time(cell, current).sum().backward()
        assert learned.threshold is not None
        assert learned.threshold.grad is not None
        torch.testing.assert_close(learned.threshold.grad, cell.threshold.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("neuron", NEURONS, ids=str)
def test_membranes_are_snntorchs(neuron: Neuron) -> None:
    current, cell = 2 * randn(9, 4, 31, seed=1), cell_of(neuron)
    ours, theirs = current.clone().requires_grad_(), current.clone().requires_grad_()
    membrane, expected = torch.zeros(0), []
    for x in theirs:
        _, membrane = cell(x, membrane)
        expected.append(membrane)
    levels = neuron.membranes(ours)
    assert torch.equal(levels, torch.stack(expected))
    assert torch.equal((levels > neuron.threshold).float(), neuron.scan(current))
    (gradient,) = torch.autograd.grad(levels.sum(), ours)
    (by_cell,) = torch.autograd.grad(torch.stack(expected).sum(), theirs)
    torch.testing.assert_close(gradient, by_cell)


def test_without_gradient_the_spikes_are_the_same() -> None:
    current, lif = randn(9, 4, 11, seed=7), Lif(0.8, 0.4, Atan(2.0))
    assert torch.equal(lif.scan(current), lif.scan(current.clone().requires_grad_()))


def test_the_current_is_left_alone() -> None:
    current = randn(5, 2, 3, seed=8)
    kept, traced = current.clone(), current.clone().requires_grad_()
    Lif(0.8, 0.4, Atan(2.0)).scan(current)
    torch.autograd.grad(Lif(0.8, 0.4, Atan(2.0)).scan(traced).sum(), traced)
    assert torch.equal(current, kept)
    assert torch.equal(traced.detach(), kept)


@pytest.mark.parametrize("neuron", [NEURONS[0], NEURONS[-1]], ids=str)
def test_only_the_current_is_kept_for_the_backward_pass(neuron: Neuron) -> None:
    current, kept = randn(5, 2, 3, seed=8).requires_grad_(), list[Tensor]()
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda one: one):
        neuron.scan(current)
    assert [one.data_ptr() for one in kept] == [current.data_ptr()]


def test_the_backward_pass_can_be_repeated() -> None:
    current = randn(5, 2, 3, seed=8).requires_grad_()
    spikes = Lif(0.8, 0.4, Atan(2.0)).scan(current)
    (first,) = torch.autograd.grad(spikes.sum(), current, retain_graph=True)
    (again,) = torch.autograd.grad(spikes.sum(), current)
    assert torch.equal(first, again)


def test_beta_is_clamped_as_in_snntorch() -> None:
    current = torch.rand(6, 2, 3, generator=torch.Generator().manual_seed(8))
    theirs = over_time(snntorch.Leaky(beta=1.4, threshold=0.5, spike_grad=spike_grad(Atan(2.0))), current)
    assert torch.equal(Lif(1.4, 0.5, Atan(2.0)).scan(current), theirs)
