"""A penalty on firing: what a spike of a hidden layer costs the loss, as it costs the accelerator energy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def rate_penalty(spikes: Sequence[Tensor], weight: float, target: float) -> Tensor:
    """The weight times the distance of the hidden layers' firing rates from the target, mean over images and layers.

    A layer's rate is that of one image: spikes per neuron and step. A network without hidden layers costs 0. Batches
    may be parted: the penalty of the whole is the mean of its parts' by their images.

    Args:
        spikes: Of every weighted layer `(T, B, ...)`; the last one, the output, is the loss's own affair.
        weight: What a distance of 1 costs; at least 0.
        target: Rate from 0 to 1.

    Source: target 0 is `snntorch.functional.reg.l1_rate_sparsity` per neuron, step and image.
    """
    hidden = spikes[:-1]
    if not hidden:
        return spikes[-1].new_zeros(())
    rates = torch.stack([layer.transpose(0, 1).flatten(1).mean(1) for layer in hidden])
    return weight * (rates - target).abs().mean()
