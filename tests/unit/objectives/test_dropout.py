"""Dropout: which inputs it drops, for how long, and that nothing but training sees it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from objectives.dropout import dropped
from objectives.encoding import generator
from objectives.errors import SpecError
from objectives.microbatch import held_bytes
from objectives.network import SpikingNetwork, build_network
from objectives.spec import differences
from objectives.studyfile import parse_study
from objectives.train import Training
from tests.support.studies import STUDY_YAML
from tests.support.studies import make_study as tiny_study
from tests.unit.objectives.factory import make_data, make_images, make_network, make_study

DEEP = "4C3p1-MP2-6C3p1-MP2-40-30-10"
"""Its layers fc1, fc2 and fc3 stand behind others."""


def random(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Inputs:
    """What enters each layer of a network, by the layer's name; register it behind what alters it."""

    def __init__(self, network: SpikingNetwork) -> None:
        self.by_layer: dict[str, list[Tensor]] = {layer.name: [] for layer in network.plan}
        for name, seen in self.by_layer.items():
            network.get_submodule(name).register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))

    def of(self, name: str, images: int) -> Tensor:
        """The only input of a layer, `(T, B, ...)`."""
        (only,) = self.by_layer[name]
        return only.unflatten(0, (-1, images))


def seen(network: SpikingNetwork, images: Tensor, share: float, random: torch.Generator) -> tuple[Inputs, list[Tensor]]:
    """What enters the layers under dropout, and the spikes that they fire."""
    with dropped(network, share, len(images), random):
        inputs = Inputs(network)
        return inputs, network.forward_all(images)


@pytest.mark.parametrize("pool", ["before_lif", "after_lif"])
@pytest.mark.parametrize("share", [0.25, 0.5])
def test_each_input_of_an_image_is_dropped_for_all_steps_or_for_none(share: float, pool: str) -> None:
    images, steps = make_images(200), 5
    inputs, spikes = seen(make_network(DEEP, pool=pool, time_steps=steps), images, share, random())
    fired = dict(zip(inputs.by_layer, spikes, strict=True))
    conv2 = fired["conv2"] if pool == "before_lif" else nn_pool(fired["conv2"])
    for name, handed in (("fc1", conv2), ("fc2", fired["fc1"]), ("fc3", fired["fc2"])):
        entered = inputs.of(name, 200)
        stays = entered.amax(0) > 0
        torch.testing.assert_close(entered, handed * stays / (1 - share))
        alive = handed.amax(0) > 0
        assert (stays & alive).sum() / alive.sum() == pytest.approx(1 - share, abs=0.05)


def nn_pool(spikes: Tensor) -> Tensor:
    return torch.nn.functional.max_pool2d(spikes.flatten(0, 1), 2).unflatten(0, spikes.shape[:2])


def test_convolutions_the_first_layer_and_what_layers_fire_are_left_alone() -> None:
    images = make_images(20)
    inputs, spikes = seen(make_network(DEEP), images, 0.5, random())
    assert torch.equal(inputs.by_layer["conv1"][0], images)
    assert all(set(layer.unique().tolist()) <= {0.0, 1.0} for layer in (*spikes, *inputs.by_layer["conv2"]))
    dense, _ = seen(make_network("12-10"), images, 0.5, random())
    assert torch.equal(dense.by_layer["fc1"][0], images)


def test_the_gradient_passes_through_what_was_not_dropped() -> None:
    network, images = make_network("4C3p1-MP2-12-10"), make_images(20)
    _, spikes = seen(network, images, 0.5, random())
    mine = torch.autograd.grad(spikes[-1].sum(), list(network.parameters()))
    maps, neurons = (torch.rand((20, 64 + 12), generator=random()) >= 0.5).split((64, 12), 1)
    signal = network.forward_all(images)[0]
    for name, stays in (("fc1", maps.reshape(20, 4, 4, 4).permute(0, 3, 1, 2)), ("fc2", neurons)):
        current = network.get_submodule(name)((2 * signal * stays).flatten(0, 1))
        signal = network.neuron.scan(current.unflatten(0, (-1, 20)))
    assert torch.equal(signal, spikes[-1])
    theirs = torch.autograd.grad(signal.sum(), list(network.parameters()))
    assert all(gradient.abs().max() > 0 for gradient in theirs)
    torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("sizes", [[1, 19], [7, 7, 6]])
def test_parts_of_a_batch_drop_what_the_whole_drops(sizes: list[int]) -> None:
    images, drops = make_images(20), random()
    whole, _ = seen(make_network(DEEP), images, 0.5, random())
    parts = [(seen(make_network(DEEP), part, 0.5, drops)[0], len(part)) for part in images.split(sizes)]
    for name in ("fc1", "fc2", "fc3"):
        joined = torch.cat([inputs.of(name, images) for inputs, images in parts], 1)
        assert torch.equal(joined > 0, whole.of(name, 20) > 0)


def test_no_dropout_draws_nothing_and_touches_no_layer() -> None:
    network, drops = make_network(DEEP), random()
    with dropped(network, 0.0, 20, drops):
        assert not any(module._forward_pre_hooks for module in network.modules())
    assert torch.equal(drops.get_state(), random().get_state())


