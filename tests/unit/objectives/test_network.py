from __future__ import annotations

import math
from typing import Any

import psutil
import pytest
import snntorch.functional as sf
import torch
from pydantic import ValidationError
from torch import Tensor

from objectives.data import describe
from objectives.encoding import encode, generator
from objectives.errors import NetworkError
from objectives.network import build_network, neuron_of
from objectives.neuron import Lapicque, Lif
from objectives.spec import SurrogateName
from objectives.surrogate import (
    Atan,
    FastSigmoid,
    Sigmoid,
    SpikeRateEscape,
    StraightThrough,
    Surrogate,
    Triangular,
)
from objectives.train import Training
from tests.unit.objectives.factory import SMALL, make_data, make_images, make_labels, make_network, make_study
from tests.unit.objectives.oracle import step_by_step

CASES = [
    (SMALL, (1, 8, 8), "before_lif"),
    (SMALL, (1, 8, 8), "after_lif"),
    ("5C3-AP2-7C3p1-20", (2, 9, 7), "before_lif"),
    ("5C3-P2-7C2-MP2-20", (2, 11, 9), "after_lif"),
    ("5C3-7C3-MP3-20", (3, 11, 11), "before_lif"),
    ("30-20", (1, 5, 4), "before_lif"),
]


def steps_of(images: Tensor, encoding: str, time_steps: int) -> tuple[Tensor, Tensor]:
    """The engine's input and the same input at each step."""
    signal = encode(images, encoding, time_steps, generator(0, "test"))  # type: ignore[arg-type]
    return signal, signal.expand(time_steps, *signal.shape) if signal.dim() == 4 else signal


@pytest.mark.parametrize(("tokens", "image", "pool"), CASES)
@pytest.mark.parametrize("encoding", ["direct", "rate", "latency"])
@pytest.mark.parametrize("seed", range(3))
def test_spikes_and_gradients_equal_plain_snntorch(
    tokens: str, image: tuple[int, int, int], pool: str, encoding: str, seed: int
) -> None:
    surrogates: list[Surrogate] = [FastSigmoid(10.0), Atan(2.0), Atan(5.0)]
    network = make_network(tokens, image, seed=seed, pool=pool, surrogate=surrogates[seed], threshold=0.1)
    images, labels = make_images(6, image, seed=seed), make_labels(6)
    signal, steps = steps_of(images, encoding, network.time_steps)
    loss = sf.mse_count_loss(population_code=network.outputs > 10, num_classes=10)

    spikes = network(signal)
    loss(spikes, labels).backward()
    gradients = [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]
    network.zero_grad()
    expected, _, _ = step_by_step(network, tokens, steps, pool=pool)
    loss(expected, labels).backward()

    assert 0 < spikes.mean() < 1
    assert torch.equal(spikes, expected)
    assert len(gradients) == len(list(network.parameters()))
    for gradient, parameter in zip(gradients, network.parameters(), strict=True):
        assert parameter.grad is not None
        largest = float(parameter.grad.abs().max())
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-4, atol=1e-4 * max(largest, 1e-6))


@pytest.mark.parametrize(("tokens", "image", "pool"), CASES)
def test_without_gradient_the_output_is_the_same(tokens: str, image: tuple[int, int, int], pool: str) -> None:
    network = make_network(tokens, image, pool=pool)
    images = make_images(3, image)
    with torch.no_grad():
        quiet, (recorded, _) = network(images), network.forward_recorded(images)
    assert torch.equal(network(images), quiet)
    assert torch.equal(recorded, quiet)


def test_weights_follow_the_seed_and_leave_the_global_state() -> None:
    study, info = make_study(), describe("digits")
    before = torch.random.get_rng_state()
    first, again, other = (build_network(study, info, seed).state_dict() for seed in (5, 5, 6))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert list(first) == [f"{name}.{kind}" for name in ("conv1", "conv2", "fc1", "fc2") for kind in ("weight", "bias")]
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_the_neuron_takes_the_knob_of_its_surrogate() -> None:
    assert neuron_of(make_study(surrogate="fast_sigmoid", slope=3.0, alpha=9.0)).surrogate == FastSigmoid(3.0)
    assert neuron_of(make_study(surrogate="atan", slope=3.0, alpha=9.0)).surrogate == Atan(9.0)


