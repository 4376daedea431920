from __future__ import annotations

from typing import Any

import pytest
import torch
from snntorch.functional import reg

from objectives.regulariser import rate_penalty
from objectives.train import Training
from tests.unit.objectives.factory import make_data, make_images, make_network, make_study


def layers() -> list[torch.Tensor]:
    """Spikes of two hidden layers and the output, `(T, B, ...)`: 1/2 and 1/4 of one image, 1 and 0 of the other."""
    maps, hidden = torch.zeros(2, 2, 1, 2, 2), torch.zeros(2, 2, 4)
    maps[0, 0], hidden[0, 0, :2] = 1, 1
    maps[:, 1] = 1
    return [maps, hidden, torch.ones(2, 2, 10)]


@pytest.mark.parametrize(("target", "wanted"), [(0.0, (0.5 + 0.25 + 1 + 0) / 4), (0.5, (0 + 0.25 + 0.5 + 0.5) / 4)])
def test_the_penalty_by_hand(target: float, wanted: float) -> None:
    assert rate_penalty(layers(), 3.0, target).item() == pytest.approx(3 * wanted)


def test_target_0_is_snntorchs_count_of_spikes_per_neuron_step_and_image() -> None:
    with torch.no_grad():
        spikes = make_network("6C3-10", time_steps=3).forward_all(make_images(4))
    own = float(reg.l1_rate_sparsity(Lambda=2.0)(spikes[0])) / spikes[0].numel()
    assert own > 0
    assert rate_penalty(spikes, 2.0, 0.0).item() == pytest.approx(own, rel=1e-5)


def test_parts_of_a_batch_make_up_its_penalty() -> None:
    with torch.no_grad():
        spikes = make_network(time_steps=3).forward_all(make_images(7))
    parts = [[layer[:, :3] for layer in spikes], [layer[:, 3:] for layer in spikes]]
    sums = 3 * rate_penalty(parts[0], 1.0, 0.1) + 4 * rate_penalty(parts[1], 1.0, 0.1)
    assert sums.item() / 7 == pytest.approx(rate_penalty(spikes, 1.0, 0.1).item(), rel=1e-5)


def test_a_network_without_hidden_layers_costs_nothing() -> None:
    assert rate_penalty([torch.ones(2, 3, 10)], 1.0, 0.0).item() == 0


def trained_rate(**train: Any) -> float:
    fields: dict[str, Any] = {"epochs": 10, "batch": 16, "lr": 0.01, **train}
    study = make_study(network="6C3-MP2-10", threshold=0.3, train=fields, accelerator={"neural_cores": [2, 2]})
    training = Training(study, 3, make_data())
    while not training.finished:
        training.run_epoch(lambda: False)
    with torch.no_grad():
        spikes = training.network.forward_all(make_data().validation.images)
    return float(spikes[0].mean())


def test_the_penalty_draws_the_hidden_layers_to_the_target() -> None:
    free, quiet, lively = (
        trained_rate(),
        trained_rate(rate_penalty=20.0),
        trained_rate(rate_penalty=50.0, target_rate=0.6),
    )
    assert quiet < free / 2
    assert abs(lively - 0.6) < abs(free - 0.6) / 2
