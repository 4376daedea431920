"""A trained network as a NIR graph: written, read back, run by what it says alone, and compared with the network.

NIR (package `nir`) states neurons as differential equations. Our graphs are meant for forward Euler steps of `DT`
seconds, one a time step of the network: `tau = DT / (1 - beta)` and `r = tau / DT` make them `u' = beta u + x`.
NIR has no max pool and its `LIF` resets to a value, so a graph is not always the network: every graph comes with a
label, the reasons, and what differs on real images.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import nir
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from objectives.activity import predicted
from objectives.architecture import Conv, Layer, Pool
from objectives.encoding import Encoding, encode, generator
from objectives.errors import TrainingError
from objectives.network import SpikingNetwork
from objectives.neuron import Lapicque, Reset
from objectives.nirrun import run_graph

DT = 1e-4
"""Seconds of one time step in the graphs; the one that snnTorch's exporter assumes, and only ratios to it count."""

LARGEST_LOSS = 0.1
"""Accuracy (share) that a graph may lose; one that loses more is refused: it is another network."""

ROUNDING_SHARE = 1e-3
"""Share of output spikes that rounding alone may change; more without a known reason, and the graph is refused."""

Label = Literal["exact", "approximate", "refused"]

FILES: dict[Reset, str] = {"zero": "network.nir", "subtract": "network-subtract.nir"}
"""The files of an export by how their neurons reset: `LIF` nodes, which other simulators read, or a loop of nodes."""

_CHUNK = 32
"""Images compared at once."""

_SUBTRACTS = "the network subtracts the threshold at a spike, NIR's LIF resets to 0"
_LOSES = "after a spike the network's neurons start at 0 without the input of that step, NIR's LIF keeps that input"
_POOLS = (
    "NIR has no max pool: the graph pools spikes behind the neurons, the network currents before them "
    "(pool: after_lif in the study has an exact graph)"
)
_ROUNDING = "the equations are the network's, sums are rounded in another order"


@dataclass(frozen=True)
class Drift:
    """What differs between a network and a graph on some images.

    Attributes:
        images: How many.
        spikes: Places where an output could spike: images x steps x outputs.
        differing: Those where only one of the two does.
        answers_differing: Images with another class.
        accuracy: Of the network.
        accuracy_of_graph: Of the graph.
    """

    images: int
    spikes: int
    differing: int
    answers_differing: int
    accuracy: float
    accuracy_of_graph: float

    @property
    def share(self) -> float:
        """Share of the output spikes that differ."""
        return self.differing / self.spikes


@dataclass(frozen=True)
class NirExport:
    """A graph with its label.

    Attributes:
        file: Its name.
        label: `exact`: it gave the network's spikes. `approximate`: for these reasons it did not always.
            `refused`: there is no file.
        reasons: Why it is not exact; empty where it is.
        drift: Measured on the graph as it was read back.
        data: The file's bytes; None where refused.
    """

    file: str
    label: Label
    reasons: tuple[str, ...]
    drift: Drift
    data: bytes | None

    def document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        drift = {**asdict(self.drift), "share": self.drift.share}
        return {"file": self.file, "label": self.label, "reasons": list(self.reasons), "drift": drift}

    def summary(self) -> str:
        """One line for people, with the drift."""
        drift = self.drift
        spikes = f"{drift.differing:,} of {drift.spikes:,} output spikes differ ({drift.share:.2%})"
        accuracy = f"accuracy {drift.accuracy:.1%} -> {drift.accuracy_of_graph:.1%}"
        answers = f"{drift.answers_differing:,} of {drift.images:,} answers differ"
        why = "".join(f"; {reason}" for reason in self.reasons)
        return f"{self.file}: {self.label}: {spikes}, {answers}, {accuracy}{why}"


def export_graphs(
    network: SpikingNetwork, images: Tensor, labels: Tensor, *, encoding: Encoding, seed: int
) -> list[NirExport]:
    """The network's NIR graphs, each compared with the network on images `(N, C, H, W)`.

    One with `LIF` nodes; for a network that subtracts its threshold, another one that does so.

    Args:
        network: On the CPU.
        images: Images to compare on.
        labels: Their classes `(N,)`.
        encoding: How images become input.
        seed: Keys random input coding.

    Raises:
        TrainingError: There are no images.
    """
    resets: tuple[Reset, ...] = ("zero",) if network.neuron.reset == "zero" else ("zero", "subtract")
    return [_exported(network, reset, images, labels, encoding, seed) for reset in resets]


