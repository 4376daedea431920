"""NeuroBench's figures against those of the neurobench package on one network; runs where that is installed.

pip install --no-deps neurobench tonic
"""

from __future__ import annotations

from typing import Any

import pytest
import snntorch
import torch
from snntorch import surrogate
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from objectives.activity import record
from objectives.encoding import encode, generator
from objectives.network import SpikingNetwork
from objectives.neurobench import Neurobench, neurobench
from tests.unit.objectives.factory import make_images, make_labels, make_network

pytest.importorskip("neurobench", reason="the neurobench package is not installed; it needs tonic")

TOKENS, IMAGE, STEPS = "3C3p1-MP2-4C2-12-10", (2, 6, 5), 4


def pruned() -> SpikingNetwork:
    network = make_network(TOKENS, IMAGE, time_steps=STEPS, threshold=0.15)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter[parameter.abs() < parameter.abs().median() / 2] = 0.0
    return network


def as_snntorch(network: SpikingNetwork) -> nn.Sequential:
    """The same network as snnTorch's users build it, a module a step."""

    def cell(*, is_output: bool = False) -> Any:
        gradient = surrogate.atan(alpha=2.0)
        return snntorch.Leaky(
            beta=network.neuron.beta, threshold=0.15, init_hidden=True, output=is_output, spike_grad=gradient
        )

    layers: list[nn.Module] = [
        nn.Conv2d(2, 3, 3, padding=1), nn.MaxPool2d(2), cell(),
        nn.Conv2d(3, 4, 2), cell(),
        nn.Flatten(), nn.Linear(8, 12), cell(),
        nn.Linear(12, 10), cell(is_output=True),
    ]  # fmt: skip
    weighted = [layer for layer in layers if isinstance(layer, (nn.Conv2d, nn.Linear))]
    for theirs, ours in zip(weighted, ("conv1", "conv2", "fc1", "fc2"), strict=True):
        theirs.load_state_dict(network.get_submodule(ours).state_dict())
    return nn.Sequential(*layers)


def their_figures(net: nn.Sequential, steps: Tensor) -> dict[str, float]:
    """What the package reports for input `(B, T, C, H, W)`, in one batch."""
    from neurobench.benchmarks import Benchmark
    from neurobench.metrics.static import ConnectionSparsity, Footprint, ParameterCount
    from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
    from neurobench.models import SNNTorchModel

    images = DataLoader(TensorDataset(steps, torch.zeros(len(steps), dtype=torch.int64)), batch_size=len(steps))
    metrics = [[Footprint, ConnectionSparsity, ParameterCount], [ActivationSparsity, SynapticOperations]]
    bench = Benchmark(SNNTorchModel(net), images, [], [], metrics)
    with torch.no_grad():
        found = bench.run(quiet=True, verbose=False)
    return {**found, **found["SynapticOperations"]}


def both(encoding: Any) -> tuple[Neurobench, dict[str, float]]:
    """Our figures and the package's, its footprint without what snnTorch's neurons keep of their settings."""
    network, images = pruned(), make_images(5, IMAGE)
    activity = record(network, images, make_labels(5), encoding=encoding, seed=5)
    signal = encode(images, encoding, STEPS, generator(5, "evaluation"))
    steps = signal.expand(STEPS, *signal.shape) if encoding == "direct" else signal
    net = as_snntorch(network)
    settings = sum(one.numel() * one.element_size() for one in net.buffers())
    theirs = their_figures(net, steps.transpose(0, 1))
    return neurobench(network, activity), {**theirs, "Footprint": theirs["Footprint"] - settings}


@pytest.mark.parametrize("encoding", ["direct", "rate"])
def test_the_figures_are_those_of_the_package(encoding: Any) -> None:
    ours, theirs = both(encoding)
    assert ours.effective_acs == pytest.approx(theirs["Effective_ACs"], rel=1e-9)
    assert ours.effective_macs == pytest.approx(theirs["Effective_MACs"], rel=1e-9)
    assert (ours.effective_macs > 0) == (encoding == "direct")
    assert ours.dense_operations == pytest.approx(theirs["Dense"], rel=1e-9)
    assert 0 < ours.activation_sparsity < 1
    assert ours.activation_sparsity == pytest.approx(theirs["ActivationSparsity"], rel=1e-9)
    assert ours.connection_sparsity == pytest.approx(theirs["ConnectionSparsity"], abs=5e-5)  # they round to 4 decimals
    assert ours.parameters == theirs["ParameterCount"]
    assert ours.footprint_bytes == theirs["Footprint"]
