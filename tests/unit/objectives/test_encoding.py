from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as nnf
from snntorch import spikegen
from torch import Tensor

from hwmodel.accelerator import build_accelerator
from hwmodel.simulate import simulate
from objectives.activity import record
from objectives.architecture import layer_shapes
from objectives.encoding import encode, events, generator, is_binary, latency, rate, standardised
from objectives.errors import TrainingError
from objectives.network import SpikingNetwork
from tests.unit.objectives.factory import make_images, make_labels, make_network


def make_events(count: int, steps: int, image: tuple[int, int, int], *, seed: int = 6) -> Tensor:
    """Event frames (N, T, C, H, W) of 0 and 1, as a sensor with two polarities gives them."""
    return (torch.rand(count, steps, *image, generator=torch.Generator().manual_seed(seed)) < 0.3).float()


@pytest.mark.parametrize("steps", [1, 2, 5, 18])
def test_latency_equals_snntorch(steps: int) -> None:
    images = make_images(7)
    images[0, 0, 0, :4] = torch.tensor([0.0, 0.009, 0.01, 1.0])
    if steps == 1:  # snnTorch refuses a single step (tau would be 0): every pixel that is not dark fires in it
        assert torch.equal(latency(images, 1), (images >= 0.01).float().unsqueeze(0))
        return
    assert torch.equal(
        latency(images, steps), spikegen.latency(images, num_steps=steps, linear=True, normalize=True, clip=True)
    )


def test_direct_is_the_image() -> None:
    images = make_images(3)
    assert encode(images, "direct", 5, generator(0)) is images


def test_rate_fires_with_the_pixel_as_probability() -> None:
    images = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0, 1.7, -0.3]).reshape(1, 1, 1, 7)
    spikes = rate(images, 4000, generator(3))
    assert spikes.shape == (4000, 1, 1, 1, 7)
    assert set(spikes.flatten().tolist()) == {0.0, 1.0}
    means = spikes.mean(0).flatten()
    assert means[[0, 4, 5, 6]].tolist() == [0.0, 1.0, 1.0, 0.0]
    torch.testing.assert_close(means[1:4], images.flatten()[1:4], atol=0.03, rtol=0)


def test_rate_does_not_depend_on_the_chunks() -> None:
    images = make_images(11)
    whole = rate(images, 6, generator(1, "evaluation"))
    random = generator(1, "evaluation")
    parts = torch.cat([rate(images[start : start + 4], 6, random) for start in range(0, 11, 4)], dim=1)
    assert torch.equal(whole, parts)


def test_generators_are_keyed() -> None:
    keys = [(0,), (1,), (0, 1), (0, "evaluation"), (0, "train", 1, 0), (0, "train", 0, 1), (0, "train", 10)]
    draws = [torch.rand(4, generator=generator(*key)) for key in keys]  # type: ignore[arg-type]
    assert len({tuple(draw.tolist()) for draw in draws}) == len(keys)
    assert torch.equal(draws[3], torch.rand(4, generator=generator(0, "evaluation")))


