"""`spikefront hw ...` on a study that was really run, and without any database where none is needed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from hwmodel import published
from hwmodel.errors import HwmodelError
from objectives.errors import CheckpointError, ObjectivesError
from service import cli_hw
from service.errors import NotFound, ServiceError, UsageError
from service.hardware import study_sensitivity, trained_trial
from storage.embedded import EmbeddedPostgres
from tests.support.desk import Desk
from tests.support.postgres import fresh_database
from tests.support.processes import Place, Started
from tests.support.studies import study_text

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"
VECTORS = Path(__file__).resolve().parents[1] / "data" / "rtl"


@pytest.fixture(scope="module")
def place(postgres: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A var folder and a database with the study `tiny`, run to its end: four feasible trials, one exported."""
    folder = tmp_path_factory.mktemp("hw")
    with fresh_database(postgres, template) as url, Place(folder / "var", url) as made:
        file = folder / "tiny.yaml"
        file.write_text(study_text(constraints={"floor": {"accuracy": 0.0}}, time_steps=3))
        run = made.run("run", str(file), "--workers", "1", "--port", "0")
        assert run.process.returncode == 0, run.stderr()
        exported = made.run("export", "tiny", "--trial", "1", "--output", str(folder / "one"))
        assert exported.process.returncode == 0, exported.stderr()
        yield made


def document(started: Started) -> Any:
    assert (started.process.returncode, started.stderr()) == (0, "")
    return json.loads(started.stdout())


def hw(place: Place, *words: str, **settings: str) -> Result:
    """Run `spikefront hw WORDS` in this process, which is quicker."""
    return CliRunner().invoke(cli_hw.hw, words, env=place.environment(**settings))


def output(done: Result) -> str:
    assert (done.exception, done.exit_code, done.stderr) == (None, 0, "")
    return done.stdout


def complaint(done: Result) -> str:
    """The error that the command line tells in one line with exit code 2; nothing was printed."""
    assert isinstance(done.exception, (ServiceError, ObjectivesError, HwmodelError)), done.exception
    assert done.output == ""
    return str(done.exception)


@pytest.fixture(scope="module")
def stored(place: Place) -> Any:
    """Trial 1 as it was stored."""
    return document(place.run("show", "tiny", "1", "--json"))


# --- simulate ------------------------------------------------------------------------------------------------------


def test_a_trial_has_the_figures_that_were_stored_with_it(place: Place, stored: Any) -> None:
    report = document(place.run("hw", "simulate", "tiny/1", "--json"))

    assert report == stored["details"]["hardware"]
    assert report["latency_ms"]["mean"] == stored["values"]["latency_ms"]


def test_an_exported_network_needs_no_database(place: Place) -> None:
    folder = place.var.parent / "one"
    (folder / "fast.yaml").write_text("neural_cores: [4, 10]\nclock_mhz: 200\ndevice: xc7z045\n")

    shown = place.run(
        "hw", "simulate", str(folder / "weights.safetensors"), "--accelerator", str(folder / "fast.yaml"),
        "--images", "9", "--figure", str(folder / "figure.html"), DATABASE_URL=NOWHERE,
    )  # fmt: skip

    assert (shown.process.returncode, shown.stderr()) == (0, "")
    assert "of 9 validation images right" in shown.stdout()
    assert "conv1 fc1: ideal mode, sequential, 200 MHz, xc7z045, 3 steps, 9 images" in shown.stdout()
    assert "plotly" in (folder / "figure.html").read_text(encoding="utf-8")


def test_study_and_number_may_be_two_words(place: Place) -> None:
    one, two = (json.loads(output(hw(place, "simulate", *words, "--json"))) for words in (["tiny/1"], ["tiny", "1"]))
    assert one == two


def test_what_cannot_be_simulated_is_told(place: Place) -> None:
    bad = place.var.parent / "bad.yaml"
    bad.write_text("clock_mhz: 100\nneural_cores: [3, 5]\n")

    assert "tiny: expected a trial as STUDY/NUMBER" in complaint(hw(place, "simulate", "tiny"))
    assert "did you mean 'tiny'?" in complaint(hw(place, "simulate", "tinny/1"))
    assert "has no trial 99" in complaint(hw(place, "simulate", "tiny", "99"))
    told = complaint(hw(place, "simulate", "tiny/1", "--accelerator", str(bad)))
    assert told.startswith(f"{bad}:2: neural_cores.0 = 3: conv1 has 4 output channels")
    missing = str(place.var / "no" / "where.html")
    assert f"{missing}: cannot be written" in complaint(hw(place, "simulate", "tiny/1", "--figure", missing))


# --- sweep ---------------------------------------------------------------------------------------------------------