def test_behind_the_block_nothing_is_dropped_also_after_an_error() -> None:
    network, images = make_network(DEEP), make_images(20)
    before = network(images)
    with dropped(network, 0.5, 20, random()):
        assert not torch.equal(network(images), before)
    assert torch.equal(network(images), before)
    with pytest.raises(RuntimeError), dropped(network, 0.5, 20, random()):
        network(images[:19])
    assert torch.equal(network(images), before)


@pytest.mark.parametrize("network", [DEEP, "24-24-10"])
@pytest.mark.parametrize("pool", ["before_lif", "after_lif"])
@pytest.mark.parametrize("steps", [1, 6])
def test_what_is_held_for_the_way_back_stays_within_the_bound(network: str, pool: str, steps: int) -> None:
    study = make_study(network=network, pool=pool, time_steps=steps, threshold=0.3, encoding="rate")
    net, held = build_network(study, make_data().info, 1), dict[int, tuple[int, Tensor]]()

    def keep(tensor: Tensor) -> Tensor:
        held[tensor.untyped_storage().data_ptr()] = (tensor.untyped_storage().nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept), dropped(net, 0.5, 8, random()):
        for spikes in net.forward_all(make_images(8).expand(steps, 8, 1, 8, 8).contiguous()):
            keep(spikes)
    weights = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
    activity = sum(size for place, (size, _) in held.items() if place not in weights)
    assert 0 < activity <= 8 * held_bytes(study, net.plan)


def masks(seed: int = 11, **fields: Any) -> list[bytes]:
    """What stays of the inputs of fc2 in each batch of a training, where every neuron of fc1 fires."""
    study = make_study(
        network="16-10",
        accelerator={"neural_cores": [2, 2]},
        **{**fields, "train": {"epochs": 2, "batch": 48, "lr": 1e-9, "dropout": 0.5, **fields.get("train", {})}},
    )
    training, found = Training(study, seed, make_data()), list[bytes]()
    with torch.no_grad():
        training.network.get_parameter("fc1.bias").fill_(100.0)

    def note(module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if torch.is_grad_enabled():
            found.append((inputs[0].unflatten(0, (study.time_steps, -1))[-1] > 0).numpy().tobytes())
        else:
            assert bool((inputs[0] == 1).all())  # validation

    training.network.get_submodule("fc2").register_forward_hook(note)
    while not training.finished:
        training.run_epoch(lambda: False)
    return found


def test_what_training_drops_is_a_function_of_seed_epoch_and_batch_alone() -> None:
    first = masks()
    assert len(first) == len(set(first)) == 4
    torch.manual_seed(99)
    assert masks() == first
    assert masks(encoding="rate", beta=0.9, train={"optimizer": "sgd", "rate_penalty": 0.1}) == first
    assert b"".join(masks(train={"micro_batch": 10})) == b"".join(first)
    assert not set(masks(12)) & set(first)
    expected = torch.rand((48, 16), generator=generator(11, "dropout", 1, 0)) >= 0.5
    assert first[2] == expected.numpy().tobytes()


def test_dropout_changes_what_is_learned_and_digits_are_still_learned() -> None:
    def trained(share: float) -> tuple[bytes, float]:
        train = {"epochs": 12, "batch": 16, "lr": 0.01, "dropout": share}
        study = make_study(
            network="6C3-MP2-40-10",
            threshold=0.3,
            loss="ce_count",
            train=train,
            accelerator={"neural_cores": [2, 2, 2]},
        )
        training = Training(study, 11, make_data())
        while not training.finished:
            last = training.run_epoch(lambda: False)
        assert last is not None
        return training.weights(), last.accuracy

    (plain, _), (others, accuracy) = trained(0.0), trained(0.3)
    assert plain != others
    assert accuracy > 0.8


def test_at_its_default_it_is_not_in_the_hash() -> None:
    own = {"epochs": 2, "batch": 32, "lr": 5e-3}
    spelled, other = (tiny_study(train={**own, "dropout": share}) for share in (0.0, 0.2))
    assert spelled.frozen_hash() == tiny_study().frozen_hash()
    assert differences(tiny_study(), other) == ["train.dropout: (absent) -> 0.2"]


@pytest.mark.parametrize(
    ("share", "problem"),
    [
        ("1.0", "expected less than 1, got 1"),
        ("-0.1", "expected greater than or equal to 0, got -0.1"),
        (".nan", "expected a finite number, got nan"),
    ],
)
def test_a_share_lies_from_0_to_below_1(share: str, problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_study(STUDY_YAML.replace("lr: 5.0e-3", f"dropout: {share}"))
    assert str(caught.value).startswith(f"study.yaml:7: train.dropout: {problem}")


def test_it_is_a_dimension_of_a_search() -> None:
    study = tiny_study(search={"train.dropout": {"range": [0.0, 0.5]}}, baseline={})
    assert study.baseline_params() == {"train.dropout": 0.0}
    assert study.resolve({"train.dropout": 0.375}).train.dropout == 0.375
    with pytest.raises(SpecError, match=r"search\.train\.dropout: 1\.0 is not valid there"):
        tiny_study(search={"train.dropout": {"range": [0.0, 1.0]}}, baseline={})
