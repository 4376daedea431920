"""The model card of an exported trial: what it is, how it was made, how good it is, and how to load it again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import yaml

from hwmodel.table import number, report_table
from objectives.nirgraph import NirExport
from objectives.spec import Study
from service.export import CARD_START

LOADING = """\
from pathlib import Path

from objectives.activity import record
from objectives.checkpoint import load_tensors
from objectives.data import load_dataset
from objectives.network import build_network
from objectives.spec import Study

folder = Path(".")  # where this file lies
study = Study.model_validate_json((folder / "settings.json").read_text())
data = load_dataset(study.dataset, Path("var/data"))
network = build_network(study, data.info, seed={seed})
network.load_state_dict(load_tensors((folder / "weights.safetensors").read_bytes()))

images, labels = data.validation.images, data.validation.labels
print(record(network, images, labels, encoding=study.encoding, seed={seed}).accuracy)
"""
"""A card's Python; it finds data sets where spikefront keeps them by default, and prints the validation accuracy."""

_UNITS = {"accuracy": "%", "latency_ms": "ms", "fps_per_watt": "FPS/W", "energy_uj": "µJ"}
_NAMES = {
    "accuracy": "accuracy",
    "latency_ms": "latency",
    "fps_per_watt": "frames per second per watt",
    "energy_uj": "energy of an image",
}


@dataclass(frozen=True)
class Card:
    """What a model card is written from.

    Attributes:
        trial: As `Studies.trial` tells it.
        study: The study's name.
        settings: The trial's settings, with its parameters and its accelerator in place.
        versions: Of the decisive packages when the study began.
        frozen_hash: Of the study's frozen part.
        images: Numbers of images: `train`, `validation` and `test`.
        accuracy: Measured again on the validation images, with the input of the accelerator.
        graphs: The NIR graphs.
    """

    trial: Mapping[str, Any]
    study: str
    settings: Study
    versions: Mapping[str, str]
    frozen_hash: str
    images: Mapping[str, int]
    accuracy: float
    graphs: Sequence[NirExport]

    @property
    def seed(self) -> int:
        """The trial's own."""
        return int(self.trial["attributes"]["seed"])


def model_card(card: Card, content: Mapping[str, str]) -> str:
    """The card as Markdown.

    Args:
        card: What it is written from.
        content: Names of the files beside the card, and what they hold.
    """
    parts = [part(card) for part in (_head, _training, _scores, _hardware, _graphs, _loading)]
    return "\n\n".join("\n".join(part) for part in (*parts, _files(content), _origin(card))) + "\n"


def _head(card: Card) -> Iterator[str]:
    settings = card.settings
    yield f"{CARD_START}{card.trial['trial']} of {card.study}"
    yield ""
    yield (
        f"A spiking neural network `{settings.network}` that classifies {settings.dataset.name} in "
        f"{settings.time_steps} time steps, and the FPGA accelerator that it was scored on."
    )
    if settings.notes:
        yield ""
        yield from (f"> {line}" for line in settings.notes.splitlines())


def _training(card: Card) -> Iterator[str]:
    settings, images = card.settings, card.images
    yield "## How it was made\n"
    yield (
        f"Trained on {images['train']:,} images of {settings.dataset.name}; the search saw {images['validation']:,} "
        f"validation images, drawn by class with split seed {settings.dataset.split_seed}; {images['test']:,} test "
        f"images were held back from both."
    )
    yield "\nWhat the search chose:\n"
    yield from _table(["parameter", "value"], [[f"`{name}`", f"`{v}`"] for name, v in card.trial["params"].items()])
    yield "\nAll settings of the training:\n"
    fields = {"search", "baseline", "notes", "sampler", "stopping", "budget", "objectives", "constraints", "versions"}
    settings_of_training = settings.model_dump(mode="json", by_alias=True, exclude={*fields, "accelerator", "study"})
    yield f"```yaml\n{yaml.safe_dump(settings_of_training, sort_keys=False, allow_unicode=True)}```"


