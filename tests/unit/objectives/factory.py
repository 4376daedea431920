"""Studies, networks and data for the tests of the objectives."""

from __future__ import annotations

import json
from typing import Any

import torch

from objectives.data import Dataset, DatasetInfo, Split
from objectives.network import SpikingNetwork
from objectives.neuron import Lif
from objectives.spec import Study
from objectives.surrogate import Atan, Surrogate

SMALL = "4C3p1-MP2-6C3p1-MP2-12-10"


def make_study(**fields: Any) -> Study:
    """A valid digits study; `fields` replace its own, `train` and `accelerator` key by key."""
    study: dict[str, Any] = {
        "study": "test",
        "dataset": {"name": "digits"},
        "network": SMALL,
        "time_steps": 4,
        "train": {"epochs": 2, "batch": 64},
        "accelerator": {"neural_cores": [2, 2, 4, 2]},
        "search": {"beta": {"range": [0.0, 1.0]}},
        "budget": {"trials": 3},
    }
    for name in ("train", "accelerator"):
        study[name] = {**study[name], **fields.pop(name, {})}
    return Study.model_validate_json(json.dumps({**study, **fields}))


def make_network(
    network: str = SMALL,
    image: tuple[int, int, int] = (1, 8, 8),
    *,
    seed: int = 0,
    pool: Any = "before_lif",
    time_steps: int = 5,
    beta: float = 0.6,
    threshold: float = 0.3,
    surrogate: Surrogate = Atan(2.0),
    classes: int = 10,
) -> SpikingNetwork:
    """A network with seeded weights; the low threshold makes it fire untrained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        neuron = Lif(beta, threshold, surrogate)
        return SpikingNetwork(network, image, classes, neuron=neuron, time_steps=time_steps, pool=pool)


def make_images(count: int, image: tuple[int, int, int] = (1, 8, 8), *, seed: int = 1) -> torch.Tensor:
    """Random images from 0 to 1, some pixels exactly 0."""
    random = torch.Generator().manual_seed(seed)
    return (torch.rand(count, *image, generator=random) * 1.5 - 0.5).clamp(0, 1)


def make_labels(count: int, *, seed: int = 2) -> torch.Tensor:
    return torch.randint(0, 10, (count,), generator=torch.Generator().manual_seed(seed))


def make_data(count: int = 96, *, seed: int = 3) -> Dataset:
    """Ten classes of 8x8 images that differ in which pixels are bright."""
    random = torch.Generator().manual_seed(seed)
    patterns = torch.rand(10, 1, 8, 8, generator=random)

    def split(size: int) -> Split:
        labels = torch.arange(size) % 10
        noise = torch.rand(size, 1, 8, 8, generator=random)
        return Split((0.7 * patterns[labels] + 0.3 * noise).clamp(0, 1), labels)

    return Dataset("digits", DatasetInfo((1, 8, 8), 10), split(count), split(40), split(40))
