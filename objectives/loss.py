"""The losses of `snntorch.functional` that fit a classifier, by name, all with population coding.

Of `snntorch.functional` 1.0.0 only two losses know a population code that works: `ce_rate_loss` ignores the population
and fails without class weights, the temporal and the membrane losses have none. Here the signal of a class is that of
its population, and the loss is snnTorch's on that signal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import snntorch.functional as sf
import torch
from torch import Tensor

from objectives.spec import LossName

Loss = Callable[[Tensor, Tensor], Tensor]
"""From the output's signal `(T, B, outputs)`, spikes or membranes, and labels `(B,)` int64 to a scalar, mean over B."""


def reads_membranes(name: LossName) -> bool:
    """Whether the loss is on the output neurons' membranes; the others are on their spikes."""
    return name in ("mse_membrane", "ce_max_membrane")


def loss_function(name: LossName, outputs: int, classes: int) -> Loss:
    """The loss of that name; an output layer wider than the classes is a population code.

    - `mse_count`, `ce_count`: a class's spikes are summed over all steps and its population, as in snnTorch.
    - `ce_rate`: its spikes of each step are summed over its population.
    - `mse_temporal`, `ce_temporal`: its time is the mean of its neurons' first spikes; silence counts as the last step.
    - `mse_membrane`, `ce_max_membrane`: its membrane at each step is the mean over its population.
    """
    population = {"population_code": True, "num_classes": classes} if outputs > classes else {}
    match name:
        case "mse_count":
            mse: Loss = sf.mse_count_loss(correct_rate=1.0, incorrect_rate=0.0, **population)
            return mse
        case "ce_count":
            count: Loss = sf.ce_count_loss(**population)
            return count
        case "ce_rate":
            return lambda spikes, labels: _ce_of_steps(class_spikes(spikes, classes), labels)
        case "mse_temporal" | "ce_temporal":
            timed = _mse_of_times if name == "mse_temporal" else _ce_of_times
            return lambda spikes, labels: timed(class_means(first_spikes(spikes), classes), labels, len(spikes))
        case "mse_membrane":
            level: Loss = sf.mse_membrane_loss()
            return lambda membranes, labels: level(class_means(membranes, classes), labels).squeeze()
        case "ce_max_membrane":
            highest: Loss = sf.ce_max_membrane_loss()
            return lambda membranes, labels: highest(class_means(membranes, classes), labels)


def class_spikes(spikes: Tensor, classes: int) -> Tensor:
    """Spikes `(..., outputs)` summed over the population of each class: `(..., classes)`.

    A class owns consecutive outputs, as in snnTorch.
    """
    if spikes.shape[-1] == classes:
        return spikes
    return spikes.reshape(*spikes.shape[:-1], classes, -1).sum(-1)


def class_means(signal: Tensor, classes: int) -> Tensor:
    """A signal `(..., outputs)` averaged over the population of each class: `(..., classes)`."""
    return signal.reshape(*signal.shape[:-1], classes, -1).mean(-1)


def first_spikes(spikes: Tensor) -> Tensor:
    """Step of each neuron's first spike `(B, outputs)` float32 of spikes `(T, B, outputs)`; T-1 where there is none.

    The gradient is -1 at the first spike (at the last step of a silent neuron): to fire more is to fire earlier.

    Source: `FirstSpike` of `snntorch.functional.loss` 1.0.0.
    """
    times: Tensor = _FirstSpikes.apply(spikes)  # type: ignore[no-untyped-call]  # untyped in torch
    return times


class _FirstSpikes(torch.autograd.Function):
    """`FirstSpike` without its loop over images and neurons."""

    @staticmethod
    def forward(ctx: Any, spikes: Tensor) -> Tensor:
        steps = torch.arange(len(spikes), dtype=spikes.dtype, device=spikes.device).view(-1, 1, 1)
        times = torch.where(spikes > 0, steps, len(spikes) - 1).amin(0)
        ctx.save_for_backward(times)
        ctx.steps = len(spikes)
        return times

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (times,) = ctx.saved_tensors
        return gradient.new_zeros((ctx.steps, *times.shape)).scatter_(0, times.long().unsqueeze(0), -gradient[None])


def _ce_of_steps(spikes: Tensor, labels: Tensor) -> Tensor:
    """Mean over the steps of the cross entropy of class spikes `(T, B, classes)`, all steps at once.

    Source: `snntorch.functional.ce_rate_loss` 1.0.0, which calls the loss step by step.
    """
    return torch.nn.functional.cross_entropy(spikes.flatten(0, 1), labels.expand(len(spikes), -1).flatten())


def _mse_of_times(times: Tensor, labels: Tensor, steps: int) -> Tensor:
    """Class times `(B, classes)` against step 0 for the label and the last step for all others, as shares of T.

    Source: `snntorch.functional.mse_temporal_loss` 1.0.0 as its text has it, given these times: made from labels, its
    own targets are step 0 for every class.
    """
    wanted = torch.full_like(times, steps - 1).scatter_(1, labels.unsqueeze(1), 0.0)
    return torch.nn.functional.mse_loss(times / steps, wanted / steps)


def _ce_of_times(times: Tensor, labels: Tensor, steps: int) -> Tensor:
    """Cross entropy of negated class times `(B, classes)`; the number of steps does not enter.

    Source: `snntorch.functional.ce_temporal_loss` 1.0.0 with `inverse="negate"`.
    """
    return torch.nn.functional.cross_entropy(-times, labels)
