"""A study as a JSON document on a real Postgres: out and in again equal, and refused where it is not valid."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from service import wire
from service.errors import Conflict, NotFound, UsageError
from service.studyjson import export_text, import_study, read_document
from tests.support.desk import Desk, opened
from tests.support.processes import Place
from tests.unit.service.factory import make_point


@pytest.fixture
def document(desk: Desk) -> dict[str, Any]:
    """A complete study with a failure, learning curves and a rung, and values that no decimal says exactly."""
    desk.start(budget={"trials": 6})
    first = desk.lease()
    desk.reports.renew(first.trial_id, wire.Renewal(fence=first.fence, epochs=(make_point(1), make_point(2))))
    scores = {"accuracy": 0.7, "latency_ms": 0.1 + 0.2, "fps_per_watt": 1e3 / 3}
    desk.judging.rung(first.trial_id, wire.Rung(fence=first.fence, rung=0, epoch=1, values=scores))
    desk.complete(first, **scores)
    failing = desk.lease()
    desk.reports.fail(
        failing.trial_id, wire.Failed(fence=failing.fence, error="ValueError", message="no", traceback="")
    )
    desk.drain()
    return exported(desk)


def exported(desk: Desk, name: str = "tiny") -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(export_text(desk.record, name))
    return plain


def written(folder: Path, document: dict[str, Any]) -> Path:
    file = folder / "tiny.json"
    file.write_text(json.dumps(document))
    return file


def seen(desk: Desk, name: str = "tiny") -> list[Any]:
    """Status, trials, front and details as people see them; event ids are the database's own."""
    status = desk.studies.status(name).document()
    del status["last_event"]
    details = [desk.studies.trial(name, number) for number in range(status["trials"]["created"])]
    return [status, details, desk.studies.front(name).document()]


def test_a_study_comes_back_equal_in_another_database(
    desk: Desk, document: dict[str, Any], empty_url: str, tmp_path: Path
) -> None:
    file = written(tmp_path, document)
    with opened(empty_url, tmp_path / "other") as other:
        other.start(name="older", budget={"trials": 1})  # so that ids differ

        import_study(other.record, read_document(file))

        assert seen(other) == seen(desk)
        assert exported(other) == document
        assert other.studies.spec("tiny") == desk.studies.spec("tiny")
    values = optuna.load_study(study_name="tiny", storage=empty_url).get_trials()[0].values
    assert values == [0.7, 0.1 + 0.2, 1e3 / 3]
    assert [trial["state"] for trial in document["trials"]].count("FAIL") == 1
    assert document["trials"][0]["rungs"][0]["values"]["latency_ms"] == 0.1 + 0.2
    assert len(document["trials"][0]["curve"]) == 2
    assert set(document["trials"][0]["constraints"]) == {"floor", "fits_device"}


def test_under_another_name_it_stands_beside_the_first_and_goes_on(
    desk: Desk, document: dict[str, Any], tmp_path: Path
) -> None:
    import_study(desk.record, read_document(written(tmp_path, document), "copy"))

    assert desk.studies.front("copy").document()["front"] == desk.studies.front("tiny").document()["front"]
    assert desk.studies.spec("copy").study == "copy"
    desk.studies.resume("copy", {"budget.trials": 8})
    desk.drain("copy")
    assert [len(desk.studies.trials(name)) for name in ("copy", "tiny")] == [8, 6]


def test_a_running_trial_begins_anew_where_it_is_imported(desk: Desk, empty_url: str, tmp_path: Path) -> None:
    desk.start(budget={"trials": 2})
    lease = desk.lease()
    desk.checkpoint(lease, 1, b"state")
    document = exported(desk)
    document["trials"][0]["lease"]["expires_at"] = document["trials"][0]["lease"]["leased_at"]
    with opened(empty_url, tmp_path / "other") as other:
        import_study(other.record, read_document(written(tmp_path, document)))

        taken = other.lease()

        assert (taken.number, taken.fence, taken.seed, taken.checkpoints) == (0, 2, lease.seed, ())
        other.complete(taken)
        assert other.drain() == "complete: the budget is spent"


