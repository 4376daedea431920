"""A plain snnTorch network, step by step over all layers: what the engine must equal."""

from __future__ import annotations

from typing import Any

import snntorch
import torch
import torch.nn.functional as nnf
from snntorch import surrogate as snn_surrogate
from torch import Tensor

from objectives.network import SpikingNetwork
from objectives.neuron import Learned, Lif, Neuron
from objectives.surrogate import (
    Atan,
    FastSigmoid,
    Sigmoid,
    SpikeRateEscape,
    StraightThrough,
    Surrogate,
    Triangular,
)


def spike_grad(surrogate: Surrogate) -> Any:
    match surrogate:
        case FastSigmoid():
            return snn_surrogate.fast_sigmoid(slope=surrogate.slope)
        case Atan():
            return snn_surrogate.atan(alpha=surrogate.alpha)
        case Triangular():
            return snn_surrogate.triangular(threshold=surrogate.height)
        case StraightThrough():
            return snn_surrogate.straight_through_estimator()
        case Sigmoid():
            return snn_surrogate.sigmoid(slope=surrogate.slope)
        case SpikeRateEscape():
            return snn_surrogate.spike_rate_escape(beta=surrogate.decay, slope=surrogate.slope)


def cell_of(neuron: Neuron, learned: Learned = Learned()) -> Any:
    """The same neuron of snnTorch; learned numbers are its parameters."""
    level = neuron.threshold if learned.threshold is None else learned.threshold.detach().clone()
    common: dict[str, Any] = {
        "threshold": level,
        "learn_threshold": learned.threshold is not None,
        "spike_grad": spike_grad(neuron.surrogate),
        "reset_mechanism": neuron.reset,
    }
    if isinstance(neuron, Lif):
        beta = neuron.beta if learned.beta is None else learned.beta.detach().clone()
        return snntorch.Leaky(beta=beta, learn_beta=learned.beta is not None, **common)
    return snntorch.Lapicque(R=neuron.resistance, C=neuron.capacitance, time_step=neuron.time_step, **common)


def over_time(cell: Any, current: Tensor) -> Tensor:
    """Spikes `(T, B, ...)` of a cell of snnTorch, step by step."""
    membrane, spikes = torch.zeros(0), []
    for x in current:
        spike, membrane = cell(x, membrane)
        spikes.append(spike)
    return torch.stack(spikes)


def step_by_step(
    network: SpikingNetwork, tokens: str, steps: Tensor, *, pool: str
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Run a plain snnTorch network with the weights of `network` on `steps` (T, B, C, H, W).

    Returns:
        Output spikes (T, B, out); for each weighted layer its inputs (T, B, ...) and its neurons' spikes (T, B, ...).
    """
    parameters = dict(network.named_parameters())
    layers = _layers(tokens)
    cells = [cell_of(network.neuron, network.learned(layer)) for layer in network.plan]
    membranes = [torch.zeros(0)] * len(layers)
    inputs: list[list[Tensor]] = [[] for _ in layers]
    fired: list[list[Tensor]] = [[] for _ in layers]
    outputs = []
    for x in steps:
        for index, (name, padding, pooling) in enumerate(layers):
            inputs[index].append(x)
            x = _weighted(x, parameters[f"{name}.weight"], parameters[f"{name}.bias"], padding)
            if pool == "before_lif":
                x = _pooled(x, pooling)
            x, membranes[index] = cells[index](x, membranes[index])
            fired[index].append(x)
            if pool == "after_lif":
                x = _pooled(x, pooling)
        outputs.append(x)
    return torch.stack(outputs), [torch.stack(one) for one in inputs], [torch.stack(one) for one in fired]


def _layers(tokens: str) -> list[tuple[str, int, str]]:
    """(name, padding, pool token) of each weighted layer, by plain string surgery."""
    found: list[tuple[str, int, str]] = []
    convs = dense = 0
    for token in tokens.split("-"):
        if token.startswith(("MP", "AP", "P")):
            found[-1] = (*found[-1][:2], token)
        elif "C" in token:
            convs += 1
            found.append((f"conv{convs}", int(token.split("p")[1]) if "p" in token else 0, ""))
        else:
            dense += 1
            found.append((f"fc{dense}", 0, ""))
    return found


def _weighted(x: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
    if weight.dim() == 4:
        return nnf.conv2d(x, weight.contiguous(), bias, padding=padding)
    return nnf.linear(x.flatten(1), weight, bias)


def _pooled(x: Tensor, token: str) -> Tensor:
    if not token:
        return x
    if token.startswith("AP"):
        return nnf.avg_pool2d(x, int(token[2:]))
    return nnf.max_pool2d(x, int(token.lstrip("MP")))
