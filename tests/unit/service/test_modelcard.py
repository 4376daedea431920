"""The model card: every figure with what it is worth, and nothing said that is not known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hwmodel.simulate import simulate
from objectives.hardware import accelerator_of
from objectives.nirgraph import Drift, NirExport
from service.modelcard import Card, model_card
from tests.support.studies import make_study

PARAMS = {"beta": 0.75, "threshold": 0.5, "accelerator.neural_cores.0": 4}
DRIFT = Drift(images=60, spikes=2400, differing=36, answers_differing=2, accuracy=0.75, accuracy_of_graph=0.7)


def make_card(notes: str | None = None, **changes: Any) -> Card:
    """The card of trial 3 of the tiny study; `changes` replace what is stored of the trial."""
    settings = make_study(notes=notes).resolve(PARAMS)
    counts = [np.zeros((60, 4, 0), np.int32), np.ones((60, 4, 4), np.int32)]
    trial = {
        "trial": 3, "params": PARAMS, "values": {"accuracy": 0.75, "latency_ms": 0.0123, "fps_per_watt": 81234.5},
        "test": {"accuracy": 0.8, "latency_ms": 0.0125}, "attributes": {"seed": 11, "worker": "gpu-a-17"},
        "details": {"hardware": simulate(accelerator_of(settings), counts).report()},
    }  # fmt: skip
    graphs = [
        NirExport("network.nir", "approximate", ("NIR's LIF | resets to 0",), DRIFT, b"hdf5"),
        NirExport("network-subtract.nir", "refused", ("it loses much",), DRIFT, None),
    ]
    images = {"train": 240, "validation": 60, "test": 360}
    versions = {"torch": "2.1.0"}
    return Card({**trial, **changes}, "tiny", settings, versions, "f" * 64, images, 0.75, graphs)


def text(card: Card) -> str:
    return model_card(card, {"weights.safetensors": "the trained network"})


def section(card: Card, head: str) -> str:
    """What stands under a heading."""
    return text(card).partition(f"## {head}\n")[2].partition("\n## ")[0]


def test_a_card_says_what_the_network_is() -> None:
    words = text(make_card(notes="for the poster\nof May"))
    assert words.startswith("# Trial 3 of tiny\n")
    assert "A spiking neural network `4C3p1-MP2-10` that classifies digits in 4 time steps" in words
    assert "> for the poster\n> of May\n" in words
    assert words.count("\n## ") == 7


def test_it_tells_the_data_split_and_what_was_searched() -> None:
    made = section(make_card(), "How it was made")
    assert "Trained on 240 images of digits; the search saw 60 validation images" in made
    assert "360 test images were held back" in made
    assert "| `threshold` | `0.5` |" in made
    assert "  batch: 32\n" in made
    assert "sampler" not in made


def test_accuracies_have_their_standard_error() -> None:
    scores = section(make_card(), "Scores")
    # sqrt(0.75 * 0.25 / 60) = 5.59 %, sqrt(0.8 * 0.2 / 360) = 2.11 %
    assert "| accuracy | 75.00 ± 5.59 % | 80.00 ± 2.11 % |" in scores
    assert "| latency | 0.0123 ms | 0.0125 ms |" in scores
    assert "| frames per second per watt | 81,200 FPS/W | – |" in scores  # was not measured there: not 0


def test_a_trial_off_the_front_has_no_test_scores() -> None:
    scores = section(make_card(test=None), "Scores")
    assert "test (360" not in scores
    assert "Not scored on the test images" in scores


def test_the_accelerator_is_summed_up_and_called_an_estimate() -> None:
    accelerator = section(make_card(), "Accelerator")
    assert "power and energy are estimates" in accelerator
    assert "conv1 fc1: ideal mode, sequential, 100 MHz, xc7z045, 4 steps, 60 images" in accelerator


def test_graphs_stand_with_label_drift_and_reason() -> None:
    graphs = section(make_card(), "NIR graphs")
    assert "| `network.nir` | approximate | 36 of 2,400 (1.50%) | 2 of 60 | 70.00%, the network's is 75.00% |" in graphs
    assert "NIR's LIF \\| resets to 0" in graphs
    assert "| no `network-subtract.nir` | refused |" in graphs


def test_without_a_graph_none_is_said_to_be_read() -> None:
    card = make_card()
    assert "nir.read" in text(card)
    assert "nir.read" not in text(replace(card, graphs=card.graphs[1:]))


def test_the_origin_has_seed_versions_and_the_way_back() -> None:
    origin = section(make_card(), "Origin")
    assert "| seed | 11 |" in origin
    assert "| torch (study) | 2.1.0 |" in origin
    assert "`spikefront replay tiny/3`" in origin
    assert "other versions" not in origin


def test_a_trial_of_other_versions_says_so() -> None:
    attributes = {"seed": 11, "worker": "old", "not bit-comparable": {"torch": "2.0.0"}}
    assert "| trained with other versions | torch 2.0.0 |" in section(make_card(attributes=attributes), "Origin")


@pytest.mark.parametrize("head", ["Files", "Load it again"])
def test_files_and_code_are_there(head: str) -> None:
    assert "weights.safetensors" in section(make_card(), head)
