"""The losses of `snntorch.functional` that fit a classifier, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import snntorch.functional as sf
from torch import Tensor

LossName = Literal["mse_count", "ce_rate", "ce_count"]
Loss = Callable[[Tensor, Tensor], Tensor]
"""From output spikes `(T, B, outputs)` and labels `(B,)` int64 to a scalar."""


def loss_function(name: LossName, outputs: int, classes: int) -> Loss:
    """The loss of that name; an output layer wider than the classes is a population code.

    `ce_rate` under a population code sees the class's spikes of each step summed over its population:
    `snntorch.functional.ce_rate_loss` 1.0.0 itself ignores the population and fails without class weights.
    """
    population = {"population_code": True, "num_classes": classes} if outputs > classes else {}
    if name == "mse_count":
        mse: Loss = sf.mse_count_loss(correct_rate=1.0, incorrect_rate=0.0, **population)
        return mse
    if name == "ce_count":
        count: Loss = sf.ce_count_loss(**population)
        return count
    rate: Loss = sf.ce_rate_loss()
    return lambda spikes, labels: rate(class_spikes(spikes, classes), labels).squeeze()


def class_spikes(spikes: Tensor, classes: int) -> Tensor:
    """Spikes `(..., outputs)` summed over the population of each class: `(..., classes)`.

    A class owns consecutive outputs, as in snnTorch.
    """
    return spikes.reshape(*spikes.shape[:-1], classes, -1).sum(-1)
