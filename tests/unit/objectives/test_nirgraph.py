"""NIR graphs: what is exact gives the network's spikes, what is not says so, and graphs run by what their nodes say."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import nir
import numpy as np
import pytest
import torch

from objectives import nirgraph
from objectives.activity import predicted
from objectives.encoding import Encoding, encode, generator
from objectives.errors import TrainingError
from objectives.network import SpikingNetwork
from objectives.neuron import Lapicque, Lif, Neuron
from objectives.nirgraph import build_graph, dump, export_graphs, load
from objectives.nirrun import NirError, run_graph
from objectives.surrogate import Atan
from tests.unit.objectives.factory import make_images, make_labels

SMALL = "6C3p1-MP2-8C3-24-10"
ATAN = Atan(2.0)
SUBTRACTS, RESETS = Lif(0.6, 0.3, ATAN), Lif(0.6, 0.3, ATAN, "zero")


def make(network: str = SMALL, neuron: Neuron = SUBTRACTS, **fields: Any) -> SpikingNetwork:
    """A seeded network on 8x8 images that fires untrained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SpikingNetwork(network, (1, 8, 8), 10, neuron=neuron, **{"time_steps": 6, "pool": "after_lif", **fields})


def export(network: SpikingNetwork, encoding: Encoding = "direct", labels: Any = None) -> dict[str, Any]:
    """The exported graphs by file, on forty random images."""
    images = make_images(40)
    graphs = export_graphs(network, images, make_labels(40) if labels is None else labels, encoding=encoding, seed=3)
    return {graph.file: graph for graph in graphs}


def spikes(network: SpikingNetwork, graph: Any, encoding: Encoding = "direct") -> tuple[torch.Tensor, torch.Tensor]:
    """Output of the network, and of the graph behind a file."""
    signal = encode(make_images(40), encoding, network.time_steps, generator(3, "evaluation"))
    with torch.no_grad():
        over_time = signal if signal.dim() == 5 else signal.unsqueeze(0)
        return network(signal), run_graph(load(dump(graph)), over_time, network.time_steps)


# --- labels ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["direct", "rate", "latency"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"network": "6C3-AP2-24-20", "pool": "before_lif"},
        {"network": "32-10"},
        {"network": "6C3p1-MP3-10", "time_steps": 1},
        {"neuron": Lif(0.0, 0.3, ATAN)},
        {"neuron": Lif(1.0, 0.8, ATAN)},
        {"neuron": Lapicque.of_beta(0.2, 0.1, ATAN)},
        {"neuron": Lapicque(2.0, 1.7, 0.1, ATAN, 0.9)},
    ],
    ids=["pool", "average", "dense", "one step", "no memory", "no leak", "lapicque", "circuit"],
)
def test_a_subtracting_network_has_an_exact_graph(fields: dict[str, Any], encoding: Encoding) -> None:
    graph = export(make(**fields), encoding)["network-subtract.nir"]
    assert (graph.label, graph.reasons, graph.drift.differing) == ("exact", (), 0)
    wanted, got = spikes(make(**fields), load(graph.data), encoding)
    assert wanted.sum() > 0
    assert torch.equal(wanted, got)


@pytest.mark.parametrize("beta", [0.0, 0.37, 1.0])
def test_a_network_that_resets_to_zero_has_one_graph_and_it_is_exact(beta: float) -> None:
    graphs = export(make(neuron=Lif(beta, 0.3, ATAN, "zero")))
    assert list(graphs) == ["network.nir"]
    assert graphs["network.nir"].label == "exact"


def test_what_layers_learned_stands_in_the_graph() -> None:
    network = make(learn=("beta", "threshold"))
    with torch.no_grad():
        network.get_parameter("conv1_neuron.beta").fill_(0.813)
        network.get_parameter("fc1_neuron.threshold").fill_(0.217)
    graph = load(export(network)["network-subtract.nir"].data)
    assert export(network)["network-subtract.nir"].label == "exact"
    assert graph.nodes["fc1_spikes"].threshold == pytest.approx(0.217)
    assert 1 - nirgraph.DT / graph.nodes["conv1_membrane"].tau == pytest.approx(0.813)
    assert 1 - nirgraph.DT / graph.nodes["conv2_membrane"].tau == pytest.approx(0.6)


