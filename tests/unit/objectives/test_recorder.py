from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
from torch import Tensor, nn

from hwmodel.accelerator import LayerShape
from hwmodel.errors import AcceleratorError
from hwmodel.simulate import simulate
from objectives.activity import record
from objectives.architecture import Conv, layer_shapes
from objectives.encoding import encode, generator
from objectives.errors import NetworkError
from objectives.network import SpikingNetwork
from objectives.recorder import Recording, record_snntorch
from tests.unit.objectives.factory import SMALL, make_images, make_labels, make_network
from tests.unit.objectives.snntorch_networks import Net, hooks_of, lif, seeded, small

CASES = [
    (SMALL, (1, 8, 8), "before_lif", [2, 2, 4, 2]),
    (SMALL, (1, 8, 8), "after_lif", [2, 2, 4, 2]),
    ("5C3-P2-7C2-MP2-20", (2, 11, 9), "after_lif", [5, 7, 4]),
    ("5C3-AP2-7C3p1-30-20", (2, 9, 7), "before_lif", [1, 1, 3, 2]),
]


def sequential(ours: SpikingNetwork) -> nn.Sequential:
    """The same network, with the same weights, as plain snnTorch."""
    modules: list[nn.Module] = []
    for layer in ours.plan:
        module, cell = ours.get_submodule(layer.name), lif(ours.neuron.beta, ours.neuron.threshold)
        if isinstance(layer.block, Conv):
            pool = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}
            pools = [pool[layer.pool.kind](layer.pool.size)] if layer.pool else []
            modules += [module, *pools, cell] if ours.pool_first else [module, cell, *pools]
        else:
            modules += [nn.Flatten(), plain_linear(module), cell]
    return nn.Sequential(*modules)


def plain_linear(module: nn.Module) -> nn.Linear:
    weights = module.state_dict()
    plain = nn.Linear(*reversed(weights["weight"].shape))
    plain.load_state_dict(weights)
    return plain


def assert_same(recording: Recording, other: Recording) -> None:
    assert recording.shapes == other.shapes
    for counts, expected in zip(recording.counts, other.counts, strict=True):
        np.testing.assert_array_equal(counts, expected)
    np.testing.assert_array_equal(recording.output_spikes, other.output_spikes)


# --- the same as our own networks --------------------------------------------------------------------------------


@pytest.mark.parametrize(("tokens", "image", "pool", "cores"), CASES)
@pytest.mark.parametrize("encoding", ["direct", "rate", "latency"])
def test_a_sequential_is_recorded_as_our_own_network_is(
    tokens: str, image: tuple[int, int, int], pool: str, cores: list[int], encoding: Any
) -> None:
    ours = make_network(tokens, image, pool=pool, threshold=0.15)
    images = make_images(13, image)
    signal = encode(images, encoding, ours.time_steps, generator(4, "evaluation"))
    recording = record_snntorch(
        sequential(ours), signal, time_steps=ours.time_steps if encoding == "direct" else None, chunk=5
    )
    activity = record(ours, images, make_labels(13), encoding=encoding, seed=4)

    assert recording.shapes == layer_shapes(tokens, image)
    assert recording.dense_first == (encoding == "direct")
    assert recording.time_steps == ours.time_steps
    for counts, expected in zip(recording.counts, activity.counts, strict=True):
        assert counts.dtype == np.int32
        np.testing.assert_array_equal(counts, expected)
    assert recording.counts[-1].any()
    with torch.no_grad():
        np.testing.assert_array_equal(recording.output_spikes, ours(signal).sum(0).numpy())
    accelerator = recording.accelerator(cores)
    assert simulate(accelerator, recording.counts).report() == simulate(accelerator, activity.counts).report()


def test_three_lines_give_a_report() -> None:
    recording = record_snntorch(small(), make_images(7), time_steps=5)
    accelerator = recording.accelerator([2, 4, 5])
    text = simulate(accelerator, recording.counts).table()

    assert all(name in text for name in ("conv1", "fc1", "fc2", "p95"))


def test_the_accelerator_takes_its_settings() -> None:
    recording = record_snntorch(small(), make_images(7), time_steps=5)
    accelerator = recording.accelerator([2, 4, 5], clock_hz=50e6, device="xc7z045")
    assert (accelerator.clock_hz, accelerator.device.name, accelerator.time_steps) == (50e6, "xc7z045", 5)
    assert [core.kind for core in accelerator.layers] == ["dense", "fc", "fc"]


