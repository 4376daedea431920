"""Exported tables: what a spreadsheet or a Markdown renderer may not be tricked by; and a trial's files."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import nir
import pytest
import safetensors.numpy

from hwmodel.simulate import simulate
from objectives.data import load_dataset
from objectives.hardware import accelerator_of
from objectives.score import score
from objectives.spec import Study
from objectives.train import Training
from service.errors import NotFound, UsageError
from service.export import CONTENT, Exported, export_trial, front_text
from service.fronts import Front
from service.studies import Studies
from storage.artifacts import Artifacts, sha256
from storage.errors import ArtifactError
from tests.support.studies import make_study


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


# --- a trial as a folder -------------------------------------------------------------------------------------------

FIELDS: dict[str, Any] = {"pool": "after_lif", "train": {"epochs": 1, "batch": 64}, "versions": "any"}
PARAMS = {"beta": 0.75, "threshold": 0.5, "accelerator.neural_cores.0": 4}
SEED = 11


@dataclass(frozen=True)
class Trained:
    """A trial that was really trained, for one epoch, with what is stored of it."""

    weights: bytes
    trial: dict[str, Any]

    def studies(self, **changes: Any) -> Studies:
        """A database with this trial as number 3 of `tiny`, some of its fields changed."""
        known = SimpleNamespace(
            trial=lambda study, number: {**self.trial, **changes},
            spec=lambda study: make_study(**FIELDS),
            weights_of=lambda study, number: (17, 2, sha256(self.weights)),
            hardware_front_of=lambda study, number: None,
            row=lambda study: SimpleNamespace(versions={"torch": "2.1.0"}, frozen_hash="f" * 64),
        )
        return cast(Studies, known)


@pytest.fixture(scope="module")
def trained() -> Trained:
    settings = make_study(**FIELDS).resolve(PARAMS)
    data = load_dataset(settings.dataset, Path("unused"))
    training = Training(settings, SEED, data)
    training.run_epoch(lambda: False)
    valid = data.validation
    scored = score(settings, training.network, valid.images, valid.labels, seed=SEED, baseline=None)
    trial = {
        "trial": 3, "state": "complete", "params": PARAMS, "values": scored.values, "details": scored.details,
        "attributes": {"seed": SEED, "worker": "local-0"}, "test": {"accuracy": 0.5}, "on_baseline_accelerator": None,
    }  # fmt: skip
    return Trained(training.weights(), json.loads(json.dumps(trial)))


@pytest.fixture
def store(trained: Trained, tmp_path: Path) -> Path:
    Artifacts(tmp_path / "store").write(17, 2, trained.weights, sha256(trained.weights))
    return tmp_path / "store"


def _export(studies: Studies, store: Path, folder: Path) -> Exported:
    return export_trial(studies, store, folder / "no data", ("tiny", 3), folder)


def test_a_trial_is_exported_with_all_that_is_known_of_it(trained: Trained, store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    exported = _export(trained.studies(), store, folder)
    assert [file.name for file in exported.files] == [name for name in CONTENT if name != "hardware-front.csv"]
    assert sorted(exported.files) == sorted(folder.iterdir())
    read = {file.name: file.read_bytes() for file in exported.files}
    assert read["weights.safetensors"] == trained.weights
    settings, accelerator = json.loads(read["settings.json"]), json.loads(read["accelerator.json"])
    assert settings["beta"] == 0.75  # the trial's own, not the study's
    assert accelerator["neural_cores"] == [4, 5]
    assert accelerator["report"] == trained.trial["details"]["hardware"]
    assert not {"search", "budget"} & accelerator.keys()
    scores = json.loads(read["scores.json"])
    assert (scores["values"], scores["test"], scores["seed"]) == (trained.trial["values"], {"accuracy": 0.5}, SEED)


def test_the_activity_is_the_one_that_was_scored(trained: Trained, store: Path, tmp_path: Path) -> None:
    _export(trained.studies(), store, tmp_path / "out")
    arrays = safetensors.numpy.load_file(tmp_path / "out" / "activity.safetensors")
    assert {name: array.shape for name, array in arrays.items()} == {
        "conv1.counts": (60, 4, 0), "fc1.counts": (60, 4, 4), "correct": (60,),
    }  # fmt: skip
    assert arrays["correct"].mean() == trained.trial["values"]["accuracy"]
    settings = Study.model_validate_json((tmp_path / "out" / "settings.json").read_text())
    report = simulate(accelerator_of(settings), [arrays["conv1.counts"], arrays["fc1.counts"]]).report()
    assert json.loads(json.dumps(report)) == trained.trial["details"]["hardware"]


def test_the_graphs_are_labelled_with_their_drift(trained: Trained, store: Path, tmp_path: Path) -> None:
    exported = _export(trained.studies(), store, tmp_path / "out")
    by_zero, exact = json.loads((tmp_path / "out" / "nir.json").read_text())
    assert (by_zero["file"], by_zero["label"]) == ("network.nir", "approximate")
    assert by_zero["drift"]["differing"] > 0
    assert (exact["file"], exact["label"], exact["reasons"]) == ("network-subtract.nir", "exact", [])
    assert exact["drift"]["accuracy_of_graph"] == trained.trial["values"]["accuracy"]
    assert exported.notes[1].startswith("network-subtract.nir: exact: 0 of 2,400 output spikes differ (0.00%)")
    graph = nir.read(tmp_path / "out" / "network-subtract.nir")
    assert set(graph.nodes) > {"conv1", "conv1_membrane", "conv1_spikes", "conv1_reset", "fc1", "output"}


def test_a_second_export_replaces_the_first_and_nothing_else(trained: Trained, store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    _export(trained.studies(), store, folder)
    (folder / "hardware-front.csv").write_text("of an earlier trial")
    (folder / "notes.txt").write_text("mine")
    _export(trained.studies(test=None), store, folder)
    names = {path.name for path in folder.iterdir()}
    assert names == {name for name in CONTENT if name != "hardware-front.csv"} | {"notes.txt"}
    assert json.loads((folder / "scores.json").read_text())["test"] is None


@pytest.mark.parametrize("state", ["running", "failed"])
def test_a_trial_without_a_network_is_not_exported(trained: Trained, store: Path, tmp_path: Path, state: str) -> None:
    studies = trained.studies(state=state, details=None)
    with pytest.raises(NotFound, match=f"trial 3 of 'tiny' is {state}"):
        _export(studies, store, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_torn_weights_are_not_exported(trained: Trained, store: Path, tmp_path: Path) -> None:
    Artifacts(store).path(17, 2, sha256(trained.weights)).write_bytes(b"torn")
    with pytest.raises(ArtifactError, match="torn or altered"):
        _export(trained.studies(), store, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_disk_that_fails_in_the_middle_leaves_nothing_half_written(
    trained: Trained, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _export(trained.studies(), store, tmp_path / "old")
    before = {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()}
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == "network-subtract.nir":
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    for name in ("old", "new"):
        with pytest.raises(UsageError, match="cannot be written: No space left on device"):
            _export(trained.studies(test=None), store, tmp_path / name)
    assert {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()} == before
    assert not (tmp_path / "new").exists()


def test_a_readme_of_somebody_else_is_not_written_over(trained: Trained, store: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# My project")
    with pytest.raises(UsageError, match="is no model card of ours and stays"):
        _export(trained.studies(), store, tmp_path)
    assert (tmp_path / "README.md").read_text() == "# My project"
    assert not (tmp_path / "weights.safetensors").exists()


def test_a_file_in_the_place_of_the_folder_is_told(trained: Trained, store: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UsageError, match="out: cannot be written"):
        _export(trained.studies(), store, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "a file"


# --- the model card ------------------------------------------------------------------------------------------------


def test_the_card_loads_the_network_as_it_says(
    trained: Trained, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _export(trained.studies(), store, tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    (code,) = re.findall(r"```python\n(.*?)```", Path("README.md").read_text(), re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert float(capsys.readouterr().out) == trained.trial["values"]["accuracy"]
