"""The losses: snnTorch's own numbers and gradients where it has the loss, and by hand where it has no population."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import snntorch.functional as sf
import torch
from torch import Tensor

from objectives.loss import class_means, class_spikes, first_spikes, loss_function
from objectives.spec import LossName

OWN: dict[str, Any] = {
    "mse_count": sf.mse_count_loss(correct_rate=1.0, incorrect_rate=0.0),
    "ce_rate": sf.ce_rate_loss(),
    "ce_count": sf.ce_count_loss(),
    "mse_temporal": lambda spikes, labels: sf.mse_temporal_loss(target_is_time=True)(spikes, wanted(labels, spikes)),
    "ce_temporal": sf.ce_temporal_loss(),
    "mse_membrane": sf.mse_membrane_loss(),
    "ce_max_membrane": sf.ce_max_membrane_loss(),
}
"""snnTorch's loss objects by our name."""


def wanted(labels: Tensor, spikes: Tensor) -> Tensor:
    """Step 0 for the label, the last step for other classes: snnTorch's own targets are 0 for all."""
    return (len(spikes) - 1.0) * (1 - torch.nn.functional.one_hot(labels, spikes.shape[2]))


def make_spikes(steps: int, images: int, outputs: int, *, seed: int = 0) -> Tensor:
    """Random spikes `(steps, images, outputs)`, the first neuron of the first image silent."""
    spikes = torch.randint(0, 2, (steps, images, outputs), generator=torch.Generator().manual_seed(seed)).float()
    spikes[:, 0, 0] = 0
    return spikes


def make_membranes(steps: int, images: int, outputs: int) -> Tensor:
    return torch.randn(steps, images, outputs, generator=torch.Generator().manual_seed(0))