# --- counts ------------------------------------------------------------------------------------------------------


def test_pooled_spikes_are_counted_behind_the_pool() -> None:
    """One convolution that copies, so the spikes can be counted by hand."""
    network = nn.Sequential(
        nn.Conv2d(1, 1, 1, bias=False), lif(0.0, 0.5), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4, 2), lif()
    )
    with torch.no_grad():
        network[0].weight.fill_(1.0)
    frames = torch.zeros(2, 1, 1, 4, 4)  # (T, N, C, H, W)
    frames[0, 0, 0, :2, :2] = 1  # four spikes in one window of the pool
    frames[0, 0, 0, 3, 3] = 1
    recording = record_snntorch(network, frames)

    assert recording.counts[0].tolist() == [[[5], [0]]]
    assert recording.counts[1].tolist() == [[[2], [0]]]
    assert recording.shapes == (
        LayerShape("conv1", "conv", in_channels=1, in_frame=16, out_channels=1, out_frame=16, kernel=1),
        LayerShape("fc1", "fc", in_channels=1, in_frame=4, out_channels=2, out_frame=1, kernel=0),
    )


def test_a_real_valued_image_has_no_counts_and_goes_to_the_dense_core() -> None:
    direct = record_snntorch(small(), make_images(3), time_steps=4)
    assert direct.dense_first
    assert direct.counts[0].shape == (3, 4, 0)
    spikes = (make_images(3) > 0.5).float()
    assert record_snntorch(small(), spikes, time_steps=4).dense_first  # a black and white image is an image
    assert not record_snntorch(small(), spikes.expand(4, *spikes.shape)).dense_first


def test_flattened_maps_keep_their_channels_and_features_are_one() -> None:
    recording = record_snntorch(small(), make_images(3), time_steps=4)
    assert [(shape.in_channels, shape.in_frame) for shape in recording.shapes] == [(1, 64), (4, 16), (1, 12)]
    assert [counts.shape for counts in recording.counts] == [(3, 4, 0), (3, 4, 4), (3, 4, 1)]

    dense = nn.Sequential(nn.Flatten(), nn.Linear(2 * 9, 5), lif())
    maps = record_snntorch(dense, torch.ones(4, 3, 2, 3, 3))
    assert (maps.shapes[0].in_channels, maps.shapes[0].in_frame) == (2, 9)
    assert maps.counts[0].tolist() == [[[9, 9]] * 4] * 3
    features = record_snntorch(dense, torch.ones(4, 3, 18))
    assert (features.shapes[0].in_channels, features.shapes[0].in_frame) == (1, 18)
    assert features.counts[0].tolist() == [[[18]] * 4] * 3


@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_chunks_and_repeats_do_not_matter(chunk: int) -> None:
    network, images = small(), make_images(9)
    whole = record_snntorch(network, images, time_steps=6, chunk=9)
    assert whole.output_spikes.any()
    assert_same(record_snntorch(network, images, time_steps=6, chunk=chunk), whole)


@pytest.mark.parametrize("inputs", [make_images(1), torch.ones(1, 1, 1, 8, 8)], ids=["direct", "spikes"])
def test_one_step_of_one_image(inputs: Tensor) -> None:
    recording = record_snntorch(small(), inputs, time_steps=1)
    assert [counts.shape[:2] for counts in recording.counts] == [(1, 1)] * 3
    assert recording.output_spikes.shape == (1, 10)
    assert simulate(recording.accelerator([1, 1, 1]), recording.counts).latency_ms > 0


def test_silence_is_recorded_as_zeros() -> None:
    recording = record_snntorch(small(), torch.zeros(3, 2, 1, 8, 8))
    assert not recording.counts[0].any()
    assert recording.output_spikes.shape == (2, 10)


def test_inputs_of_other_types_are_taken() -> None:
    frames = make_images(3).round().expand(4, 3, 1, 8, 8)
    expected = record_snntorch(small(), frames)
    assert_same(record_snntorch(small(), frames.bool()), expected)
    assert_same(record_snntorch(small(), frames.to(torch.uint8)), expected)


