"""`dataset.normalise`: what enters the network, and what rate coding sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from objectives.activity import record
from objectives.data import describe
from objectives.network import SpikingNetwork, build_network
from tests.unit.objectives.factory import make_images, make_labels, make_study

INFO = describe("svhn")
SVHN = {"network": "4C3p1-MP2-10", "accelerator": {"neural_cores": [2, 2]}, "threshold": 0.1}


def built(normalise: str, **fields: Any) -> SpikingNetwork:
    dataset = {"name": "svhn", "normalise": normalise}
    return build_network(make_study(dataset=dataset, **SVHN, **fields), INFO, seed=1)


def test_standard_takes_each_channels_mean_and_deviation_off() -> None:
    images = make_images(6, INFO.image)
    by_hand = (images - torch.tensor(INFO.mean).view(3, 1, 1)) / torch.tensor(INFO.std).view(3, 1, 1)
    assert torch.equal(built("standard")(images), built("none")(by_hand))
    assert not torch.equal(built("standard")(images), built("none")(images))


def test_recorded_inputs_are_the_normalised_ones() -> None:
    images = make_images(6, INFO.image)
    _, records = built("standard").forward_recorded(images)
    assert int(records[0].inputs.min()) == 6 * 4  # black pixels are no zeros any more
    _, records = built("none").forward_recorded(images)
    assert int(records[0].inputs.min()) < 6 * 4


def test_rate_coding_sees_the_values_from_0_to_1() -> None:
    images, labels = make_images(6, INFO.image), make_labels(6)
    counts = [
        record(built(normalise), images, labels, encoding="rate", seed=3).counts for normalise in ("standard", "none")
    ]
    for one, other in zip(*counts, strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_hold_nothing_of_it() -> None:
    assert list(built("standard").state_dict()) == list(built("none").state_dict())
