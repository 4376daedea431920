"""The field's common figures of a trained network, by NeuroBench's definitions.

Source: Yik et al., "The neurobench framework for benchmarking neuromorphic computing algorithms and systems",
Nature Communications 16, 1545 (2025): synaptic operations (dense, effective MACs and ACs), activation sparsity,
connection sparsity, parameters and footprint. Biases count in the footprint, not in the operations.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as nnf
from numpy.typing import NDArray
from torch import Tensor, nn

from objectives.activity import Activity
from objectives.architecture import Conv, Layer
from objectives.network import SpikingNetwork
from objectives.spec import WeightBits


@dataclass(frozen=True)
class Neurobench:
    """NeuroBench's figures; operations are per image, over all time steps.

    Attributes:
        effective_acs: Operations with a nonzero weight on a spike.
        effective_macs: The same on a nonzero real-valued input (the first layer under direct coding, which a
            step-by-step network meets anew at each step).
        dense_operations: Operations with no regard to zeros, padding left out.
        activation_sparsity: Share of neurons and steps without a spike.
        connection_sparsity: Share of weights that are zero.
        parameters: Weights and biases.
        footprint_bytes: Memory of parameters and buffers, weights at their stored width.
    """

    effective_acs: float
    effective_macs: float
    dense_operations: float
    activation_sparsity: float
    connection_sparsity: float
    parameters: int
    footprint_bytes: int

    def report(self) -> dict[str, float | int]:
        """The figures as plain values."""
        return asdict(self)


def neurobench(network: SpikingNetwork, activity: Activity, *, weight_bits: WeightBits = 32) -> Neurobench:
    """The figures of a network on the images of a recorded activity; its weights are stored in so many bits."""
    images = len(activity.correct)
    effective = {"acs": 0, "macs": 0}
    dense = 0
    for layer, inputs, counts in zip(network.plan, activity.inputs, activity.counts, strict=True):
        weight = _weight(network, layer)
        kind = "macs" if counts.shape[2] == 0 else "acs"
        effective[kind] += int((inputs * _fan_out(layer, weight != 0)).sum())
        dense += int(_fan_out(layer, torch.ones_like(weight, dtype=torch.bool)).sum()) * network.time_steps
    weights = [_weight(network, layer) for layer in network.plan]
    tensors = [*network.parameters(), *network.buffers()]
    bits = sum(8 * tensor.numel() * tensor.element_size() for tensor in tensors)
    spared = sum(weight.numel() * (8 * weight.element_size() - weight_bits) for weight in weights)
    return Neurobench(
        effective_acs=effective["acs"] / images,
        effective_macs=effective["macs"] / images,
        dense_operations=float(dense),
        activation_sparsity=1 - activity.firing_rate,
        connection_sparsity=sum(int((weight == 0).sum()) for weight in weights)
        / sum(weight.numel() for weight in weights),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        footprint_bytes=math.ceil((bits - spared) / 8),
    )


def _weight(network: SpikingNetwork, layer: Layer) -> Tensor:
    module = network.get_submodule(layer.name)
    assert isinstance(module, (nn.Conv2d, nn.Linear))
    return module.weight.detach()


def _fan_out(layer: Layer, used: Tensor) -> NDArray[np.int64]:
    """Outputs that each input place reaches through a used weight, `layer.in_shape` int64; padding reaches none.

    A convolution run backwards over a map of ones; exact, as float64 holds every such whole number.
    """
    by_input = used.sum(0, dtype=torch.float64)
    if isinstance(layer.block, Conv):
        ones = torch.ones((1, 1, *layer.out_shape[1:]), dtype=torch.float64, device=used.device)
        reached = nnf.conv_transpose2d(ones, by_input.unsqueeze(0), padding=layer.block.padding)[0]
    else:
        reached = by_input.reshape(layer.in_shape)
    return reached.round().to(torch.int64).cpu().numpy()
