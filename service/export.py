"""Take results away: the front as a table, a trained network with its accelerator as files."""

from __future__ import annotations

import csv
import io
import json
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.numpy

from objectives import hardwaresearch
from objectives.spec import Study
from service.errors import NotFound, UsageError
from service.fronts import Front
from service.handout import settled
from service.studies import Studies
from storage.artifacts import Artifacts

if TYPE_CHECKING:
    from objectives.activity import Activity

SETTINGS_FILE, SCORES_FILE = "settings.json", "scores.json"
"""Files of an exported trial that are read again beside its weights."""

WEIGHTS_FILE, CARD_FILE = "weights.safetensors", "README.md"

CARD_START = "# Trial "
"""How a model card begins."""

CONTENT = {
    CARD_FILE: "the model card",
    WEIGHTS_FILE: "the trained network: `conv1.weight`, `conv1.bias`, ...",
    SETTINGS_FILE: "the study with this trial's parameters and its accelerator in place",
    SCORES_FILE: "validation, test and baseline-accelerator scores, and the seed",
    "accelerator.json": "the accelerator and its report: cycles, energy and resources by layer",
    "activity.safetensors": (
        "spikes at each layer's input on the validation images, `conv1.counts` `(images, steps, channels)`; "
        "no channels where the input is an image; `correct` says which images were classified correctly"
    ),
    "network.nir": "NIR graph of `LIF` nodes, which reset to 0; missing where it is refused",
    "network-subtract.nir": "NIR graph whose neurons subtract the threshold, by a loop; only where the network does",
    "nir.json": "label, reasons and drift of the NIR graphs",
    "hardware-front.csv": "every accelerator that this trial had to choose from; only where trials search accelerators",
}
"""Every file of an exported trial, and what it holds."""

SCORES = ("values", "test", "on_baseline_accelerator")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def front_text(front: Front, form: str) -> str:
    """The front as csv, json or markdown.

    Raises:
        UsageError: Another form is asked for.
    """
    if form == "json":
        return json.dumps(front.document(), indent=2) + "\n"
    rows = front_rows(front)
    heads = list(dict.fromkeys(head for row in rows for head in row))
    if form == "csv":
        return _csv(heads, rows)
    if form == "markdown":
        return _markdown(heads, rows)
    raise UsageError(f"--format {form}: expected csv, json or markdown")


