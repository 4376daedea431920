"""Studies whose trials search accelerators, on a real database: artifacts, constraints, the union, and a whole run."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from objectives.acceleratorspec import ChosenAccelerator
from objectives.spec import Study
from service import wire
from service.errors import LeaseLost, UsageError
from service.hardwarefronts import union
from storage import leases
from tests.support.desk import Desk, completion, weights_of
from tests.support.processes import Place
from tests.support.studies import NO_CORES, searching, study_text

FIELDS: dict[str, Any] = {"accelerator": searching(), "search": NO_CORES}


def front_of(lease: wire.Lease) -> bytes:
    """Made-up bytes of a hardware front."""
    return f"front of trial {lease.number}, fence {lease.fence}".encode()


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tried(lease: wire.Lease, latency_ms: float) -> list[dict[str, Any]]:
    """A made-up trade: the accelerator that is reported, and one that is faster and costs more energy."""
    rest = {"luts": 9, "flip_flops": 9, "bram36": 0.5, "uram": 0, "dsp": 1, "encoder_widths": [None, 64]}
    return [
        {"neural_cores": [4, 5], "latency_ms": latency_ms / 2, "fps_per_watt": 50.0 + lease.number, **rest},
        {"neural_cores": [2, 5], "latency_ms": latency_ms, "fps_per_watt": 100.0 + lease.number, **rest},
    ]


def message_of(desk: Desk, lease: wire.Lease, *, accuracy: float = 0.9, **fields: Any) -> wire.Complete:
    """A result with a hardware front; its weights are stored, its front is not."""
    desk.reports.weights(lease.trial_id, lease.fence, digest_of(weights_of(lease)), weights_of(lease))
    front = tried(lease, 1.0 + lease.number)
    details = {
        "accelerator_chosen": {"neural_cores": [2, 5], "encoder_widths": [None, 64]},
        "hardware_front": front,
        "hardware_search": {
            "report": "max_fps_per_watt",
            "accelerators": 12,
            "front": 7,
            "limits": {},
            "shortage": None,
        },
    }
    values = {"accuracy": accuracy, **{name: front[1][name] for name in ("latency_ms", "fps_per_watt")}}
    plain = completion(lease, digest_of(weights_of(lease)), **values)
    return plain.model_copy(update={"details": details, "hardware_front": digest_of(front_of(lease)), **fields})


def complete(desk: Desk, lease: wire.Lease, **fields: Any) -> wire.Complete:
    """Complete a trial with everything that belongs to it."""
    message = message_of(desk, lease, **fields)
    desk.reports.hardware_front(lease.trial_id, lease.fence, digest_of(front_of(lease)), front_of(lease))
    desk.reports.complete(lease.trial_id, message)
    return message


# --- the artifact ------------------------------------------------------------------------------------------------


def test_a_completion_needs_its_front_on_the_server(desk: Desk) -> None:
    desk.start(**FIELDS)
    lease = desk.lease()
    message = message_of(desk, lease)
    before = desk.snapshot()

    with pytest.raises(UsageError, match=r"send the accelerators tried before completing its trial$"):
        desk.reports.complete(lease.trial_id, message)
    with pytest.raises(UsageError, match="send the accelerators tried before completing its trial: the study"):
        desk.reports.complete(lease.trial_id, message.model_copy(update={"hardware_front": None}))
    assert desk.snapshot() == before

    desk.reports.hardware_front(lease.trial_id, 1, digest_of(front_of(lease)), front_of(lease))
    desk.reports.complete(lease.trial_id, message)
    desk.reports.complete(lease.trial_id, message)  # the reply was lost

    assert desk.studies.hardware_front_of("tiny", 0) == (lease.trial_id, 1, digest_of(front_of(lease)))
    assert desk.studies.trial("tiny", 0)["details"]["hardware_front_sha256"] == digest_of(front_of(lease))
    assert desk.reports.blob(lease.trial_id, 1, digest_of(front_of(lease))) == front_of(lease)


def test_a_study_without_a_search_takes_no_front(desk: Desk) -> None:
    desk.start()
    lease = desk.lease()
    message = desk.completion(lease)
    before = desk.snapshot()

    with pytest.raises(UsageError, match="the study searches no accelerators"):
        desk.reports.complete(lease.trial_id, message.model_copy(update={"hardware_front": message.weights}))

    assert desk.snapshot() == before
    desk.reports.complete(lease.trial_id, message)
    assert desk.studies.hardware_front_of("tiny", 0) is None
    assert desk.studies.hardware_front("tiny") is None
    assert "hardware_front" not in desk.studies.front("tiny").document()


@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        ("accelerator_chosen", {"neural_cores": [2, 5]}, "details.accelerator_chosen.encoder_widths: Field required"),
        ("hardware_front", [{"neural_cores": [2, 5]}], "details.hardware_front.0.encoder_widths: Field required"),
        ("hardware_search", {}, "details.hardware_search.report: Field required"),
    ],
)
def test_details_without_what_fronts_are_made_of_are_refused(desk: Desk, part: str, value: Any, words: str) -> None:
    desk.start(**FIELDS)
    lease = desk.lease()
    message = message_of(desk, lease)
    desk.reports.hardware_front(lease.trial_id, 1, digest_of(front_of(lease)), front_of(lease))

    with pytest.raises(UsageError) as caught:
        desk.reports.complete(lease.trial_id, message.model_copy(update={"details": {**message.details, part: value}}))

    assert str(caught.value) == words


def test_a_point_without_an_objective_of_the_study_is_refused(desk: Desk) -> None:
    desk.start(**FIELDS)
    lease = desk.lease()
    message = message_of(desk, lease)
    desk.reports.hardware_front(lease.trial_id, 1, digest_of(front_of(lease)), front_of(lease))
    del message.details["hardware_front"][1]["fps_per_watt"]

    with pytest.raises(UsageError, match=r"details.hardware_front.1: fps_per_watt missing"):
        desk.reports.complete(lease.trial_id, message)


def test_bytes_under_another_digest_or_an_old_fence_are_refused(hasty: Desk) -> None:
    hasty.start(**FIELDS)
    lease = hasty.lease()

    with pytest.raises(UsageError, match="do not hash to the digest"):
        hasty.reports.hardware_front(lease.trial_id, 1, "0" * 64, front_of(lease))
    hasty.taken_over(lease)
    with pytest.raises(LeaseLost):
        hasty.reports.hardware_front(lease.trial_id, 1, digest_of(front_of(lease)), front_of(lease))

    assert hasty.files(lease.trial_id) == []


# --- constraints, tests ------------------------------------------------------------------------------------------


def test_a_trial_for_which_no_accelerator_fits_is_infeasible(desk: Desk) -> None:
    desk.start(**FIELDS)
    complete(desk, desk.lease())
    complete(desk, desk.lease(), fits_budget=False)

    first, second = desk.studies.trials("tiny")

    assert (first["feasible"], first["constraints"]["fits_budget"]) == (True, 0.0)
    assert (second["feasible"], second["constraints"]["fits_budget"]) == (False, 1.0)
    assert "(infeasible)" in desk.events("trial complete")[1]


@pytest.mark.parametrize(("mode", "feasible"), [("ideal", True), ("tlm", False)])
def test_lost_events_break_a_constraint_in_every_mode_but_ideal(desk: Desk, mode: str, feasible: bool) -> None:
    accelerator = {"neural_cores": [8, 4, 5], "device": "xc7z045", "mode": mode}
    desk.start(accelerator=accelerator, search=NO_CORES, network="32-16-10", encoding="rate")
    lease = desk.lease()

    desk.reports.complete(lease.trial_id, desk.completion(lease, accuracy=0.9).model_copy(update={"hazards": 3}))

    assert desk.studies.trials("tiny")[0]["feasible"] is feasible


def test_a_test_is_offered_with_the_accelerator_that_the_trial_chose(desk: Desk) -> None:
    desk.start(**FIELDS, budget={"trials": 1})
    training = desk.lease()
    complete(desk, training)

    test = desk.lease()

    assert (training.task, training.accelerator) == ("train", None)
    assert test.task == "test"
    assert test.accelerator == ChosenAccelerator(neural_cores=(2, 5), encoder_widths=(None, 64))
    settings = test.spec.resolve(test.params).with_accelerator(test.accelerator)
    assert (settings.accelerator.search, settings.accelerator.neural_cores) == (None, (2, 5))


# --- the union ---------------------------------------------------------------------------------------------------


def test_the_study_shows_the_union_of_its_feasible_trials(desk: Desk) -> None:
    desk.start(**FIELDS, budget={"trials": 9})
    assert desk.studies.hardware_front("tiny") == []
    complete(desk, desk.lease(), accuracy=0.8)
    complete(desk, desk.lease(), accuracy=0.9)
    complete(desk, desk.lease(), accuracy=0.95, fits_budget=False)
    complete(desk, desk.lease(), accuracy=0.1)  # below the floor
    lease = desk.lease()
    desk.reports.fail(lease.trial_id, wire.Failed(fence=1, error="E", message="m", traceback=""))

    points = desk.studies.hardware_front("tiny")

    assert points is not None
    found = [(point["trial"], point["values"]["accuracy"], point["neural_cores"], point["chosen"]) for point in points]
    assert found == [
        (1, 0.9, [4, 5], False), (1, 0.9, [2, 5], True), (0, 0.8, [4, 5], False), (0, 0.8, [2, 5], True),
    ]  # fmt: skip
    assert desk.studies.front("tiny").document()["hardware_front"] == points
    assert "hardware_front" not in desk.studies.status("tiny").front.document()  # sent with every change: kept short


def test_a_finished_trial_is_read_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original = leases.results

    def counted(connection: Connection, trial_ids: Sequence[int]) -> Mapping[int, Any]:
        read.extend(trial_ids)
        return original(connection, trial_ids)

    desk.start(**FIELDS, budget={"trials": 9})
    first, second = desk.lease(), desk.lease()
    complete(desk, first)
    monkeypatch.setattr("service.hardwarefronts.leases.results", counted)
    before = desk.studies.hardware_front("tiny")
    assert desk.studies.hardware_front("tiny") == before
    complete(desk, second, accuracy=0.95)
    after = desk.studies.hardware_front("tiny")
    assert before is not None
    assert after is not None
    assert {point["trial"] for point in before} == {0}
    assert {point["trial"] for point in after} == {0, 1}
    assert read == [first.trial_id, second.trial_id]


# --- a whole run -------------------------------------------------------------------------------------------------


def test_a_run_searches_trains_tests_and_exports(tmp_path: Path) -> None:
    fields: dict[str, Any] = {
        "accelerator": searching(search={"encoder_divisors": [2, 4]}, budget={"dsp": 60}),
        "search": NO_CORES,
        "budget": {"trials": 4},
        "constraints": {"floor": {"accuracy": 0.0}},
    }
    with Place(tmp_path / "var") as place:
        place.var.mkdir()
        file = place.var / "tiny.yaml"
        file.write_text(study_text(**fields))

        run = place.run("run", str(file), "--workers", "2", "--port", "0", "--json")

        assert run.process.returncode == 0, run.stderr()
        front = json.loads(run.stdout())
        check_front(front)
        assert "With each trial's other accelerators" in place.run("pareto", "tiny").stdout()
        point, out = front["front"][0], tmp_path / "out"
        shown = place.run("show", "tiny", str(point["trial"]), "--json")
        check_choice(point, json.loads(shown.stdout())["details"])
        exported = place.run("export", "tiny", "--trial", str(point["trial"]), "-o", str(out))
        assert exported.process.returncode == 0, exported.stderr()
        check_files(point, json.loads(shown.stdout())["details"], out)
        assert list((place.var / "spool").rglob("*.*")) == []


def check_front(front: dict[str, Any]) -> None:
    """Every point is tested, and the other accelerators are none that another point beats."""
    assert front["front"]
    assert all(point["test"]["latency_ms"] > 0 for point in front["front"])
    assert all(point["on_baseline_accelerator"]["latency_ms"] > 0 for point in front["front"])
    assert union(front["hardware_front"], front["objectives"]) == front["hardware_front"]
    reported = {point["trial"] for point in front["hardware_front"] if point["chosen"]}
    assert reported <= {point["trial"] for point in front["front"]}


def check_choice(point: dict[str, Any], details: dict[str, Any]) -> None:
    """A trial's values are those of the accelerator with the most FPS/W within the budget."""
    best = max(details["hardware_front"], key=lambda found: found["fps_per_watt"])
    assert point["values"]["fps_per_watt"] == pytest.approx(best["fps_per_watt"], rel=1e-12)
    assert point["accelerator_chosen"] == {name: best[name] for name in ("neural_cores", "encoder_widths")}
    assert best["dsp"] <= 60


def check_files(point: dict[str, Any], details: dict[str, Any], folder: Path) -> None:
    """The whole front is there, and the settings have the accelerator that the trial chose."""
    rows = list(csv.DictReader((folder / "hardware-front.csv").read_text().splitlines()))
    assert len(rows) == details["hardware_search"]["front"] >= len(details["hardware_front"])
    settings = Study.model_validate_json((folder / "settings.json").read_text())
    assert list(settings.accelerator.neural_cores) == point["accelerator_chosen"]["neural_cores"]
    assert settings.accelerator.search is None