def test_a_sweep_reports_the_best_within_the_budget(place: Place, stored: Any) -> None:
    table, figure = place.var.parent / "front.csv", place.var.parent / "front.html"
    words = ("--budget", "luts=3000", "--encoders", "4,8", "--report", "min_latency", "--json")

    swept = json.loads(output(hw(place, "sweep", "tiny", "1", *words, "-o", str(table), "--figure", str(figure))))

    own, fastest = swept["own"], swept["best"]["min_latency"]
    assert {name: own[name] for name in ("latency_ms", "fps_per_watt")} == {
        name: stored["values"][name] for name in ("latency_ms", "fps_per_watt")
    }
    assert swept["swept"] == 24  # 3 numbers of cores, 4 numbers of cores, 2 encoders of fc1
    assert 0 < swept["fit"] < swept["swept"]
    assert swept["budget"] == {"luts": 3000}
    assert max(swept["front"]["luts"]) <= 3000
    assert fastest["latency_ms"] == swept["report"]["latency_ms"]["mean"]
    assert fastest["latency_ms"] == pytest.approx(min(swept["front"]["latency_s"]) * 1e3)
    assert len(table.read_text(encoding="utf-8").splitlines()) == swept["points"] + 1
    assert "plotly" in figure.read_text(encoding="utf-8")


def test_a_sweep_is_shown_beside_the_trials_own_accelerator(place: Place) -> None:
    lines = [line.strip() for line in output(hw(place, "sweep", "tiny/1", "--limit", "2")).splitlines()]

    assert lines[0].startswith("trial 1 of tiny: 12 accelerators swept, 12 fit xc7z045, ")
    for start in ("own ", "min_latency: cores 4 ", "max_fps_per_watt: cores "):
        assert any(line.startswith(start) for line in lines), lines


def test_bad_words_for_a_sweep_are_told(place: Place) -> None:
    assert "--budget luts: expected NAME=NUMBER, such as luts=20000" in complaint(
        hw(place, "sweep", "tiny/1", "--budget", "luts")
    )
    assert "--encoders 2,x: expected whole" in complaint(hw(place, "sweep", "tiny/1", "--encoders", "2,x"))
    assert "'lut' is unknown; known: luts" in complaint(hw(place, "sweep", "tiny/1", "--budget", "lut=9"))
    assert "luts: at least" in complaint(hw(place, "sweep", "tiny/1", "--budget", "luts=9"))


# --- sensitivity ---------------------------------------------------------------------------------------------------


def test_sensitivity_moves_the_front_of_all_feasible_trials(place: Place) -> None:
    found = json.loads(output(hw(place, "sensitivity", "tiny", "--json")))
    front = document(place.run("pareto", "tiny", "--json"))["front"]

    assert found["trials"] == 4
    assert found["front_size"] == len(front)
    assert len(found["changes"]) == 9
    assert all(change["stay"] + change["leave"] == len(front) for change in found["changes"])
    shown = output(hw(place, "sensitivity", "tiny"))
    assert shown.count("+50 %") == 6
    assert "4 feasible trials" in shown


def test_trials_without_a_report_cannot_be_moved(desk: Desk) -> None:
    desk.start()
    with pytest.raises(NotFound, match="no complete and feasible trial yet"):
        study_sensitivity(desk.record, "tiny")
    desk.complete(desk.lease())
    with pytest.raises(UsageError, match="trial 0 has no hardware report"):
        study_sensitivity(desk.record, "tiny")


def test_a_trial_without_a_network_has_none_to_simulate(desk: Desk) -> None:
    desk.start()
    lease = desk.lease()
    with pytest.raises(NotFound, match="trial 0 of 'tiny' is running; only a complete trial has a network"):
        trained_trial(desk.record, desk.folder, "tiny", 0)
    desk.complete(lease)
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        trained_trial(desk.record, desk.folder, "tiny", 0)


# --- without any study ---------------------------------------------------------------------------------------------


def test_published_results_stand_beside_ours(place: Place) -> None:
    found = json.loads(output(hw(place, "published", "--json", DATABASE_URL=NOWHERE)))
    shown = output(hw(place, "published", DATABASE_URL=NOWHERE))

    assert all(row["holds"] for row in found["latencies"])
    for row in found["latencies"]:
        assert f"{row['published']:,}" in shown
    for row in found["accelerators"]:
        assert row["name"] in shown


def test_a_published_row_outside_its_tolerance_is_an_exit_code(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    off = [replace(row, published=2 * row.published) for row in published.tlm_rows()]
    monkeypatch.setattr(published, "tlm_rows", lambda: off)
    assert hw(place, "published").exit_code == 1


def test_the_simulator_is_verified_against_recorded_runs(place: Place) -> None:
    found = json.loads(output(hw(place, "verify", str(VECTORS), "--json", DATABASE_URL=NOWHERE)))

    vectors = len(list(VECTORS.glob("*.json")))
    assert found["ok"]
    assert sum(found["counts"].values()) == vectors
    assert f"{vectors} vectors, 0 mismatches" in output(hw(place, "verify", str(VECTORS)))
    assert "no test vectors" in complaint(hw(place, "verify", str(place.var)))
