"""The optimizers and learning rates of `torch.optim`, by name; a rate is a function of the iteration alone."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from objectives.spec import TrainSpec

ONE_CYCLE_RISE = 0.3
"""Share of the iterations in which `one_cycle` rises: `pct_start` of `torch.optim.lr_scheduler.OneCycleLR`."""

ONE_CYCLE_START = 25.0
"""How far below lr `one_cycle` starts: its `div_factor`."""

ONE_CYCLE_END = 1e4
"""How far below that it ends: its `final_div_factor`."""


def optimizer_of(train: TrainSpec, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer of that name, with torch's own settings for what `train` does not say."""
    lr, decay, all_of_them = train.lr, train.weight_decay, list(parameters)
    match train.optimizer:
        case "adam":
            return torch.optim.Adam(all_of_them, lr=lr, weight_decay=decay, fused=True)
        case "adamw":
            return torch.optim.AdamW(all_of_them, lr=lr, weight_decay=decay, fused=True)
        case "nadam":
            return torch.optim.NAdam(all_of_them, lr=lr, weight_decay=decay)
        case "radam":
            return torch.optim.RAdam(all_of_them, lr=lr, weight_decay=decay)
        case "adamax":
            return torch.optim.Adamax(all_of_them, lr=lr, weight_decay=decay)
        case "rmsprop":
            return torch.optim.RMSprop(all_of_them, lr=lr, weight_decay=decay)
        case "adagrad":
            return torch.optim.Adagrad(all_of_them, lr=lr, weight_decay=decay)
        case "sgd":
            return torch.optim.SGD(all_of_them, lr=lr, momentum=train.momentum, weight_decay=decay, fused=True)


def learning_rate(train: TrainSpec, iteration: int, batches: int) -> float:
    """Learning rate of one iteration, from 0; no schedule keeps a state.

    Under `warmup_epochs` the first W iterations have (1/W, 2/W, ...) of what the schedule says.

    Args:
        train: Epochs, rate and schedule.
        iteration: Batches trained before this one.
        batches: Batches of an epoch.

    Source: `ConstantLR`, `CosineAnnealingLR` (to 0), `PolynomialLR` (power 1), `StepLR`, `ExponentialLR`, `OneCycleLR`
    without its cycle of momentum, and `LinearLR` of `torch.optim.lr_scheduler`.
    """
    rate = train.lr * _factor(train, iteration, batches)
    warmup = train.warmup_epochs * batches
    return rate * (iteration + 1) / warmup if iteration < warmup else rate


def _factor(train: TrainSpec, iteration: int, batches: int) -> float:
    """What the schedule makes of a learning rate of 1."""
    total = train.epochs * batches
    match train.schedule:
        case "constant":
            return 1.0
        case "cosine":
            return (1 + math.cos(math.pi * (iteration / total))) / 2
        case "linear":
            return 1 - iteration / total
        case "step":
            return train.gamma ** (iteration // batches // train.step_epochs)
        case "exponential":
            return train.gamma ** (iteration // batches)
        case "one_cycle":
            return _one_cycle(iteration, total)


def _one_cycle(iteration: int, total: int) -> float:
    """Up from 1/25 to 1 and down to 1/250,000, both along half a cosine."""
    top = ONE_CYCLE_RISE * total - 1
    low, end = 1 / ONE_CYCLE_START, 1 / (ONE_CYCLE_START * ONE_CYCLE_END)
    if iteration <= top:
        return _between(low, 1.0, iteration / top)
    return _between(1.0, end, (iteration - top) / (total - 1 - top))


def _between(start: float, end: float, share: float) -> float:
    """From start (share 0) to end (share 1) along half a cosine."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
