"""Take results away: the front as a table, a trained network with its accelerator as files."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from objectives import hardwaresearch
from objectives.spec import Study
from service.errors import NotFound, UsageError
from service.fronts import Front
from service.handout import settled
from service.studies import Studies
from storage.artifacts import Artifacts

SETTINGS_FILE, SCORES_FILE = "settings.json", "scores.json"
"""Files of an exported trial that are read again beside its weights."""

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


def export_trial(studies: Studies, artifacts: Path, study: str, number: int, folder: Path) -> list[Path]:
    """Write a trial's weights (safetensors), settings and hardware report into a folder.

    Where trials search accelerators, also all that this one had to choose from, as a table.

    Raises:
        NotFound: There is no such study or trial, or it is not complete.
        ArtifactError: What was stored is missing, torn or altered.
    """
    trial, settings = studies.trial(study, number), studies.spec(study)
    stored = studies.weights_of(study, number)
    if stored is None or trial["details"] is None:
        raise NotFound(f"trial {number} of {study!r} is {trial['state']}; only a complete trial has a network")
    store = Artifacts(artifacts)
    data, front = store.read(*stored), studies.hardware_front_of(study, number)
    resolved = settled(settings.resolve(trial["params"]), trial["details"])
    documents = {
        "weights.safetensors": data,
        SETTINGS_FILE: _json(resolved.model_dump(mode="json", by_alias=True)),
        "accelerator.json": _json(_accelerator(resolved, trial["details"]["hardware"])),
        SCORES_FILE: _json({**{key: trial[key] for key in SCORES}, "seed": trial["attributes"]["seed"]}),
    }
    if front is not None:
        documents["hardware-front.csv"] = _front_csv(store.read(*front))
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in documents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in documents]


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
