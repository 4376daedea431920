from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from objectives.activity import predicted, record
from objectives.encoding import encode, generator
from objectives.errors import TrainingError
from tests.unit.objectives.factory import SMALL, make_images, make_labels, make_network
from tests.unit.objectives.oracle import step_by_step

CASES = [
    (SMALL, (1, 8, 8), "before_lif"),
    (SMALL, (1, 8, 8), "after_lif"),
    ("5C3-P2-7C2-MP2-20", (2, 11, 9), "after_lif"),
    ("5C3-AP2-7C3p1-30-20", (2, 9, 7), "before_lif"),
    ("30-20", (1, 5, 4), "before_lif"),
]


@pytest.mark.parametrize(("tokens", "image", "pool"), CASES)
@pytest.mark.parametrize("encoding", ["direct", "rate", "latency"])
def test_activity_equals_a_plain_step_by_step_count(
    tokens: str, image: tuple[int, int, int], pool: str, encoding: Any
) -> None:
    network = make_network(tokens, image, pool=pool, threshold=0.15)
    images, labels = make_images(13, image), make_labels(13)
    activity = record(network, images, labels, encoding=encoding, seed=4, chunk=5)

    signal = encode(images, encoding, network.time_steps, generator(4, "evaluation"))
    steps = signal.expand(network.time_steps, *signal.shape) if encoding == "direct" else signal
    with torch.no_grad():
        outputs, inputs, fired = step_by_step(network, tokens, steps, pool=pool)
    for index, (counts, seen) in enumerate(zip(activity.counts, inputs, strict=True)):
        assert counts.dtype == np.int32
        if index == 0 and encoding == "direct":
            assert counts.shape == (13, network.time_steps, 0)
        elif seen.dim() == 5:
            np.testing.assert_array_equal(counts, seen.sum((3, 4)).permute(1, 0, 2).numpy())
        else:
            np.testing.assert_array_equal(counts, seen.sum(2, keepdim=True).permute(1, 0, 2).numpy())
        np.testing.assert_array_equal(activity.inputs[index], (seen != 0).sum((0, 1)).numpy())
    assert activity.fired == [int(spikes.sum()) for spikes in fired]
    assert activity.places == [spikes.numel() for spikes in fired]
    assert list(activity.firing_rates.values()) == pytest.approx([float(spikes.mean()) for spikes in fired])
    votes = outputs.sum(0).reshape(13, 10, -1).sum(2)
    expected = [max(range(10), key=lambda number: (votes[image][number], -number)) for image in range(13)]
    np.testing.assert_array_equal(activity.correct, np.array(expected) == labels.numpy())


def test_a_pool_behind_the_neurons_is_the_or_of_spikes() -> None:
    network = make_network("3C3-MP2-10", (1, 8, 8), pool="after_lif", threshold=0.1)
    images = make_images(4)
    with torch.no_grad():
        _, _, fired = step_by_step(network, "3C3-MP2-10", images.expand(5, *images.shape), pool="after_lif")
    spikes = fired[0].bool()
    either = spikes[..., ::2, ::2] | spikes[..., 1::2, ::2] | spikes[..., ::2, 1::2] | spikes[..., 1::2, 1::2]
    activity = record(network, images, make_labels(4), encoding="direct", seed=0)
    np.testing.assert_array_equal(activity.counts[1], either.sum((3, 4)).permute(1, 0, 2).numpy())


@pytest.mark.parametrize("encoding", ["direct", "rate", "latency"])
def test_chunks_and_repeats_do_not_matter(encoding: Any) -> None:
    network, images, labels = make_network(), make_images(20), make_labels(20)
    runs = [record(network, images, labels, encoding=encoding, seed=1, chunk=chunk) for chunk in (20, 20, 7, 1)]
    for run in runs[1:]:
        assert all(np.array_equal(one, other) for one, other in zip(runs[0].counts, run.counts, strict=True))
        assert np.array_equal(runs[0].correct, run.correct)
        assert run.fired == runs[0].fired


def test_rate_coding_follows_the_seed() -> None:
    network, images, labels = make_network(), make_images(5), make_labels(5)
    one, other = (record(network, images, labels, encoding="rate", seed=seed).counts[0] for seed in (1, 2))
    assert not np.array_equal(one, other)


def test_ties_go_to_the_lower_class() -> None:
    spikes = torch.zeros(3, 4, 4)  # (T, B, two classes x population 2)
    spikes[0, 1, 3] = 1  # class 1 alone
    spikes[0, 2, 0] = spikes[2, 2, 2] = 1  # one each
    spikes[0, 3, 0] = spikes[:2, 3, 2] = 1  # 1 against 2
    assert predicted(spikes, 2).tolist() == [0, 1, 0, 1]


def test_standard_error_and_silence() -> None:
    network = make_network(threshold=1e6)
    activity = record(network, make_images(10), torch.tensor([0] * 4 + [1] * 6), encoding="direct", seed=0)
    assert activity.accuracy == 0.4  # a silent network says class 0
    assert activity.standard_error == pytest.approx((0.4 * 0.6 / 10) ** 0.5)
    assert activity.silent_layers == ["conv1", "conv2", "fc1", "fc2"]
    assert activity.firing_rate == 0
    assert record(make_network(), make_images(4), make_labels(4), encoding="direct", seed=0).silent_layers == []


def test_no_images() -> None:
    with pytest.raises(TrainingError, match="no images to evaluate"):
        record(make_network(), make_images(0), make_labels(0), encoding="direct", seed=0)