def with_gradient(loss: Any, signal: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The loss as a scalar, and its gradient."""
    leaf = signal.clone().requires_grad_()
    value = loss(leaf, labels).squeeze()
    (gradient,) = torch.autograd.grad(value, leaf)
    return value.detach(), gradient


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("name", get_args(LossName))
def test_a_neuron_a_class_gives_the_numbers_of_snntorch(name: LossName, steps: int) -> None:
    make = make_membranes if "membrane" in name else make_spikes
    signal, labels = make(steps, 6, 4), torch.tensor([0, 3, 1, 2, 2, 0])
    value, gradient = with_gradient(loss_function(name, 4, 4), signal, labels)
    its_value, its_gradient = with_gradient(OWN[name], signal, labels)
    assert value.dim() == 0
    assert value.item() == pytest.approx(its_value.item(), rel=1e-6)
    torch.testing.assert_close(gradient, its_gradient, rtol=1e-6, atol=1e-8)
    assert steps == 1 or gradient.abs().max() > 0  # with one step all first spikes are at 0


@pytest.mark.parametrize("name", ["mse_count", "ce_count"])
def test_counts_of_a_population_are_those_of_snntorch(name: LossName) -> None:
    own = {"mse_count": sf.mse_count_loss, "ce_count": sf.ce_count_loss}[name](population_code=True, num_classes=3)
    spikes, labels = make_spikes(5, 4, 12), torch.tensor([2, 0, 1, 1])
    value, gradient = with_gradient(loss_function(name, 12, 3), spikes, labels)
    its_value, its_gradient = with_gradient(own, spikes, labels)
    assert torch.equal(value, its_value)
    assert torch.equal(gradient, its_gradient)


@pytest.mark.parametrize(
    ("name", "of_class"),
    [
        ("ce_rate", class_spikes),
        ("mse_membrane", class_means),
        ("ce_max_membrane", class_means),
    ],
)
def test_another_population_is_snntorch_on_the_signal_of_a_class(name: LossName, of_class: Any) -> None:
    make = make_membranes if "membrane" in name else make_spikes
    signal, labels = make(5, 4, 12), torch.tensor([2, 0, 1, 1])
    value = loss_function(name, 12, 3)(signal, labels)
    assert value.item() == pytest.approx(OWN[name](of_class(signal, 3), labels).item(), rel=1e-6)


@pytest.mark.parametrize("outputs", [3, 12])
@pytest.mark.parametrize("name", get_args(LossName))
def test_parts_of_a_batch_make_up_its_loss(name: LossName, outputs: int) -> None:
    make = make_membranes if "membrane" in name else make_spikes
    signal, labels, loss = make(5, 10, outputs), torch.arange(10) % 3, loss_function(name, outputs, 3)
    parts = [len(part) * loss(signal[:, part], labels[part]) for part in torch.arange(10).split([4, 3, 3])]
    assert sum(parts).item() / 10 == pytest.approx(loss(signal, labels).item(), rel=1e-5)  # type: ignore[union-attr]


def test_a_class_owns_consecutive_outputs() -> None:
    spikes = torch.tensor([[[1.0, 1.0, 0.0, 0.0, 0.0, 1.0]]])
    assert class_spikes(spikes, 3).tolist() == [[[2.0, 0.0, 1.0]]]
    assert class_means(spikes, 3).tolist() == [[[1.0, 0.0, 0.5]]]


def test_first_spikes_by_hand() -> None:
    spikes = torch.tensor([[[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]], [[1.0, 0.0, 1.0]]], requires_grad=True)
    times = first_spikes(spikes)
    assert times.tolist() == [[1.0, 2.0, 0.0]]  # a silent neuron stands at the last step
    (gradient,) = torch.autograd.grad(times.sum(), spikes)
    assert gradient.tolist() == [[[0, 0, -1]], [[-1, 0, 0]], [[0, -1, 0]]]


def test_mse_count_by_hand() -> None:
    spikes = torch.tensor([[[1.0, 0.0]], [[1.0, 1.0]]])  # counts 2 and 1; wanted 2 and 0
    assert loss_function("mse_count", 2, 2)(spikes, torch.tensor([0])).item() == pytest.approx((0 + 1) / 2 / 2)


def test_mse_count_with_population_by_hand() -> None:
    spikes = torch.tensor([[[1.0, 1.0, 0.0, 1.0]], [[1.0, 0.0, 0.0, 0.0]]])  # counts 3 and 1; wanted 4 and 0
    assert loss_function("mse_count", 4, 2)(spikes, torch.tensor([0])).item() == pytest.approx((1 + 1) / 2 / 2)


def test_temporal_losses_with_population_by_hand() -> None:
    spikes = torch.zeros(4, 1, 4)
    spikes[0, 0, 0] = spikes[2, 0, 1] = spikes[1, 0, 2] = 1  # class 0 at (0 + 2) / 2 = 1, class 1 at (1 + 3) / 2 = 2
    label = torch.tensor([0])
    assert loss_function("mse_temporal", 4, 2)(spikes, label).item() == pytest.approx(((1 / 4) ** 2 + (1 / 4) ** 2) / 2)
    assert loss_function("ce_temporal", 4, 2)(spikes, label).item() == pytest.approx(math.log(1 + math.exp(-1)))


@pytest.mark.parametrize("outputs", [2, 6])
def test_cross_entropies_by_hand(outputs: int) -> None:
    spikes = make_spikes(5, 1, outputs)
    votes = spikes.reshape(5, 2, outputs // 2).sum(2)

    def entropy(pair: Tensor) -> float:
        return -math.log(math.exp(pair[1]) / (math.exp(pair[0]) + math.exp(pair[1])))

    label = torch.tensor([1])
    rate, count = (
        loss_function("ce_rate", outputs, 2)(spikes, label),
        loss_function("ce_count", outputs, 2)(spikes, label),
    )
    assert rate.dim() == count.dim() == 0
    assert rate.item() == pytest.approx(sum(entropy(pair) for pair in votes) / 5, rel=1e-5)
    assert count.item() == pytest.approx(entropy(votes.sum(0)), rel=1e-5)
