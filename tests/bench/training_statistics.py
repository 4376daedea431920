"""Does the engine train as plain snnTorch does? Pairs of trainings with the same first weights and order of images."""

from __future__ import annotations

import math
import statistics
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import snntorch.functional as sf
import torch
from torch import Tensor, nn

from objectives.activity import predicted
from objectives.data import Dataset, load_dataset
from objectives.train import Training
from tests.bench.bars import Bar
from tests.bench.training_bf16 import in_bf16
from tests.bench.training_plain import OneConvNet, with_weights
from tests.bench.training_sizes import BY_NAME, settings
from tests.bench.training_turns import processes

SEEDS, BF16_SEEDS = 20, 5
PROCESSES = 2
EPOCHS, RATE = 10, 5e-3


@dataclass(frozen=True)
class Difference:
    """Differences of accuracy in pairs, in points (hundredths)."""

    points: list[float]

    @property
    def mean(self) -> float:
        return statistics.mean(self.points)

    @property
    def standard_error(self) -> float:
        """Of the mean; 0 where all pairs are alike."""
        return statistics.stdev(self.points) / math.sqrt(len(self.points))

    @property
    def in_standard_errors(self) -> float:
        """Size of the mean in standard errors; 0 where all pairs agree exactly."""
        if self.standard_error == 0:
            return 0.0 if self.mean == 0 else math.inf
        return abs(self.mean) / self.standard_error


def statistics_bars() -> list[Bar]:
    """Twenty pairs on digits: engine minus plain snnTorch."""
    with ProcessPoolExecutor(PROCESSES, mp_context=processes) as pool:
        pairs = list(pool.map(pair, range(SEEDS)))
    found = Difference([100 * (ours - plain) for ours, plain in pairs])
    ours, plain = (statistics.mean(accuracies) for accuracies in zip(*pairs, strict=True))
    print(f"\nstatistics: {SEEDS} pairs on digits, {EPOCHS} epochs: engine {ours:.2%}, plain {plain:.2%}, difference "
          f"{found.mean:+.2f} points, standard error {found.standard_error:.2f}, each between "
          f"{min(found.points):+.2f} and {max(found.points):+.2f}")  # fmt: skip
    return [
        Bar("training/statistics/standard_errors", found.in_standard_errors, 3.0, "standard errors", at_least=False),
        Bar("training/statistics/points", abs(found.mean), 0.5, "points", at_least=False),
    ]


def print_bf16() -> None:
    """What bf16 does to the accuracy on digits."""
    with ProcessPoolExecutor(PROCESSES, mp_context=processes) as pool:
        pairs = list(pool.map(bf16_pair, range(BF16_SEEDS)))
    found = Difference([100 * (rounded - exact) for rounded, exact in pairs])
    print(f"\nbf16 (opt-in): {BF16_SEEDS} pairs on digits: difference of accuracy to float32 {found.mean:+.2f} points, "
          f"standard error {found.standard_error:.2f}")  # fmt: skip


def pair(seed: int) -> tuple[float, float]:
    """Accuracy of the engine and of plain snnTorch."""
    trial, data = _trial(seed)
    net = with_weights(OneConvNet(trial.network.time_steps), trial.network.state_dict())
    _finish(trial)
    _train_plainly(net, seed, data)
    return _accuracy(trial.network, data), _accuracy(net, data)


def bf16_pair(seed: int) -> tuple[float, float]:
    """Accuracy of the engine in bf16 and in float32."""
    (rounded, data), (exact, _) = _trial(seed), _trial(seed)
    in_bf16(rounded.network)
    _finish(rounded)
    _finish(exact)
    return _accuracy(rounded.network, data), _accuracy(exact.network, data)


def _trial(seed: int) -> tuple[Training, Dataset]:
    torch.set_num_threads(1)
    train = {"epochs": EPOCHS, "batch": BY_NAME["digits"].batch, "lr": RATE, "schedule": "constant"}
    study = settings(BY_NAME["digits"], train=train)
    data = load_dataset(study.dataset, Path("unused"))  # comes with scikit-learn
    return Training(study, seed, data), data


def _finish(trial: Training) -> None:
    while not trial.finished:
        trial.run_epoch(lambda: False)


def _train_plainly(net: nn.Module, seed: int, data: Dataset) -> None:
    """A training loop as the tutorials have it, over the images in the order in which the trial of `seed` sees them."""
    images, labels, size = data.train.images, data.train.labels, BY_NAME["digits"].batch
    loss, optimizer = sf.ce_rate_loss(), torch.optim.Adam(net.parameters(), lr=RATE)
    for epoch in range(EPOCHS):
        random = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, epoch]))
        order = torch.from_numpy(random.permutation(len(labels)))
        for chosen in torch.split(order, size):
            optimizer.zero_grad()
            loss(net(images[chosen]), labels[chosen]).backward()
            optimizer.step()


def _accuracy(net: nn.Module, data: Dataset) -> float:
    """Share of correct images, of validation and test together: training saw neither."""
    images = torch.cat([data.validation.images, data.test.images])
    labels = torch.cat([data.validation.labels, data.test.labels])
    with torch.no_grad():
        spikes: Tensor = net(images)
    return float((predicted(spikes, data.info.classes) == labels.numpy()).mean())
