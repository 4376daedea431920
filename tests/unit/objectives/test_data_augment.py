from __future__ import annotations

import pytest
import torch

from objectives.data.augment import augmented, cropped, flipped
from objectives.encoding import generator
from objectives.spec import AugmentSpec, DatasetSpec
from tests.unit.objectives.factory import make_images


def spec(crop: int = 0, *, flip: bool = False) -> DatasetSpec:
    return DatasetSpec(name="digits", augment=AugmentSpec(crop=crop, flip=flip))


def test_without_augmentation_the_images_are_the_same() -> None:
    images = make_images(5)
    assert augmented(images, spec(), generator(0)) is images


def test_a_batch_is_a_function_of_its_key() -> None:
    images, both = make_images(64, (3, 9, 7)), spec(2, flip=True)
    one = augmented(images, both, generator(4, "augment", 2, 7))
    torch.rand(100)  # whoever else draws
    assert torch.equal(one, augmented(images, both, generator(4, "augment", 2, 7)))
    for key in ((5, "augment", 2, 7), (4, "augment", 3, 7), (4, "augment", 2, 8)):
        assert not torch.equal(one, augmented(images, both, generator(*key)))


@pytest.mark.parametrize("image", [(1, 8, 8), (3, 5, 9), (4, 2, 6, 6)])
def test_a_crop_is_a_part_of_the_framed_image(image: tuple[int, ...]) -> None:
    images, border = torch.rand(200, *image, generator=torch.Generator().manual_seed(1)) + 0.5, 2
    height, width = image[-2:]
    seen = set()
    for before, after in zip(images, cropped(images, border, generator(1)), strict=True):
        framed = torch.zeros(*image[:-2], height + 2 * border, width + 2 * border)
        framed[..., border : border + height, border : border + width] = before
        places = [
            (y, x)
            for y in range(2 * border + 1)
            for x in range(2 * border + 1)
            if torch.equal(framed[..., y : y + height, x : x + width], after)
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) == (2 * border + 1) ** 2  # every place comes up


def test_half_of_the_images_are_mirrored() -> None:
    images = make_images(400, (3, 4, 5))
    mirrored = 0
    for before, after in zip(images, flipped(images, generator(2)), strict=True):
        assert torch.equal(after, before) or torch.equal(after, before.flip(-1))
        mirrored += torch.equal(after, before.flip(-1))
    assert 150 < mirrored < 250


def test_crop_comes_first_and_then_flip() -> None:
    images, random = make_images(20, (1, 6, 6)), generator(3)
    expected = flipped(cropped(images, 2, random), random)
    assert torch.equal(augmented(images, spec(2, flip=True), generator(3)), expected)


def test_all_frames_of_a_recording_move_alike_and_stay_spikes() -> None:
    frame = (make_images(10, (2, 6, 6)) > 0.5).to(torch.uint8)
    frames = frame.unsqueeze(1).repeat(1, 4, 1, 1, 1)
    moved = augmented(frames, spec(2, flip=True), generator(5))
    assert moved.dtype == torch.uint8
    assert torch.equal(moved, moved[:, :1].expand_as(moved))
    assert not torch.equal(moved, frames)


def test_an_empty_batch() -> None:
    assert augmented(torch.zeros(0, 1, 8, 8), spec(2, flip=True), generator(0)).shape == (0, 1, 8, 8)
