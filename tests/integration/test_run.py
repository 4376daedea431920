"""`spikefront run` and `resume` from end to end with real training; where it matters on an embedded database."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from storage.embedded import EmbeddedPostgres
from tests.support.postgres import eventually, fresh_database, is_stopped
from tests.support.processes import Place, Started, audit, scalar, wait_for
from tests.support.studies import study_text

TRIALS = "SELECT count(*) FROM public.trials WHERE state IN ('COMPLETE', 'FAIL')"
EPOCHS = "SELECT coalesce(max(epoch), 0) FROM spikefront.lease"
CURVE = "SELECT json_agg(json_build_array(epoch, loss, accuracy) ORDER BY epoch)::text FROM spikefront.epoch"
EPOCHS_OF_ONE = 60


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A var folder with nothing in it, for an embedded database."""
    with Place(tmp_path / "var") as made:
        yield made


@pytest.fixture
def served(url: str, tmp_path: Path) -> Iterator[Place]:
    """A var folder with nothing in it, and a database elsewhere."""
    with Place(tmp_path / "var", url) as made:
        yield made


def written(place: Place, **fields: Any) -> str:
    place.var.mkdir(exist_ok=True)
    path = place.var / "tiny.yaml"
    path.write_text(study_text(**fields))
    return str(path)


def document(started: Started) -> dict[str, Any]:
    assert started.wait() == 0, started.stderr()
    front: dict[str, Any] = json.loads(started.stdout())
    return front


def audited(place: Place, asked: int) -> list[Any]:
    """The trials; an embedded database is started once more for that."""
    if place.database is not None:
        return audit(place.database, "tiny", asked)
    with EmbeddedPostgres(place.var / "postgres") as server:
        return audit(server.start(), "tiny", asked)


def test_a_run_ends_with_its_front_a_second_one_says_so_and_a_raised_budget_goes_on(place: Place) -> None:
    file = written(place, budget={"trials": 8})

    first = place.start("run", file, "--workers", "2", "--port", "0")

    assert first.wait() == 0, first.stderr()
    assert "Pareto front of tiny" in first.stdout()
    assert "spikefront pareto tiny" in first.stdout()
    assert "Traceback" not in first.stderr()
    assert "warning" not in first.stderr().lower()
    eventually(lambda: is_stopped(place.var / "postgres"), "the database has ended with the run")
    trials = audited(place, 8)
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 8

    second = place.run("run", file, "--workers", "2", "--port", "0", "--json")

    assert "study tiny is complete; raise its budget to go on" in second.stderr()
    front = document(second)
    assert front["front"]
    assert all(0 <= point["test"]["accuracy"] <= 1 for point in front["front"])
    audited(place, 8)
    assert sorted(path.name for path in (place.var / "spool").rglob("*.json")) == []
    shown = place.run("show", "tiny", "0")
    assert (shown.process.returncode, shown.stderr()) == (0, "")

    raised = place.run("resume", "tiny", "--set", "budget.trials=10", "--workers", "1", "--port", "0")

    assert raised.process.returncode == 0, raised.stderr()
    audited(place, 10)


def test_interrupted_in_the_middle_it_is_resumed_to_exactly_the_trials_asked_for(served: Place) -> None:
    file = written(served, budget={"trials": 5}, train={"epochs": 12, "batch": 16, "lr": 0.005})
    run = served.start("run", file, "--workers", "2", "--port", "0", CHECKPOINT_S="0")
    served.url()
    wait_for(served.database_url(), TRIALS, lambda done: done >= 1, "a trial is done")

    assert run.interrupt() == 130
    assert "interrupted; go on with: spikefront resume tiny" in run.stderr()
    assert "Traceback" not in run.stderr()
    eventually(lambda: not served.workers(), "the workers have ended")

    resumed = served.start("resume", "tiny", "--workers", "1", "--port", "0", "--json")
    assert document(resumed)["front"]
    audited(served, 5)