@pytest.mark.parametrize(
    ("name", "surrogate"),
    [
        ("fast_sigmoid", FastSigmoid(3.0)),
        ("atan", Atan(9.0)),
        ("triangular", Triangular(1.0)),
        ("straight_through", StraightThrough()),
        ("sigmoid", Sigmoid(3.0)),
        ("spike_rate_escape", SpikeRateEscape(3.0, 2.0)),
    ],
)
def test_a_study_names_its_neuron(name: SurrogateName, surrogate: Surrogate) -> None:
    knobs = {"surrogate": name, "slope": 3.0, "alpha": 9.0, "escape": 2.0, "beta": 0.7, "threshold": 0.4}
    assert neuron_of(make_study(**knobs)) == Lif(0.7, 0.4, surrogate)
    assert neuron_of(make_study(**knobs, reset="zero")) == Lif(0.7, 0.4, surrogate, "zero")
    circuit = neuron_of(make_study(**knobs, neuron="lapicque", reset="zero"))
    assert circuit == Lapicque.of_beta(0.7, 0.4, surrogate, reset="zero")
    assert circuit.beta == pytest.approx(
        1 - math.log(1 / 0.7), rel=1e-6
    )  # the Euler step of the circuit, not exp(-1/C)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"learn": ["beta", "beta"]}, "names one twice"),
        ({"learn": ["beta"], "neuron": "lapicque"}, "given by its circuit"),
        ({"beta": 0.0, "neuron": "lapicque"}, "above 0 and below 1"),
        ({"beta": 1.0, "neuron": "lapicque"}, "above 0 and below 1"),
    ],
)
def test_a_study_refuses_a_neuron_that_cannot_be(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make_study(**fields)


def test_fields_of_the_neuron_leave_older_hashes_alone() -> None:
    plain = make_study()
    assert not {"reset", "learn", "escape"} & set(plain.frozen())
    for changed in ({"reset": "zero"}, {"learn": ["threshold"]}, {"escape": 2.0}, {"neuron": "lapicque"}):
        assert make_study(**changed).frozen_hash() != plain.frozen_hash()


VARIANTS = [
    {"reset": "zero"},
    {"neuron": "lapicque"},
    {"neuron": "lapicque", "reset": "zero", "learn": ["threshold"]},
    {"learn": ["beta"]},
    {"learn": ["beta", "threshold"], "reset": "zero"},
    {"surrogate": "triangular"},
    {"surrogate": "spike_rate_escape", "slope": 1.0},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("pool", ["before_lif", "after_lif"])
def test_networks_of_every_neuron_equal_plain_snntorch(variant: dict[str, Any], pool: str) -> None:
    network = build_network(make_study(pool=pool, beta=0.6, threshold=0.08, **variant), describe("digits"), 3)
    images = make_images(6)
    spikes = network(images)
    expected, _, _ = step_by_step(network, SMALL, images.expand(4, *images.shape), pool=pool)
    assert 0 < spikes.mean() < 1
    assert torch.equal(spikes, expected)


def test_each_layer_learns_its_own_numbers() -> None:
    study = make_study(learn=["beta", "threshold"], beta=0.6, threshold=0.3, train={"epochs": 1})
    training = Training(study, 1, make_data())
    training.run_epoch(lambda: False)
    state = training.network.state_dict()
    names = [f"{layer}_neuron.{name}" for layer in ("conv1", "conv2", "fc1", "fc2") for name in study.learn]
    assert set(names) <= set(state)
    assert len({float(state[name]) for name in names} | {0.6, 0.3}) == len(names) + 2
    other = build_network(study, describe("digits"), 9)
    other.load_state_dict(state)
    with torch.no_grad():
        assert torch.equal(other(make_images(8)), training.network(make_images(8)))


@pytest.mark.parametrize("pool", ["before_lif", "after_lif"])
@pytest.mark.parametrize("tokens", ["4C3p1-MP2-10", "4C3-MP2-6C2-10"])
def test_the_compiled_network_equals_the_one_in_torch(tokens: str, pool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of other devices: the same spikes, and counts."""
    network, images = make_network(tokens, (2, 9, 11), pool=pool), make_images(5, (2, 9, 11))
    spikes, records = network.forward_recorded(images)
    everything = network.forward_all(images)
    for module in ("network", "scan"):
        monkeypatch.setattr(f"objectives.{module}.is_compiled", lambda current: False)
    plain, plain_records = network.forward_recorded(images)
    assert torch.equal(spikes, plain)
    assert all(torch.equal(one, other) for one, other in zip(everything, network.forward_all(images), strict=True))
    for one, other in zip(records, plain_records, strict=True):
        assert torch.equal(one.counts, other.counts)
        assert torch.equal(one.inputs, other.inputs)
        assert (one.fired, one.places) == (other.fired, other.places)


@pytest.mark.parametrize("pool", ["before_lif", "after_lif"])
def test_all_spikes_are_those_recorded(pool: str) -> None:
    network, images = make_network(pool=pool), make_images(5)
    spikes, records = network.forward_recorded(images)
    everything = network.forward_all(images)
    assert [int(one.sum()) for one in everything] == [one.fired for one in records]
    assert [one.numel() for one in everything] == [one.places for one in records]
    assert torch.equal(everything[-1], spikes)


@pytest.mark.parametrize("encoding", ["direct", "rate"])
def test_without_gradient_large_batches_run_in_parts(encoding: str) -> None:
    network = make_network(SMALL, (1, 8, 8), threshold=0.1)
    signal, _ = steps_of(make_images(9, (1, 8, 8)), encoding, network.time_steps)
    with torch.no_grad():
        whole = network(signal)
        network.at_once = 4  # 3 + 3 + 3
        assert torch.equal(network(signal), whole)
    assert whole.mean() > 0


def test_a_larger_network_takes_fewer_images_at_once() -> None:
    small, large = make_network(SMALL, (1, 8, 8)), make_network("32C3p1-MP2-32C3p1-10", (3, 32, 32))
    assert large.at_once == 16 * 2**20 // (4 * large.time_steps * 32 * 16 * 16)
    assert small.at_once > 10 * large.at_once


def test_memory_of_inference_does_not_grow_with_the_calls() -> None:
    network, images = make_network("16C3p1-MP2-10", (1, 32, 32)), make_images(32, (1, 32, 32))
    process = psutil.Process()
    with torch.no_grad():
        for _ in range(5):
            network.forward_recorded(images)
        before = process.memory_info().rss
        for _ in range(60):
            network.forward_recorded(images)
    assert process.memory_info().rss - before < 8 * 2**20  # one call alone holds 5 x 32 x 16 x 16 x 16 x 4 B = 2.6 MB


def test_a_network_that_does_not_fit_is_refused() -> None:
    with pytest.raises(NetworkError, match="the map is 8x8"):
        make_network("4C9-10")
