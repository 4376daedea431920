from __future__ import annotations

import pytest
import torch
from snntorch import spikegen

from objectives.encoding import encode, generator, latency, rate
from tests.unit.objectives.factory import make_images


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
