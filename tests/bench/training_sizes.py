"""The networks that are timed, at four sizes, and what is done with them: a train step, and inference.

A train step is forward, cross-entropy averaged over the steps, backward and Adam.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import snntorch.functional as sf
import torch
from torch import Tensor, nn

from objectives.architecture import layers
from objectives.data import Dataset, DatasetInfo, Split
from objectives.network import SpikingNetwork
from objectives.process import settle
from objectives.spec import Study
from objectives.train import Training
from tests.bench.training_plain import BETA, SLOPE, THRESHOLD, OneConvNet, TwoConvNet, with_weights
from tests.bench.training_turns import Work
from tests.support.studies import make_study

RATE = 1e-4
"""Learning rate: small, so that the activity stays about as it starts while a network is timed."""

ROUNDS = 7
"""Rounds in which everybody is timed once."""


@dataclass(frozen=True)
class Size:
    """A network, the images it sees, and what the engine is to reach on it.

    Attributes:
        name: As in the names of the bars.
        network: Layers, as in a study file.
        image: Shape `(channels, height, width)`.
        time_steps: T.
        batch: Images in a step.
        train_bar: Least ratio to plain snnTorch in training.
        infer_bar: The same in inference.
        repeats: Steps timed in a round, of training and of inference.
    """

    name: str
    network: str
    image: tuple[int, int, int]
    time_steps: int
    batch: int
    train_bar: float
    infer_bar: float
    repeats: tuple[int, int]


_TWO = "32C3p1-MP2-32C3p1-MP2-256-10"
SIZES = (
    Size("digits", "16C3p1-MP2-64-10", (1, 8, 8), 10, 64, 4.5, 9.0, (20, 40)),
    Size("mnist", _TWO, (1, 28, 28), 10, 128, 2.5, 5.5, (1, 2)),
    Size("svhn", _TWO, (3, 32, 32), 10, 64, 2.6, 5.8, (1, 2)),
    Size("svhn25", _TWO, (3, 32, 32), 25, 64, 3.0, 6.5, (1, 1)),
)
BY_NAME = {size.name: size for size in SIZES}


def settings(size: Size, **fields: Any) -> Study:
    """The study of one size; its data set's name does not matter, since images are given."""
    return make_study(
        network=size.network,
        time_steps=size.time_steps,
        loss="ce_rate",
        surrogate="fast_sigmoid",
        slope=SLOPE,
        beta=BETA,
        threshold=THRESHOLD,
        accelerator={"neural_cores": [1] * len(layers(size.network, size.image))},
        search={"beta": {"range": [0.0, 1.0]}},
        baseline=None,
        **{"train": {"batch": size.batch, "lr": RATE, "schedule": "constant"}, **fields},
    )


def batch(size: Size, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Random images `(B, C, H, W)` from 0 to 1, and random labels `(B,)`."""
    random = torch.Generator().manual_seed(seed)
    return torch.rand(size.batch, *size.image, generator=random), torch.randint(10, (size.batch,), generator=random)


def training(size: Size) -> Training:
    """A trial on one batch of random images over and over, with as many of them in an epoch as are timed."""
    images, labels = batch(size)
    times = ROUNDS * size.repeats[0] + 2
    split = Split(images.repeat(times, 1, 1, 1), labels.repeat(times))
    return Training(settings(size), 0, Dataset(size.name, DatasetInfo(size.image, 10), split, split, split))


def engine(size: Size) -> SpikingNetwork:
    """The engine's network with seeded weights."""
    return training(size).network


def plain(size: Size) -> nn.Module:
    """Plain snnTorch with the same weights."""
    channels, side, _ = size.image
    net = OneConvNet(size.time_steps) if side == 8 else TwoConvNet(channels, side, size.time_steps)
    return with_weights(net, engine(size).state_dict())


def engine_works(size: Size, trial: Training | None = None) -> dict[str, Work]:
    """The train step of a trial, as trials do it, and inference."""
    settle()
    trial = trial or training(size)

    def train(times: int) -> None:
        steps = iter(range(times - 1, -1, -1))
        trial.run_epoch(lambda: next(steps) == 0)

    return {"train": train, "infer": inference(trial.network, batch(size)[0])}


def works_of(net: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Work]:
    """A train step as snnTorch's tutorials do it, and inference."""
    loss, optimizer = sf.ce_rate_loss(), torch.optim.Adam(net.parameters(), lr=RATE)

    def train(times: int) -> None:
        for _ in range(times):
            optimizer.zero_grad()
            loss(net(images), labels).backward()
            optimizer.step()

    return {"train": train, "infer": inference(net, images)}


def inference(net: nn.Module, images: Tensor) -> Work:
    """One batch forward, without gradients."""

    def work(times: int) -> None:
        with torch.no_grad():
            for _ in range(times):
                net(images)

    return work


def differing_spikes(size: Size) -> float:
    """Share of output spikes that differ between plain snnTorch and the engine.

    Raises:
        RuntimeError: It is more than rounding explains: the two do different work.
    """
    images, _ = batch(size)
    with torch.no_grad():
        ours, theirs = engine(size)(images), plain(size)(images)
    differ = float((ours != theirs).float().mean())
    if differ > 1e-3 or not bool(theirs.any()):
        raise RuntimeError(f"{size.name}: {differ:.1%} of the output spikes differ from plain snnTorch, or none fires")
    return differ