def test_values_of_other_optuna_clients_survive(desk: Desk, document: dict[str, Any], tmp_path: Path) -> None:
    study = optuna.load_study(study_name="tiny", storage=desk.record.optuna)
    domain = optuna.distributions.FloatDistribution(0.05, 0.95)
    odd = optuna.trial.create_trial(
        values=[0.5, math.inf, -math.inf], params={"beta": 0.1}, distributions={"beta": domain}
    )
    study.add_trial(odd)

    import_study(desk.record, read_document(written(tmp_path, exported(desk)), "copy"))

    last = desk.record.trials(desk.studies.row("copy").study_id)[-1]
    assert (last.values, last.params, last.distributions) == (
        [0.5, math.inf, -math.inf],
        {"beta": 0.1},
        {"beta": domain},
    )


def at(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        part: Any = document
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] = value

    return change


WRONG = {
    "format": (at("format", value="other"), "tiny.json: format: "),
    "unknown key": (at("study", "nmae", value="x"), "study.nmae: Extra inputs"),
    "a value of no number": (at("trials", 0, "values", 1, value="fast"), r"trials.0.values.1: .*number"),
    "a value too few": (at("trials", 0, "values", value=[0.5]), "trials.0.values: expected 3 values"),
    "number": (at("trials", 1, "number", value=7), "trials.1.number: expected 1, got 7"),
    "outside": (at("trials", 0, "params", "beta", value=7.5), "trials.0: .*'beta' isn't contained"),
    "no distribution": (at("trials", 0, "distributions", value={}), "trials.0: Inconsistent parameters"),
    "unknown distribution": (at("trials", 0, "distributions", "beta", "name", value="Odd"), "trials.0: "),
    "a complete trial without values": (at("trials", 0, "values", value=None), "trials.0: values should be set"),
    "spec": (at("study", "spec", "time_steps", value=0), "study.spec.time_steps: "),
    "another spec": (at("study", "spec", "time_steps", value=9), "study.frozen_hash: not that of study.spec"),
    "state": (at("study", "state", value="asleep"), "study.state: "),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_field_that_is_not_valid_is_named(kind: str, desk: Desk, tmp_path: Path) -> None:
    desk.start(budget={"trials": 2})
    for _ in range(2):
        desk.complete(desk.lease())
    document = exported(desk)
    change, words = WRONG[kind]
    change(document)

    with pytest.raises(UsageError, match=words):
        read_document(written(tmp_path, document))


def test_nothing_is_kept_of_an_import_that_fails(desk: Desk, document: dict[str, Any], tmp_path: Path) -> None:
    before = desk.snapshot()
    document["trials"][0]["curve"] *= 2
    with pytest.raises(Conflict, match=r"is not imported: .*duplicate key"):
        import_study(desk.record, read_document(written(tmp_path, document), "copy"))
    with pytest.raises(Conflict, match=r"'tiny' exists here; .* --as NAME"):
        import_study(desk.record, read_document(written(tmp_path, document)))
    with pytest.raises(UsageError, match=r"study\.spec\.study: "):
        read_document(written(tmp_path, document), "../odd")
    with pytest.raises(NotFound, match="did you mean 'tiny'"):
        export_text(desk.record, "tinny")

    assert desk.snapshot() == before


def test_the_commands(desk: Desk, document: dict[str, Any], tmp_path: Path) -> None:
    file, broken = tmp_path / "out.json", tmp_path / "broken.json"
    broken.write_text("{")
    with Place(tmp_path / "var", desk.url) as place:
        out = place.run("admin", "export", "tiny", str(file))
        assert (out.process.returncode, out.stderr(), out.stdout()) == (0, "", "")
        assert json.loads(file.read_text()) == document
        back = place.run("admin", "import", str(file), "--as", "copy")
        assert (back.process.returncode, back.stdout()) == (0, "study copy: 6 trials, complete\n")
        refused = place.run("admin", "import", str(broken))
    assert (refused.process.returncode, refused.stdout()) == (2, "")
    assert f"spikefront: {broken}: not valid JSON" in refused.stderr()