def test_interrupted_while_it_starts_it_leaves_a_study_to_resume(place: Place) -> None:
    file = written(place, budget={"trials": 2}, constraints={"floor": {"accuracy": 0.0}})
    run = place.start("run", file, "--workers", "1", "--port", "0")
    eventually((place.var / "postgres").exists, "the database is being made", 30.0)

    assert run.interrupt() == 130
    assert "interrupted; go on with: spikefront resume tiny" in run.stderr()

    assert document(place.start("resume", "tiny", "--workers", "1", "--port", "0", "--json"))["front"]
    audited(place, 2)


def scores(place: Place) -> list[Any]:
    return [(trial.params, trial.values, trial.user_attrs["seed"]) for trial in audited(place, 1)]


def test_a_trial_interrupted_and_resumed_is_bit_equal_to_one_that_was_not(
    url: str, postgres: EmbeddedPostgres, template: str, tmp_path: Path
) -> None:
    """One long trial, its worker told to save and go in the middle; the crew starts no other, `resume` does."""
    fields = {"budget": {"trials": 1}, "train": {"epochs": EPOCHS_OF_ONE, "batch": 16, "lr": 0.005}}
    with (
        fresh_database(postgres, template) as other,
        Place(tmp_path / "whole", other) as whole,
        Place(tmp_path / "parted", url) as parted,
    ):
        plain = whole.start("run", written(whole, **fields), "--workers", "1", "--port", "0")
        run = parted.start("run", written(parted, **fields), "--workers", "1", "--port", "0", CHECKPOINT_S="0")
        wait_for(url, EPOCHS, lambda epoch: epoch >= 3, "three epochs are trained")

        run.process.send_signal(signal.SIGTERM)

        assert run.wait() == 130
        assert parted.start("resume", "tiny", "--workers", "1", "--port", "0").wait() == 0
        assert plain.wait() == 0
        assert scores(parted) == scores(whole)
        assert scalar(url, CURVE) == scalar(other, CURVE)
    message = scalar(url, "SELECT message FROM spikefront.event WHERE kind = 'taken over'")
    went_on = re.fullmatch(r"local-0 takes trial 0 over from local-0, from epoch (\d+)", message)
    assert went_on is not None
    assert 3 <= int(went_on[1]) < EPOCHS_OF_ONE


def test_a_stopped_study_lets_its_run_end_well_and_leaves_its_trials_to_be_resumed(served: Place) -> None:
    file = written(served, budget={"trials": 6}, train={"epochs": 400, "batch": 8, "lr": 0.005})
    run = served.start("run", file, "--workers", "1", "--port", "0", LEASE_S="3")
    served.url()
    wait_for(served.database_url(), EPOCHS, lambda epoch: epoch >= 1, "an epoch is trained")

    assert served.run("stop", "tiny").process.returncode == 0

    assert run.wait() == 0, run.stderr()
    shown = json.loads(served.run("show", "tiny", "--json").stdout())
    assert shown["state"] == "stopped"
    assert shown["trials"]["running"] == 1
    assert all(lease["expired"] for lease in shown["running"])


def test_losers_are_stopped_early_and_count_into_the_budget(served: Place) -> None:
    fields = {
        "train": {"epochs": 9, "batch": 32, "lr": 0.005},
        "stopping": {"name": "moasha", "spare": 0},
        "search": {"threshold": {"range": [0.25, 30.0]}},  # the higher ones never fire
        "baseline": {"threshold": 0.5},
        "sampler": {"name": "random", "seed": 1},
        "constraints": {"floor": {"accuracy": 0.2}},
    }
    file = written(served, budget={"trials": 8}, **fields)

    run = served.run("run", file, "--workers", "1", "--port", "0", "--json")

    assert document(run)["front"]
    trials = audited(served, 8)
    stopped = [trial for trial in trials if trial.state is TrialState.PRUNED]
    assert len(stopped) >= 2
    assert any("is below the floor of its rung" in trial.user_attrs["stopped"] for trial in stopped)
    trained = scalar(str(served.database), "SELECT sum(epoch) FROM spikefront.lease")
    assert trained < 8 * 9