def test_event_frames_pass_through() -> None:
    frames = make_events(3, 5, (2, 4, 4))
    spikes = encode(frames, "events", 5, generator(0))
    assert spikes.shape == (5, 3, 2, 4, 4)
    assert torch.equal(spikes[4, 1], frames[1, 4])
    assert spikes.dtype == torch.float32
    assert torch.equal(events(frames.to(torch.uint8), 5), spikes)
    assert not encode(torch.zeros(2, 5, 2, 4, 4), "events", 5, generator(0)).any()


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (torch.full((2, 5, 2, 4, 4), 2.0), "must hold 0 or 1"),
        (torch.full((2, 5, 2, 4, 4), float("nan")), "must hold 0 or 1"),
        (torch.ones(2, 6, 2, 4, 4), "there are 6 event frames, the network has 5 steps; give one frame for each step"),
        (torch.ones(2, 4, 2, 4, 4), "there are 4 event frames, the network has 5 steps"),
        (torch.ones(2, 0, 2, 4, 4), "there are 0 event frames"),
        (torch.ones(2, 2, 4, 4), r"have the shape \(2, 2, 4, 4\); expected \(images, T, C, H, W\)"),
    ],
)
def test_event_frames_that_do_not_fit(frames: Tensor, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        encode(frames, "events", 5, generator(0))


def test_more_frames_than_steps_are_joined_by_neighbours() -> None:
    frames = make_events(3, 6, (2, 4, 4)).to(torch.uint8)
    spikes = encode(frames, "events", 3, generator(0))
    assert spikes.dtype == torch.float32
    for step in range(3):
        assert torch.equal(spikes[step], (frames[:, 2 * step] | frames[:, 2 * step + 1]).float())


def test_standardised_images_have_no_mean_and_unit_deviation() -> None:
    images = make_images(50, (3, 6, 6)) * torch.tensor([1.0, 0.5, 0.1]).view(3, 1, 1)
    mean, std = images.mean((0, 2, 3)), images.std((0, 2, 3), correction=0)
    entered = standardised(images, mean.tolist(), std.tolist())
    torch.testing.assert_close(entered.mean((0, 2, 3)), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(entered.std((0, 2, 3), correction=0), torch.ones(3))
    assert torch.equal(standardised(images, [0.0] * 3, [1.0] * 3), images)


def test_what_is_binary() -> None:
    assert is_binary(torch.tensor([0.0, 1.0, -0.0]))
    assert is_binary(torch.zeros(0))
    assert not is_binary(torch.tensor([0.0, 1.0 - 1e-6]))
    assert not is_binary(torch.tensor([-1.0]))


def counted_by_hand(network: SpikingNetwork, steps: Tensor, *, pool_first: bool) -> tuple[Tensor, Tensor]:
    """Spikes into conv1 and fc1 of `3C3-MP2-10`, (B, T, channels) each; conv1's neurons written out."""
    conv, theta = network.get_submodule("conv1"), network.neuron.threshold
    into_conv, into_fc = [], []
    membrane = reset = torch.zeros(())
    for x in steps:
        current = conv(x)
        if pool_first:
            current = nnf.max_pool2d(current, 2)
        membrane = network.neuron.beta * membrane + current - theta * reset
        reset = spikes = (membrane > theta).float()
        pooled = spikes if pool_first else nnf.max_pool2d(spikes, 2)
        into_conv.append(x.sum((2, 3)))
        into_fc.append(pooled.sum((2, 3)))
    return torch.stack(into_conv, dim=1), torch.stack(into_fc, dim=1)


@pytest.mark.parametrize("pool", ["before_lif", "after_lif"])
@pytest.mark.parametrize("encoding", ["direct", "rate", "latency", "events"])
def test_each_encoding_is_recorded_and_simulated(encoding: Any, pool: str) -> None:
    network, image = make_network("3C3-MP2-10", (2, 8, 8), pool=pool, threshold=0.15), (2, 8, 8)
    images = make_events(7, network.time_steps, image) if encoding == "events" else make_images(7, image)
    activity = record(network, images, make_labels(7), encoding=encoding, seed=9, chunk=3)

    signal = encode(images, encoding, network.time_steps, generator(9, "evaluation"))
    steps = signal.expand(network.time_steps, *signal.shape) if encoding == "direct" else signal
    with torch.no_grad():
        into_conv, into_fc = counted_by_hand(network, steps, pool_first=pool == "before_lif")
    if encoding == "direct":
        assert activity.counts[0].shape == (7, network.time_steps, 0)
    else:
        np.testing.assert_array_equal(activity.counts[0], into_conv.numpy())
    np.testing.assert_array_equal(activity.counts[1], into_fc.numpy())

    accelerator = build_accelerator(
        layer_shapes("3C3-MP2-10", image),
        [3, 5],
        dense_first=encoding == "direct",
        time_steps=network.time_steps,
        clock_hz=100e6,
        mode="ideal",
        schedule="sequential",
        device="xcku115",
    )
    report = simulate(accelerator, activity.counts).report()
    assert [layer["kind"] for layer in report["layers"]] == ["dense" if encoding == "direct" else "conv", "fc"]
    assert report["latency_ms"]["p50"] <= report["latency_ms"]["p95"] <= report["latency_ms"]["max"]
    assert report["layers"][1]["spikes_per_image"] == pytest.approx(float(into_fc.sum()) / 7)
