"""Take results away: the front as a table, a trained network with its accelerator as files."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from service.errors import NotFound, UsageError
from service.fronts import Front
from service.studies import Studies
from storage.artifacts import Artifacts

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
        rows.append(row | point["params"])
    return rows


def export_trial(studies: Studies, artifacts: Path, study: str, number: int, folder: Path) -> list[Path]:
    """Write a trial's weights (safetensors), settings and hardware report into a folder.

    Raises:
        NotFound: There is no such study or trial, or it is not complete.
    """
    trial, settings = studies.trial(study, number), studies.spec(study)
    stored = studies.weights_of(study, number)
    if stored is None or trial["details"] is None:
        raise NotFound(f"trial {number} of {study!r} is {trial['state']}; only a complete trial has a network")
    data = Artifacts(artifacts).read(*stored)
    resolved = settings.resolve(trial["params"])
    folder.mkdir(parents=True, exist_ok=True)
    documents = {
        "weights.safetensors": data,
        "settings.json": _json(resolved.model_dump(mode="json", by_alias=True)),
        "accelerator.json": _json(
            {**resolved.accelerator.model_dump(mode="json"), "report": trial["details"]["hardware"]}
        ),
        "scores.json": _json({key: trial[key] for key in ("values", "test", "on_baseline_accelerator")}),
    }
    for name, content in documents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in documents]


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
