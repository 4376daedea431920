from __future__ import annotations

import math

import pytest
import torch

from objectives.loss import class_spikes, loss_function


def test_a_class_owns_consecutive_outputs() -> None:
    spikes = torch.tensor([[[1.0, 1.0, 0.0, 0.0, 0.0, 1.0]]])
    assert class_spikes(spikes, 3).tolist() == [[[2.0, 0.0, 1.0]]]


def test_mse_count_by_hand() -> None:
    spikes = torch.tensor([[[1.0, 0.0]], [[1.0, 1.0]]])  # counts 2 and 1; wanted 2 and 0
    assert loss_function("mse_count", 2, 2)(spikes, torch.tensor([0])).item() == pytest.approx((0 + 1) / 2 / 2)


def test_mse_count_with_population_by_hand() -> None:
    spikes = torch.tensor([[[1.0, 1.0, 0.0, 1.0]], [[1.0, 0.0, 0.0, 0.0]]])  # counts 3 and 1; wanted 4 and 0
    assert loss_function("mse_count", 4, 2)(spikes, torch.tensor([0])).item() == pytest.approx((1 + 1) / 2 / 2)


@pytest.mark.parametrize("outputs", [2, 6])
def test_cross_entropies_by_hand(outputs: int) -> None:
    random = torch.Generator().manual_seed(0)
    spikes = torch.randint(0, 2, (5, 1, outputs), generator=random).float()
    votes = spikes.reshape(5, 2, outputs // 2).sum(2)

    def entropy(pair: torch.Tensor) -> float:
        return -math.log(math.exp(pair[1]) / (math.exp(pair[0]) + math.exp(pair[1])))

    label = torch.tensor([1])
    rate, count = (
        loss_function("ce_rate", outputs, 2)(spikes, label),
        loss_function("ce_count", outputs, 2)(spikes, label),
    )
    assert rate.dim() == count.dim() == 0
    assert rate.item() == pytest.approx(sum(entropy(pair) for pair in votes) / 5, rel=1e-5)
    assert count.item() == pytest.approx(entropy(votes.sum(0)), rel=1e-5)