def test_lif_nodes_are_the_network_with_another_reset() -> None:
    """An independent twin: the same weights in a network that resets to zero give the approximate graph's spikes."""
    network, twin = make(), make(neuron=RESETS)
    exported = export(network)["network.nir"]
    wanted, got = spikes(twin, load(exported.data))
    assert torch.equal(wanted, got)
    differing = int((network(make_images(40)) != twin(make_images(40))).sum())
    assert 0 < differing == exported.drift.differing
    assert exported.label == "approximate"
    assert [reason.split(",")[0] for reason in exported.reasons] == ["the network subtracts the threshold at a spike"]
    assert f"{differing} of 2,400 output spikes differ" in exported.summary()


def test_a_max_pool_of_currents_is_written_as_one_of_spikes_and_said_so() -> None:
    network, twin = make(pool="before_lif"), make(pool="after_lif")
    exported = export(network)["network-subtract.nir"]
    wanted, got = spikes(twin, load(exported.data))
    assert torch.equal(wanted, got)
    assert exported.label == "approximate"
    assert exported.drift.differing > 0
    assert "NIR has no max pool" in exported.summary()


def test_a_lapicque_neuron_that_resets_to_zero_is_not_called_exact() -> None:
    exported = export(make(neuron=Lapicque.of_beta(0.2, 0.1, ATAN, reset="zero")))["network.nir"]
    assert exported.drift.differing > 0
    assert "without the input of that step" in exported.reasons[0]


def test_a_graph_that_loses_much_accuracy_is_refused() -> None:
    network = make()
    answers = predicted(network(make_images(40)).detach(), 10)
    exported = export(network, labels=torch.from_numpy(answers))["network.nir"]
    assert exported.drift.accuracy == 1
    assert exported.drift.accuracy_of_graph == 1 - exported.drift.answers_differing / 40 < 0.9
    assert (exported.label, exported.data) == ("refused", None)
    assert exported.reasons[0] == "it loses more than 10 points of accuracy"


def test_what_nothing_explains_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nirgraph, "differences", lambda network, reset: iter(()))
    exported = export(make())["network.nir"]
    assert (exported.label, exported.data) == ("refused", None)
    assert "nothing that we know of explains it" in exported.reasons[0]


def test_one_spike_of_rounding_is_no_exact_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_off(*given: Any) -> torch.Tensor:
        out = run_graph(*given)
        out[0, 0, 0] = 1 - out[0, 0, 0]
        return out

    monkeypatch.setattr(nirgraph, "run_graph", one_off)
    images = make_images(32)
    network = make("10", time_steps=100)
    exported = export_graphs(network, images, make_labels(32), encoding="direct", seed=3)[1]
    assert (exported.label, exported.drift.differing) == ("approximate", 1)
    assert "another order" in exported.reasons[0]


def test_a_graph_begins_behind_what_a_network_does_to_its_images() -> None:
    class Normalising(SpikingNetwork):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward((images - 0.3) / 0.2)

    given: dict[str, Any] = {"neuron": RESETS, "time_steps": 6, "pool": "after_lif"}
    for network in ("32-10", SMALL):
        assert export(Normalising(network, (1, 8, 8), 10, **given))["network.nir"].label == "exact"


def test_without_images_nothing_is_compared() -> None:
    with pytest.raises(TrainingError, match="no images"):
        export_graphs(make(), make_images(0), make_labels(0), encoding="direct", seed=1)


# --- the file ----------------------------------------------------------------------------------------------------


def test_a_file_holds_the_nodes_the_order_of_the_edges_and_what_nir_has_no_place_for() -> None:
    graph = build_graph(make("4C3p1-MP2-10"), "zero", "rate")
    again = load(dump(graph))
    assert again.edges == graph.edges == [
        ("input", "conv1"), ("conv1", "conv1_spikes"), ("conv1_spikes", "conv1_pool"), ("conv1_pool", "conv1_any"),
        ("conv1_any", "fc1_flatten"), ("fc1_flatten", "fc1"), ("fc1", "fc1_spikes"), ("fc1_spikes", "output"),
    ]  # fmt: skip
    assert {name: type(node) for name, node in again.nodes.items()} == {n: type(x) for n, x in graph.nodes.items()}
    assert again.metadata == graph.metadata
    assert {name: again.metadata[name] for name in ("dt", "time_steps", "encoding", "reset", "classes")} == {
        "dt": 1e-4, "time_steps": 6, "encoding": "rate", "reset": "zero", "classes": 10,
    }  # fmt: skip
    assert "subtracts the threshold" in again.metadata["differences"]


