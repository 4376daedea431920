"""Parts of a batch: their sizes, and the memory that they bound."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.architecture import layers
from objectives.microbatch import HELD_BYTES, held_bytes, largest_part, part_sizes
from objectives.studyfile import load_study
from tests.support.memory import NETS, ROOT, make_study, measured_mb


@given(st.integers(1, 5000), st.integers(1, 5000))
@settings(deadline=None, derandomize=True)
def test_parts_are_few_and_even_and_lose_no_image(images: int, most: int) -> None:
    sizes = part_sizes(images, most)
    assert sum(sizes) == images
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1
    assert (len(sizes) - 1) * most < images


def test_held_bytes_by_hand() -> None:
    study = make_study("digits")
    plan = layers("2C3-MP2-10", (1, 8, 8))  # conv1: 2x6x6, pooled 2x3x3
    still = 64 + 72 + 10 * (3 * 18 + 10 + 3 * 10)
    assert held_bytes(study, plan) == 4 * still
    coded = study.model_copy(update={"encoding": "rate"})
    assert held_bytes(coded, plan) == 4 * (still + 9 * (64 + 72))
    behind = study.model_copy(update={"pool": "after_lif"})
    assert held_bytes(behind, plan) == 4 * (still + 10 * 3 * (72 - 18))


@pytest.mark.parametrize("name", ["digits", "digits-hardware", "mnist"])
def test_the_shipped_studies_train_whole_batches(name: str) -> None:
    study = load_study(ROOT / "studies" / f"{name}.yaml")
    image = (1, 28, 28) if name == "mnist" else (1, 8, 8)
    assert largest_part(study, layers(study.network, image)) >= study.train.batch


def test_a_study_may_ask_for_smaller_parts_and_one_image_is_the_least() -> None:
    plan = layers(*NETS["svhn"][:2])
    assert largest_part(make_study("svhn", train={"micro_batch": 5}), plan) == 5
    assert largest_part(make_study("svhn", time_steps=1000, pool="after_lif", encoding="rate"), plan) == 1
    assert 1 < largest_part(make_study("svhn"), plan) == HELD_BYTES // held_bytes(make_study("svhn"), plan) < 64


def test_training_the_svhn_size_net_stays_within_its_memory() -> None:
    assert 10 < measured_mb("svhn", batches=3, images=512) <= 120