def _exported(
    network: SpikingNetwork, reset: Reset, images: Tensor, labels: Tensor, encoding: Encoding, seed: int
) -> NirExport:
    reasons = list(differences(network, reset))
    data = dump(build_graph(network, reset, encoding))
    drift = measure_drift(network, load(data), images, labels, encoding=encoding, seed=seed)
    if refusal := _refusal(drift, reasons):
        return NirExport(FILES[reset], "refused", (refusal, *reasons), drift, None)
    if drift.differing and not reasons:
        reasons.append(_ROUNDING)
    return NirExport(FILES[reset], "approximate" if reasons else "exact", tuple(reasons), drift, data)


def _refusal(drift: Drift, reasons: Sequence[str]) -> str:
    """Why a graph is not to be given away; empty where it may."""
    if drift.accuracy - drift.accuracy_of_graph > LARGEST_LOSS:
        return f"it loses more than {LARGEST_LOSS * 100:g} points of accuracy"
    if not reasons and drift.share > ROUNDING_SHARE:
        return f"more than {ROUNDING_SHARE:.1%} of its output spikes differ, and nothing that we know of explains it"
    return ""


def differences(network: SpikingNetwork, reset: Reset) -> Iterator[str]:
    """Why the graph states other equations than the network; nothing where it states the same."""
    if reset != network.neuron.reset:
        yield _SUBTRACTS
    if isinstance(network.neuron, Lapicque) and network.neuron.reset == "zero":
        yield _LOSES
    if network.pool_first and any(layer.pool is not None and layer.pool.kind == "max" for layer in network.plan):
        yield _POOLS


# --- write and read ------------------------------------------------------------------------------------------------


def build_graph(network: SpikingNetwork, reset: Reset, encoding: Encoding) -> nir.NIRGraph:
    """The network as a graph of NIR nodes, without a batch dimension.

    Max pools become a `SumPool2d` of spikes with a `Threshold` at 0.5 behind it, wherever the network has them.

    Args:
        network: On the CPU.
        reset: How the neurons reset.
        encoding: Said in the metadata, with all else that NIR has no place for.
    """
    chain = _Chain(network.plan[0].in_shape)
    for layer in network.plan:
        _add_layer(chain, network, layer, reset)
    chain.add("output", nir.Output(np.array(chain.shape)))
    metadata = {
        "dt": DT,
        "time_steps": network.time_steps,
        "integration": "forward Euler, one step of dt a time step; a Delay of dt is the step before",
        "encoding": encoding,
        "input": "what enters the first layer; with direct coding the image at every step, normalised where asked for",
        "reset": reset,
        "classes": network.classes,
        "answer": "the class with most output spikes over all steps; a class owns consecutive outputs",
        "differences": "; ".join(differences(network, reset)) or "none",
    }
    return nir.NIRGraph(nodes=chain.nodes, edges=chain.edges, metadata=metadata)


def dump(graph: nir.NIRGraph) -> bytes:
    """A graph as the bytes of a NIR file (HDF5)."""
    file = io.BytesIO()
    nir.write(file, graph)
    return file.getvalue()


def load(data: bytes) -> nir.NIRGraph:
    """The graph in the bytes of a NIR file; its edges keep their order, its nodes do not."""
    return nir.read(io.BytesIO(data))


class _Chain:
    """Nodes one behind the other, with loops where they are asked for."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.nodes: dict[str, Any] = {"input": nir.Input(np.array(shape))}
        self.edges: list[tuple[str, str]] = []
        self.shape, self.last = shape, "input"

    def add(self, name: str, node: Any, shape: tuple[int, ...] | None = None) -> None:
        """Put a node behind the last one."""
        self.nodes[name] = node
        self.edges.append((self.last, name))
        self.shape, self.last = shape or self.shape, name

    def back(self, name: str, node: Any, *, to: str) -> None:
        """Feed the last node's output back to an earlier one, one step later, through a node."""
        self.nodes[f"{name}_delay"] = nir.Delay(np.full(self.shape, DT))
        self.nodes[name] = node
        self.edges += [(self.last, f"{name}_delay"), (f"{name}_delay", name), (name, to)]


def _add_layer(chain: _Chain, network: SpikingNetwork, layer: Layer, reset: Reset) -> None:
    module = network.get_submodule(layer.name)
    pools_current = layer.pool is not None and layer.pool.kind == "average"
    if isinstance(layer.block, Conv):
        chain.add(layer.name, _conv(module, layer), layer.out_shape)
    else:
        if len(chain.shape) > 1:
            flat = (int(np.prod(chain.shape)),)
            chain.add(f"{layer.name}_flatten", nir.Flatten(np.array(chain.shape), start_dim=0), flat)
        chain.add(layer.name, nir.Affine(_array(module.weight), _array(module.bias)), layer.out_shape)
    if layer.pool is not None and pools_current:
        chain.add(f"{layer.name}_pool", nir.AvgPool2d(**_window(layer.pool)), layer.pooled_shape)
    _add_neurons(chain, network, layer, reset)
    if layer.pool is not None and not pools_current:
        chain.add(f"{layer.name}_pool", nir.SumPool2d(**_window(layer.pool)), layer.pooled_shape)
        chain.add(f"{layer.name}_any", nir.Threshold(np.full(chain.shape, 0.5)))