def test_the_same_network_gives_the_same_bytes() -> None:
    graphs = [dump(build_graph(make(), "subtract", "direct")) for _ in range(2)]
    assert graphs[0] == graphs[1]


# --- graphs of others' making ------------------------------------------------------------------------------------


def chain(*nodes: Any, steps: list[float], edges: list[tuple[str, str]] | None = None, **named: Any) -> list[float]:
    """Outputs of one neuron or node with one input that takes `steps`, dt = 1."""
    given = {"input": nir.Input(np.array([1])), **named, "output": nir.Output(np.array([1]))}
    given |= {str(index): node for index, node in enumerate(nodes)}
    names = ["input", *map(str, range(len(nodes))), "output"]
    graph = nir.NIRGraph(given, edges or list(pairwise(names)), metadata={"dt": 1.0})
    signal = torch.tensor(steps).view(-1, 1, 1)
    out: list[float] = run_graph(graph, signal, len(steps)).flatten().tolist()
    return out


def one(**values: float) -> dict[str, Any]:
    return {name: np.array([value]) for name, value in values.items()}


def test_a_lif_leaks_to_its_leak_voltage_and_resets_to_its_reset_voltage() -> None:
    # v = 0 -> 0.5 (1 - 0) + 0.5 * 2 * 1 = 1.5, no spike; then 0.75 + 0.5 + 1 = 2.25, a spike, back to 0.25; then 1.625
    node = nir.LIF(**one(tau=2.0, r=2.0, v_leak=1.0, v_threshold=2.0, v_reset=0.25))
    assert chain(node, steps=[1.0, 1.0, 1.0, 1.0]) == [0.0, 1.0, 0.0, 1.0]
    membrane = nir.LI(**one(tau=2.0, r=2.0, v_leak=1.0))
    assert chain(membrane, steps=[1.0, 1.0, 0.0]) == [1.5, 2.25, 1.625]


def test_a_threshold_is_passed_strictly_above() -> None:
    assert chain(nir.Threshold(np.array([0.5])), steps=[0.5, 0.625]) == [0.0, 1.0]
    assert chain(nir.IF(**one(r=1.0, v_threshold=1.0)), steps=[1.0, 0.25]) == [0.0, 1.0]


def test_a_delay_gives_what_it_got() -> None:
    assert chain(nir.Delay(np.array([2.0])), steps=[1.0, 2.0, 3.0, 4.0]) == [0.0, 0.0, 1.0, 2.0]


def test_a_loop_needs_a_delay() -> None:
    back = {"sum": nir.Scale(np.array([1.0])), "half": nir.Scale(np.array([0.5]))}
    edges = [("input", "sum"), ("sum", "half"), ("half", "sum"), ("sum", "output")]
    with pytest.raises(NirError, match="loop without a delay"):
        chain(steps=[1.0], edges=edges, **back)
    edges = [("input", "sum"), ("sum", "late"), ("late", "half"), ("half", "sum"), ("sum", "output")]
    late = nir.Delay(np.array([1.0]))
    assert chain(steps=[1.0, 0.0, 0.0], edges=edges, **back, late=late) == [1.0, 0.5, 0.25]


@pytest.mark.parametrize("delay", [0.0, 0.3])
def test_a_delay_within_a_step_is_refused(delay: float) -> None:
    with pytest.raises(NirError, match="expected one whole number of at least 1"):
        chain(nir.Delay(np.array([delay])), steps=[1.0])


def test_an_unknown_node_is_refused() -> None:
    node = nir.CubaLIF(**one(tau_syn=1.0, tau_mem=1.0, r=1.0, v_leak=0.0, v_threshold=1.0))
    with pytest.raises(NirError, match="0: a node CubaLIF is none of ours"):
        chain(node, steps=[1.0])
