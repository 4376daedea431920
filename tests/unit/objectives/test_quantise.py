"""Weights of 8 and 4 bits: on torch's grid, trained straight through, seen by everything behind the training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from hwmodel.resources import layer_resources
from hwmodel.simulate import simulate
from objectives.activity import record
from objectives.checkpoint import load_tensors
from objectives.hardware import accelerator_of
from objectives.hardwaresearch import dump, search_accelerators
from objectives.loss import loss_function
from objectives.neurobench import neurobench
from objectives.quantise import quantised
from objectives.score import score_test
from objectives.spec import WeightBits
from objectives.train import Training
from tests.unit.objectives.factory import make_data, make_images, make_labels, make_network, make_study

FIELDS: dict[str, Any] = {
    "network": "6C3-MP2-10", "threshold": 0.3, "loss": "ce_count", "accelerator": {"neural_cores": [2, 2]},
    "train": {"epochs": 3, "batch": 32, "lr": 0.01},
}  # fmt: skip


def trained(epochs: int = 3, **fields: Any) -> Training:
    training = Training(make_study(**{**FIELDS, **fields}), 7, make_data())
    for _ in range(epochs):
        training.run_epoch(lambda: False)
    return training


@pytest.mark.parametrize(("bits", "largest"), [(8, 127), (4, 7)])
def test_the_grid_by_hand(bits: WeightBits, largest: int) -> None:
    weights = torch.tensor([[-2.0, 0.0, 0.011], [1.1, 1.99, 0.4]])
    grid = quantised(weights, bits)
    wanted = [[round(value * largest / 2) * 2 / largest for value in row] for row in weights.tolist()]
    torch.testing.assert_close(grid, torch.tensor(wanted))
    assert len(quantised(torch.linspace(-1, 1, 5001), bits).unique()) == 2 * largest + 1


def test_32_bits_change_nothing_and_zeros_stay_zeros() -> None:
    weights = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    assert quantised(weights, 32) is weights
    assert torch.equal(quantised(torch.zeros(3, 2), 4), torch.zeros(3, 2))


def test_the_gradient_goes_straight_through() -> None:
    weights = torch.randn(30, 20, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (gradient,) = torch.autograd.grad((quantised(weights, 4) * torch.arange(600.0).view(30, 20)).sum(), weights)
    assert torch.equal(gradient, torch.arange(600.0).view(30, 20))


class FakeQuantised(nn.Module):
    """torch's own way: the weight is quantised anew whenever it is read."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        scale = float(weight.detach().abs().max()) / 7
        return torch.fake_quantize_per_tensor_affine(weight, scale, 0, -7, 7)


def test_training_equals_torchs_fake_quantisation_in_the_forward_pass() -> None:
    study, data = make_study(**{**FIELDS, "weight_bits": 4, "train": {**FIELDS["train"], "batch": 96}}), make_data()
    training, plain = Training(study, 7, data), Training(make_study(**FIELDS), 7, data).network
    for module in (plain.conv1, plain.fc1):
        parametrize.register_parametrization(module, "weight", FakeQuantised())
    optimizer = torch.optim.Adam(plain.parameters(), lr=0.01)
    loss = loss_function("ce_count", 10, 10)
    order = training._order()
    assert not training.run_epoch(lambda: True)  # stops after the one batch
    loss(plain(data.train.images[order]), data.train.labels[order]).backward()
    optimizer.step()
    for name in ("conv1", "fc1"):
        ours = training.network.get_submodule(name)
        torch.testing.assert_close(ours.weight, getattr(plain, name).weight, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours.bias, getattr(plain, name).bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bits", [8, 4])
def test_the_network_computes_and_is_exported_with_weights_on_the_grid(bits: WeightBits) -> None:
    training = trained(weight_bits=bits)
    for name, tensor in load_tensors(training.weights()).items():
        torch.testing.assert_close(tensor, training.network.state_dict()[name], rtol=0, atol=0)
        if name.endswith("weight"):
            assert len(tensor.unique()) <= 2**bits - 1
            torch.testing.assert_close(quantised(tensor, bits), tensor)


def test_fewer_bits_still_learn() -> None:
    for bits in (8, 4):
        study = make_study(**{**FIELDS, "weight_bits": bits, "train": {"epochs": 12, "batch": 16, "lr": 0.01}})
        training = Training(study, 7, make_data())
        while not training.finished:
            epoch = training.run_epoch(lambda: False)
        assert epoch is not None
        assert epoch.accuracy > 0.8


def test_exported_weights_score_as_the_network_did() -> None:
    training, data = trained(weight_bits=4), make_data()
    study = make_study(**FIELDS, weight_bits=4)
    scored = score_test(study, training.weights(), data, 7)
    again = record(training.network, data.test.images, data.test.labels, encoding="direct", seed=7)
    assert scored.values["accuracy"] == again.accuracy


def test_few_bits_reach_the_accelerator_and_lower_its_energy_and_memory() -> None:
    layers = "8C3p1-MP2-64-10"
    counts = record(
        make_network(layers, time_steps=4), make_images(5), make_labels(5), encoding="direct", seed=0
    ).counts
    energy, memory, fronts = [], [], []
    for bits in (32, 8, 4):
        study = make_study(network=layers, weight_bits=bits, accelerator={"neural_cores": [1, 1, 1]})
        accelerator = accelerator_of(study)
        energy.append(float(simulate(accelerator, counts).energy_j.mean()))
        memory.append(sum(layer_resources(core, accelerator).bram36 for core in accelerator.layers))
        searching = make_study(network=layers, weight_bits=bits, accelerator={"neural_cores": [1, 1, 1], "search": {}})
        fronts.append(dump(search_accelerators(searching, counts).front))
    assert energy[0] > energy[1] > energy[2]
    assert memory[0] > memory[1] > memory[2]
    assert len(set(fronts)) == 3


def test_few_bits_shrink_the_footprint_alone() -> None:
    network, images = make_network("6C3-MP2-10", time_steps=4), make_images(3)
    activity = record(network, images, make_labels(3), encoding="direct", seed=0)
    weights, biases = 6 * 9 + 54 * 10, 6 + 10
    figures = {bits: neurobench(network, activity, weight_bits=bits) for bits in (32, 8, 4)}
    assert {bits: one.footprint_bytes for bits, one in figures.items()} == {
        32: 4 * (weights + biases), 8: weights + 4 * biases, 4: weights / 2 + 4 * biases,
    }  # fmt: skip
    assert len({(one.effective_macs, one.effective_acs, one.parameters) for one in figures.values()}) == 1