# --- networks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "neuron",
    [
        lambda: snn.Lapicque(beta=0.6, threshold=0.2, init_hidden=True),
        lambda: snn.Synaptic(alpha=0.5, beta=0.6, threshold=0.2, init_hidden=True),
        lambda: snn.Alpha(alpha=0.9, beta=0.6, threshold=0.2, init_hidden=True),
        lambda: lif(reset_mechanism="zero"),
        lambda: lif(learn_beta=True, learn_threshold=True),
    ],
    ids=["Lapicque", "Synaptic", "Alpha", "zero", "learned"],
)
def test_neurons_of_snntorch(neuron: Callable[[], nn.Module]) -> None:
    network = seeded(lambda: nn.Sequential(nn.Linear(6, 8), neuron(), nn.Linear(8, 4), neuron()))
    spikes = torch.ones(5, 3, 6)
    recording = record_snntorch(network, spikes, chunk=2)
    with torch.no_grad():
        expected = torch.stack([network(step) for step in spikes])
    np.testing.assert_array_equal(recording.output_spikes, expected.sum(0).numpy())


def test_the_last_neuron_may_return_its_membrane() -> None:
    images = make_images(3)
    assert_same(
        record_snntorch(small(output=True), images, time_steps=4), record_snntorch(small(), images, time_steps=4)
    )


def test_batch_norm_before_the_neurons_is_frozen() -> None:
    network = seeded(
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), lif(), nn.Flatten(), nn.Linear(108, 4), lif())
    )
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    recording = record_snntorch(network, make_images(4), time_steps=3)
    assert recording.counts[1].any()
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_a_module_of_ones_own_is_recorded_in_the_order_it_runs() -> None:
    recording = record_snntorch(seeded(Net), make_images(5), time_steps=4)
    assert [shape.name for shape in recording.shapes] == ["conv1", "fc1"]
    assert (recording.shapes[0].out_frame, recording.shapes[1].in_channels, recording.shapes[1].in_frame) == (64, 3, 16)
    assert 0 < recording.counts[1].max() <= 16


def test_neurons_before_the_first_layer_encode_the_input() -> None:
    network = seeded(lambda: nn.Sequential(lif(0.9, 1.0), nn.Flatten(), nn.Linear(64, 10), lif()))
    recording = record_snntorch(network, make_images(3), time_steps=6)
    assert not recording.dense_first
    assert recording.counts[0].shape == (3, 6, 1)
    assert len(np.unique(recording.counts[0])) > 1


def test_direct_coding_into_a_linear_layer_is_recorded_and_refused_by_the_accelerator() -> None:
    recording = record_snntorch(nn.Sequential(nn.Linear(6, 4), lif()), torch.rand(3, 6), time_steps=2)
    assert recording.dense_first
    with pytest.raises(AcceleratorError, match="direct coding needs a convolution as first layer; use rate coding"):
        recording.accelerator([2])


# --- the network is left as it was -------------------------------------------------------------------------------


@pytest.mark.parametrize("is_refused", [False, True])
def test_hooks_training_flags_and_hidden_states_are_put_back(is_refused: bool) -> None:
    network = small()
    assert isinstance(network, nn.Sequential)
    network(make_images(2))
    network.train()
    network[4].eval()
    if is_refused:
        network[1], network[2] = network[2], nn.AvgPool2d(2)
    flags = [module.training for module in network.modules()]
    states = [module.mem for module in network if isinstance(module, snn.Leaky)]
    if is_refused:
        with pytest.raises(NetworkError):
            record_snntorch(network, make_images(5), time_steps=4)
    else:
        record_snntorch(network, make_images(5), time_steps=4)

    assert hooks_of(network) == 0
    assert [module.training for module in network.modules()] == flags
    assert all(
        module.mem is state
        for module, state in zip((one for one in network if isinstance(one, snn.Leaky)), states, strict=True)
    )


def test_neurons_of_other_networks_keep_their_state() -> None:
    stranger = small()
    stranger(make_images(2))
    before = [module.mem.clone() for module in stranger.modules() if isinstance(module, snn.Leaky)]
    record_snntorch(small(), make_images(2), time_steps=3)
    after = [module.mem for module in stranger.modules() if isinstance(module, snn.Leaky)]
    assert before[0].any()
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_a_hidden_state_from_before_does_not_matter() -> None:
    network, images = small(), make_images(4)
    fresh = record_snntorch(network, images, time_steps=5)
    network(torch.ones(4, 1, 8, 8))
    assert_same(record_snntorch(network, images, time_steps=5), fresh)
