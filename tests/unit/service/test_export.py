"""Exported tables: what a spreadsheet or a Markdown renderer may not be tricked by; and a trial's files."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from service.errors import NotFound, UsageError
from service.export import export_trial, front_text
from service.fronts import Front
from service.studies import Studies
from storage.artifacts import Artifacts, sha256
from storage.errors import ArtifactError
from tests.support.studies import make_study

WEIGHTS = b"the weights"


def _point(trial: int, **fields: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "trial": trial, "values": {"accuracy": 0.9, "latency_ms": 0.123456789}, "test": None,
        "params": {"beta": 0.5, "network": "4C3-10"}, "vs_baseline": None, "on_baseline_accelerator": None,
    }  # fmt: skip
    return {**known, **fields}


def _front(*points: dict[str, Any]) -> Front:
    return Front("s", ("accuracy", "latency_ms"), None, points, None, None)


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_holds_full_precision_and_every_column() -> None:
    full = _point(
        4,
        test={"accuracy": 0.8},
        vs_baseline={"accuracy": -1.5, "latency_ms": -50.0},
        on_baseline_accelerator={"latency_ms": 0.2},
    )
    rows = _rows(front_text(_front(_point(3), full), "csv"))
    assert rows[0] == {
        "trial": "3", "accuracy": "0.9", "latency_ms": "0.123456789", "beta": "0.5", "network": "4C3-10",
        "accuracy vs baseline": "", "latency_ms vs baseline": "", "test accuracy": "",
        "latency_ms on baseline accelerator": "",
    }  # fmt: skip
    assert rows[1]["accuracy vs baseline"] == "-1.5"  # a number, not a formula
    assert rows[1]["test accuracy"] == "0.8"
    assert rows[1]["latency_ms on baseline accelerator"] == "0.2"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_csv_cells_are_no_formulas(start: str) -> None:
    formula = f"{start}cmd|'/c calc'!A1"
    (row,) = _rows(front_text(_front(_point(1, params={"network": formula})), "csv"))
    assert row["network"].startswith("'")


def test_csv_quotes_what_would_break_a_row() -> None:
    text = 'a,"b"\nc'
    (row,) = _rows(front_text(_front(_point(1, params={"network": text})), "csv"))
    assert row["network"] == text


def test_markdown_is_one_line_a_row_whatever_is_in_it() -> None:
    text = front_text(_front(_point(1, params={"network": "a|b\nc\r\nd"})), "markdown")
    lines = text.splitlines()
    assert lines[0] == "| trial | accuracy | latency_ms | network |"
    assert lines[1] == "| --- | --- | --- | --- |"
    assert lines[2:] == ["| 1 | 0.9 | 0.1235 | a\\|b c d |"]


def test_json_is_the_document() -> None:
    front = _front(_point(1))
    assert json.loads(front_text(front, "json")) == json.loads(json.dumps(front.document()))


@pytest.mark.parametrize("form", ["xml", "", "CSV"])
def test_another_form_is_refused(form: str) -> None:
    with pytest.raises(UsageError, match=f"--format {form}: expected csv, json or markdown"):
        front_text(_front(_point(1)), form)


def _studies(stored: tuple[int, int, str] | None, details: Any) -> Studies:
    trial = {
        "state": "complete", "params": {"beta": 0.75, "accelerator.neural_cores.0": 4}, "details": details,
        "attributes": {"seed": 11}, "values": {"accuracy": 0.9}, "test": None, "on_baseline_accelerator": None,
    }  # fmt: skip
    known = SimpleNamespace(
        trial=lambda study, number: trial,
        spec=lambda study: make_study(),
        weights_of=lambda study, number: stored,
        hardware_front_of=lambda study, number: None,
    )
    return cast(Studies, known)


def test_a_trial_is_exported_as_four_files(tmp_path: Path) -> None:
    digest = sha256(WEIGHTS)
    Artifacts(tmp_path / "store").write(17, 2, WEIGHTS, digest)
    studies = _studies((17, 2, digest), {"hardware": {"cycles": 5}})
    files = export_trial(studies, tmp_path / "store", "tiny", 3, tmp_path / "a" / "b")
    assert sorted(file.name for file in files) == sorted(path.name for path in (tmp_path / "a" / "b").iterdir())
    read = {file.name: file.read_bytes() for file in files}
    assert read["weights.safetensors"] == WEIGHTS
    settings, accelerator = json.loads(read["settings.json"]), json.loads(read["accelerator.json"])
    assert settings["beta"] == 0.75  # the trial's own, not the study's
    assert accelerator["neural_cores"] == [4, 5]
    assert accelerator["report"] == {"cycles": 5}
    assert not {"search", "budget"} & accelerator.keys()
    scores = json.loads(read["scores.json"])
    assert (scores["values"], scores["seed"]) == ({"accuracy": 0.9}, 11)


@pytest.mark.parametrize(("stored", "details"), [(None, {"hardware": {}}), ((17, 2, "a" * 64), None)])
def test_a_trial_without_a_network_is_not_exported(tmp_path: Path, stored: Any, details: Any) -> None:
    with pytest.raises(NotFound, match="trial 3 of 'tiny'"):
        export_trial(_studies(stored, details), tmp_path / "store", "tiny", 3, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_torn_weights_are_not_exported(tmp_path: Path) -> None:
    digest = sha256(WEIGHTS)
    Artifacts(tmp_path / "store").write(17, 2, WEIGHTS, digest)
    Artifacts(tmp_path / "store").path(17, 2, digest).write_bytes(b"torn")
    with pytest.raises(ArtifactError, match="torn or altered"):
        export_trial(_studies((17, 2, digest), {"hardware": {}}), tmp_path / "store", "tiny", 3, tmp_path / "out")
    assert not (tmp_path / "out").exists()