def front_rows(front: Front) -> list[dict[str, Any]]:
    """The points of a front, flat; changes in percentage points for accuracy, in percent for the rest."""
    rows = []
    for point in front.points:
        row: dict[str, Any] = {"trial": point["trial"], **point["values"]}
        row |= {f"{name} vs baseline": change for name, change in (point["vs_baseline"] or {}).items()}
        row |= {f"test {name}": value for name, value in (point["test"] or {}).items()}
        again = point["on_baseline_accelerator"] or {}
        row |= {f"{name} on baseline accelerator": value for name, value in again.items()}
        rows.append(row | point["params"] | _choice(point.get("accelerator_chosen") or {}))
    return rows


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        files: In the order of `CONTENT`.
        notes: The label and the drift of each NIR graph, a line each.
    """

    files: list[Path]
    notes: list[str]


def export_trial(studies: Studies, artifacts: Path, data: Path, trial: tuple[str, int], folder: Path) -> Exported:
    """Write a trial into a folder: weights, settings, scores, accelerator, activity, NIR graphs, model card.

    Where trials search accelerators, also all that this one had to choose from, as a table. The files appear
    together: when a part of the export fails, the folder is as it was. Files of an earlier export that this one
    does not have are removed, all others stay.

    Args:
        studies: Of the open database.
        artifacts: Folder of the artifact store.
        data: Folder of the data sets.
        trial: The study's name and the trial's number.
        folder: Made where it does not exist.

    Raises:
        NotFound: There is no such study or trial, or it is not complete.
        ArtifactError: What was stored is missing, torn or altered.
        CheckpointError: The stored weights are of another network.
        DatasetError: The data set is missing or corrupted.
        UsageError: The folder cannot be written.
    """
    study, number = trial
    stored, spec, where = studies.trial(study, number), studies.spec(study), studies.weights_of(study, number)
    if where is None or stored["details"] is None:
        raise NotFound(f"trial {number} of {study!r} is {stored['state']}; only a complete trial has a network")
    store, front = Artifacts(artifacts), studies.hardware_front_of(study, number)
    settings = settled(spec.resolve(stored["params"]), stored["details"])
    row = studies.row(study)
    found = _Found(study, stored, settings, store.read(*where), row.versions, row.frozen_hash)
    documents, graphs = _measured(found, data)
    if front is not None:
        documents["hardware-front.csv"] = _front_csv(store.read(*front))
    documents = {name: documents[name] for name in CONTENT if name in documents}
    _write_together(folder, documents)
    return Exported([folder / name for name in documents], graphs)


@dataclass(frozen=True)
class _Found:
    """What is stored of a complete trial."""

    study: str
    trial: Mapping[str, Any]
    settings: Study
    weights: bytes
    versions: Mapping[str, str]
    frozen_hash: str


def _measured(found: _Found, data: Path) -> tuple[dict[str, bytes], list[str]]:
    """The files of a trial by name, all but its hardware front; and a line about each NIR graph.

    Here alone an export loads torch; and `service.hardware` reads the files whose names are given here.
    """
    from objectives.checkpoint import load_tensors
    from objectives.data import load_dataset
    from objectives.network import build_network
    from objectives.nirgraph import export_graphs
    from service.hardware import Trained, record_activity
    from service.modelcard import Card, model_card

    trial, settings, seed = found.trial, found.settings, int(found.trial["attributes"]["seed"])
    name = f"trial {trial['trial']} of {found.study}"
    weights = load_tensors(found.weights)
    activity = record_activity(Trained(name, settings, weights, seed), data)
    dataset = load_dataset(settings.dataset, data)
    network, valid = build_network(settings, dataset.info, seed), dataset.validation
    network.load_state_dict(weights)
    graphs = export_graphs(network, valid.images, valid.labels, encoding=settings.encoding, seed=seed)
    documents = {
        WEIGHTS_FILE: found.weights,
        SETTINGS_FILE: _json(settings.model_dump(mode="json", by_alias=True)),
        SCORES_FILE: _json({**{key: trial[key] for key in SCORES}, "seed": seed}),
        "accelerator.json": _json(_accelerator(settings, trial["details"]["hardware"])),
        "activity.safetensors": _activity(activity),
        "nir.json": _json([graph.document() for graph in graphs]),
        **{graph.file: graph.data for graph in graphs if graph.data is not None},
    }
    images = {part: len(getattr(dataset, part).labels) for part in ("train", "validation", "test")}
    card = Card(trial, found.study, settings, found.versions, found.frozen_hash, images, activity.accuracy, graphs)
    documents[CARD_FILE] = model_card(card, CONTENT).encode()
    return documents, [graph.summary() for graph in graphs]


def _activity(activity: Activity) -> bytes:
    """Spikes at each layer's input as `LAYER.counts`, and which images were classified correctly."""
    arrays = {f"{name}.counts": counts for name, counts in zip(activity.names, activity.counts, strict=True)}
    return safetensors.numpy.save({**arrays, "correct": activity.correct})


def _write_together(folder: Path, documents: Mapping[str, bytes]) -> None:
    """Write files beside their places first, then put all in place; files of ours that are not among them go."""
    is_new = not folder.exists()
    staging = folder / f".{secrets.token_hex(8)}.part"
    try:
        _check_card(folder / CARD_FILE)
        staging.mkdir(parents=True)
        for name, content in documents.items():
            (staging / name).write_bytes(content)
        for name in documents:
            (staging / name).replace(folder / name)
        for name in CONTENT.keys() - documents.keys():
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror}; give another folder") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if is_new:
            with suppress(OSError):  # it is empty only where nothing was put in place
                folder.rmdir()


def _check_card(file: Path) -> None:
    """A readme of somebody else's is not written over."""
    if file.exists() and not file.read_bytes().startswith(CARD_START.encode()):
        raise UsageError(f"{file} is no model card of ours and stays; give another folder with --output")


def _accelerator(settings: Study, report: dict[str, Any]) -> dict[str, Any]:
    spec = settings.accelerator.model_dump(mode="json", exclude={"search", "budget", "report"})
    return {**spec, "report": report}


def _front_csv(data: bytes) -> bytes:
    rows = hardwaresearch.rows(data)
    heads = list(dict.fromkeys(head for row in rows for head in row))
    return _csv(heads, rows).encode()


def _choice(chosen: dict[str, Any]) -> dict[str, Any]:
    """What a trial chose for itself, under the names that the same parameters have in a study."""
    listed = {name: enumerate(values) for name, values in chosen.items()}
    return {f"accelerator.{name}.{layer}": value for name, values in listed.items() for layer, value in values}


def _csv(heads: list[str], rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, heads, lineterminator="\n")
    writer.writeheader()
    writer.writerows({head: _cell(row.get(head, "")) for head in heads} for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula is put behind an apostrophe; no cell has a carriage return."""
    if not isinstance(value, str):
        return value
    return ("'" if value.startswith(FORMULA_STARTS) else "") + value.replace("\r", " ")


def _markdown(heads: list[str], rows: list[dict[str, Any]]) -> str:
    lines = [heads, ["---"] * len(heads), *([_short(row.get(head, "")) for head in heads] for row in rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else " ".join(str(value).split()).replace("|", "\\|")


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