def _add_neurons(chain: _Chain, network: SpikingNetwork, layer: Layer, reset: Reset) -> None:
    """Neurons `u' = decay u + x`, spiking above the threshold; where nothing leaks (decay 1) they are integrators."""
    name, shape = layer.name, chain.shape
    decay, threshold, gains = _numbers(network, layer)
    for index, gain in enumerate(gains, start=1):
        chain.add(f"{name}_gain{index}", nir.Scale(np.full(shape, gain)))
    if decay == 1:
        membrane = {"r": np.full(shape, 1 / DT)}
        spiking, silent = nir.IF, nir.I
    else:
        tau = DT / (1 - decay)
        membrane = {"tau": np.full(shape, tau), "r": np.full(shape, tau / DT), "v_leak": np.zeros(shape)}
        spiking, silent = nir.LIF, nir.LI
    level = np.full(shape, threshold)
    if reset == "zero":
        chain.add(f"{name}_spikes", spiking(**membrane, v_threshold=level, v_reset=np.zeros(shape)))
        return
    chain.add(f"{name}_membrane", silent(**membrane))
    chain.add(f"{name}_spikes", nir.Threshold(level))
    chain.back(f"{name}_reset", nir.Scale(-level), to=f"{name}_membrane")


def _numbers(network: SpikingNetwork, layer: Layer) -> tuple[float, float, tuple[float, ...]]:
    """Decay, threshold and factors of the current of a layer's neurons, learned or given."""
    constants, learned = network.neuron.constants, network.learned(layer)
    decay = constants.decay if learned.beta is None else min(max(float(learned.beta.detach()), 0.0), 1.0)
    threshold = constants.threshold if learned.threshold is None else float(learned.threshold.detach())
    return decay, threshold, constants.gains


def _conv(module: nn.Module, layer: Layer) -> Any:
    assert isinstance(layer.block, Conv)
    return nir.Conv2d(
        input_shape=layer.in_shape[1:],
        weight=_array(module.weight),
        stride=1,
        padding=layer.block.padding,
        dilation=1,
        groups=1,
        bias=_array(module.bias),
    )


def _window(pool: Pool) -> dict[str, NDArray[np.int64]]:
    size = np.array([pool.size, pool.size])
    return {"kernel_size": size, "stride": size, "padding": np.zeros(2, np.int64)}


def _array(tensor: Any) -> NDArray[np.float32]:
    return np.ascontiguousarray(tensor.detach().cpu().numpy(), np.float32)


# --- compare ----------------------------------------------------------------------------------------------------------


def measure_drift(
    network: SpikingNetwork, graph: nir.NIRGraph, images: Tensor, labels: Tensor, *, encoding: Encoding, seed: int
) -> Drift:
    """What differs between the network's output spikes and the graph's, with the input that `record` would give.

    Raises:
        TrainingError: There are no images.
        NirError: As `run_graph`.
    """
    if len(images) == 0:
        raise TrainingError("there are no images to compare a graph on; check dataset.limit and dataset.validation")
    random, found = generator(seed, "evaluation"), np.zeros(4, np.int64)
    with torch.no_grad():
        for start in range(0, len(images), _CHUNK):
            signal = encode(images[start : start + _CHUNK], encoding, network.time_steps, random)
            wanted, entered = _run(network, signal)
            got = run_graph(graph, entered, network.time_steps)
            answers, others = (predicted(spikes, network.classes) for spikes in (wanted, got))
            right = labels[start : start + _CHUNK].numpy()
            found += [int((wanted != got).sum()), *(int(n.sum()) for n in _compared(answers, others, right))]
    differing, changed, correct, correct_of_graph = found.tolist()
    count = len(images)
    spikes = count * network.time_steps * network.outputs
    return Drift(count, spikes, differing, changed, correct / count, correct_of_graph / count)


def _compared(answers: Any, others: Any, right: Any) -> tuple[Any, Any, Any]:
    return answers != others, answers == right, others == right


def _run(network: SpikingNetwork, signal: Tensor) -> tuple[Tensor, Tensor]:
    """The network's output, and what entered its first layer: `(T, B, C, H, W)`, or `(1, B, C, H, W)` for an image.

    A graph begins with the first layer, so what a network does to its images before that is not in it.
    """
    entered: list[Tensor] = []
    first = network.plan[0]
    hook = network.get_submodule(first.name).register_forward_pre_hook(lambda module, given: entered.append(given[0]))
    try:
        output = network(signal)
    finally:
        hook.remove()
    return output, entered[0].reshape(-1, signal.shape[-4], *first.in_shape)
