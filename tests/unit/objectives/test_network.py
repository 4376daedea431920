from __future__ import annotations

import pytest
import snntorch.functional as sf
import torch
from torch import Tensor

from objectives.data import describe
from objectives.encoding import encode, generator
from objectives.errors import NetworkError
from objectives.network import build_network, neuron_of
from objectives.surrogate import Atan, FastSigmoid, Surrogate
from tests.unit.objectives.factory import SMALL, make_images, make_labels, make_network, make_study
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


def test_a_network_that_does_not_fit_is_refused() -> None:
    with pytest.raises(NetworkError, match="the map is 8x8"):
        make_network("4C9-10")
