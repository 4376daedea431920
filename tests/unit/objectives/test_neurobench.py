from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from objectives.activity import record
from objectives.encoding import encode, generator
from objectives.network import SpikingNetwork
from objectives.neurobench import neurobench
from tests.unit.objectives.factory import make_images, make_labels, make_network
from tests.unit.objectives.oracle import step_by_step

TOKENS, IMAGE = "2C3p1-MP2-3C2-12-10", (2, 5, 4)


def operations(weight: Tensor, padding: int, inputs: Tensor) -> int:
    """Multiplications of a nonzero weight with a nonzero input, one by one."""
    if weight.dim() == 2:
        flat = inputs.flatten()
        return sum(
            bool(weight[out, place] != 0 and flat[place] != 0)
            for out in range(len(weight))
            for place in range(len(flat))
        )
    outs, channels, high, wide = weight.shape
    _, height, width = inputs.shape
    total = 0
    for row, column in product(range(height + 2 * padding - high + 1), range(width + 2 * padding - wide + 1)):
        for out, channel, down, right in product(range(outs), range(channels), range(high), range(wide)):
            y, x = row + down - padding, column + right - padding
            if 0 <= y < height and 0 <= x < width:
                total += bool(inputs[channel, y, x] != 0 and weight[out, channel, down, right] != 0)
    return total


def pruned_network() -> SpikingNetwork:
    network = make_network(TOKENS, IMAGE, time_steps=3, threshold=0.15)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter[parameter.abs() < parameter.abs().median() / 2] = 0.0
    return network


@pytest.mark.parametrize("encoding", ["direct", "rate"])
def test_operations_equal_a_naive_count(encoding: Any) -> None:
    network, images = pruned_network(), make_images(3, IMAGE)
    activity = record(network, images, make_labels(3), encoding=encoding, seed=5, chunk=2)
    figures = neurobench(network, activity)

    signal = encode(images, encoding, 3, generator(5, "evaluation"))
    steps = signal.expand(3, *signal.shape) if encoding == "direct" else signal
    with torch.no_grad():
        _, inputs, fired = step_by_step(network, TOKENS, steps, pool="before_lif")
    weights = [parameter for parameter in network.parameters() if parameter.dim() > 1]
    by_layer, dense = [], 0
    for weight, padding, seen in zip(weights, (1, 0, 0, 0), inputs, strict=True):
        by_layer.append(
            sum(operations(weight, padding, seen[step, image]) for step in range(3) for image in range(3)) / 3
        )
        dense += 3 * operations(torch.ones_like(weight), padding, torch.ones_like(seen[0, 0]))
    macs, acs = (by_layer[0], sum(by_layer[1:])) if encoding == "direct" else (0, sum(by_layer))
    assert figures.effective_macs == pytest.approx(macs, rel=1e-12)
    assert figures.effective_acs == pytest.approx(acs, rel=1e-12)
    assert figures.effective_acs > 0
    assert figures.dense_operations == dense
    spikes = sum(float(one.sum()) for one in fired) / sum(one.numel() for one in fired)
    assert figures.activation_sparsity == pytest.approx(1 - spikes)
    assert figures.connection_sparsity == pytest.approx(
        sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)
    )
    assert figures.connection_sparsity > 0.1


def test_parameters_and_footprint_by_hand() -> None:
    network = make_network("2C3-10", (1, 5, 5), time_steps=2)
    figures = neurobench(network, record(network, make_images(2, (1, 5, 5)), make_labels(2), encoding="direct", seed=0))
    assert figures.parameters == (2 * 9 + 2) + (18 * 10 + 10)
    assert figures.footprint_bytes == 4 * figures.parameters
    assert figures.dense_operations == 2 * (9 * 2 * 9 + 18 * 10)
    assert figures.report()["parameters"] == figures.parameters