def _scores(card: Card) -> Iterator[str]:
    values, test = card.trial["values"], card.trial["test"]
    images = card.images
    heads = ["", f"validation ({images['validation']:,} images)"]
    rows = [[_NAMES[name], _value(name, value, images["validation"])] for name, value in values.items()]
    if test is not None:
        heads.append(f"test ({images['test']:,} images)")
        rows = [
            [*row, _value(name, test[name], images["test"]) if name in test else "–"]
            for row, name in zip(rows, values, strict=True)
        ]
    yield "## Scores\n"
    yield from _table(heads, rows)
    yield "\nAccuracy with its binomial standard error, of the weights after the last epoch."
    if test is None:
        yield "Not scored on the test images: a study scores the trials on its front there, once, when it is complete."
    yield f"Measured again for this export, with the accelerator's input: {card.accuracy:.2%} of the validation images."


def _hardware(card: Card) -> Iterator[str]:
    yield "## Accelerator\n"
    yield "Latencies are cycle-exact; power and energy are estimates. Layers, causes and energies:\n"
    yield f"```text\n{report_table(card.trial['details']['hardware'])}```"


def _graphs(card: Card) -> Iterator[str]:
    yield "## NIR graphs\n"
    yield (
        "Written with the package `nir`, read back, run by what they say in forward Euler steps, and compared with "
        "the network on the validation images. Reset, step and coding stand in each graph's metadata.\n"
    )
    heads = ["graph", "label", "output spikes that differ", "other answers", "accuracy", "why"]
    yield from _table(heads, [_graph(graph) for graph in card.graphs])


def _graph(graph: NirExport) -> list[str]:
    drift = graph.drift
    return [
        f"`{graph.file}`" if graph.data else f"no `{graph.file}`",
        graph.label,
        f"{drift.differing:,} of {drift.spikes:,} ({drift.share:.2%})",
        f"{drift.answers_differing:,} of {drift.images:,}",
        f"{drift.accuracy_of_graph:.2%}, the network's is {drift.accuracy:.2%}",
        "; ".join(graph.reasons) or "the same equations, the same spikes",
    ]


def _loading(card: Card) -> Iterator[str]:
    yield "## Load it again\n"
    yield "With spikefront installed, this prints the accuracy on the validation images:\n"
    yield f"```python\n{LOADING.format(seed=card.seed)}```"
    if any(graph.data for graph in card.graphs):
        yield "\nA graph is read with `nir.read(FILE)`."


def _files(content: Mapping[str, str]) -> Iterator[str]:
    yield "## Files\n"
    yield from _table(["file", "content"], [[f"`{name}`", words] for name, words in content.items()])


def _origin(card: Card) -> Iterator[str]:
    attributes = card.trial["attributes"]
    rows = [
        ["study", f"`{card.study}`, frozen part {card.frozen_hash[:16]}"],
        ["trial", str(card.trial["trial"])],
        ["seed", str(card.seed)],
        ["worker", str(attributes.get("worker", "–"))],
        *([f"{name} (study)", of_study] for name, of_study in card.versions.items()),
        ["spikefront (export)", version("spikefront")],
        ["nir (export)", version("nir")],
    ]
    if other := attributes.get("not bit-comparable"):
        rows.append(["trained with other versions", ", ".join(f"{name} {v}" for name, v in other.items())])
    yield "## Origin\n"
    yield from _table(["", ""], rows)
    yield f"\nTrained again bit for bit from its record: `spikefront replay {card.study}/{card.trial['trial']}`"


def _value(name: str, value: float, images: int) -> str:
    if name != "accuracy":
        return f"{number(value)} {_UNITS[name]}"
    error = math.sqrt(value * (1 - value) / images)
    return f"{value * 100:.2f} ± {error * 100:.2f} %"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for cells in (heads, ["---"] * len(heads), *rows):
        yield "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
