"""kill -9 of a worker, and of everything at once: no trial is lost, none is counted twice, none stays stuck."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from storage.embedded import EmbeddedPostgres
from tests.support.ports import free_port
from tests.support.postgres import eventually
from tests.support.processes import Place, audit, wait_for
from tests.support.scene import SEED
from tests.support.studies import study_text

ASKED = 8
EPOCHS = "SELECT coalesce(sum(epoch), 0) FROM spikefront.lease"
TRAIN_EPOCHS = 6
TRAIN = {"epochs": TRAIN_EPOCHS, "batch": 16, "lr": 0.005}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A var folder with a study file in it; short leases, a checkpoint after each epoch."""
    with Place(tmp_path / "var", settings={"LEASE_S": "2", "CHECKPOINT_S": "0"}) as made:
        made.var.mkdir()
        (made.var / "tiny.yaml").write_text(study_text(budget={"trials": ASKED}, train=TRAIN))
        yield made


def audited(place: Place) -> list[int]:
    """Attempts of each trial, after checking that all trials are there, once and whole."""
    with EmbeddedPostgres(place.var / "postgres") as server:
        trials = audit(server.start(), "tiny", ASKED)
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * ASKED
    return [int(trial.user_attrs["attempts"]) for trial in trials]


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.full)])
def test_a_killed_worker_loses_no_trial(place: Place, seed: int) -> None:
    run = place.start("run", str(place.var / "tiny.yaml"), "--workers", "2", "--port", "0")
    place.url()
    at_epoch = random.Random(f"{SEED} {seed}").randrange(2, ASKED * TRAIN_EPOCHS // 2)
    wait_for(place.database_url(), EPOCHS, lambda done: done >= at_epoch, f"{at_epoch} epochs are trained")

    victim = random.Random(f"{SEED} {seed}").choice(place.workers())
    victim.kill()

    assert run.wait() == 0, run.stderr()
    assert max(audited(place)) <= 2


@pytest.mark.parametrize("is_all", [True, pytest.param(False, marks=pytest.mark.full)], ids=["all", "all but workers"])
def test_with_everything_killed_resume_alone_finishes(place: Place, is_all: bool) -> None:
    """As when the power fails: no lease has to expire, since local workers find out what they had held.

    And with the workers spared, that meet another server with a token of the old one.
    """
    if is_all:
        place.settings["LEASE_S"] = "600"
    port = str(free_port())
    run = place.start("run", str(place.var / "tiny.yaml"), "--workers", "2", "--port", port)
    place.url()
    at_epoch = random.Random(SEED).randrange(6, 18)
    wait_for(place.database_url(), EPOCHS, lambda done: done >= at_epoch, f"{at_epoch} epochs are trained")
    postgres, workers = place.postgres(), [process.pid for process in place.workers()]
    assert len(postgres) > 2
    assert len(workers) == 2

    for pid in (run.pid, *(workers if is_all else ())):
        os.kill(pid, signal.SIGKILL)
    for pid in postgres:
        with contextlib.suppress(ProcessLookupError):  # the first one's end takes others with it
            os.kill(pid, signal.SIGKILL)
    run.process.wait()
    eventually(lambda: not any(map(psutil.pid_exists, postgres)) or not place.postgres(), "the database is dead")
    assert not (is_all and place.workers())
    resumed = place.start("resume", "tiny", "--workers", "2", "--port", port)

    assert resumed.wait() == 0, resumed.stderr()
    assert "Pareto front of tiny" in resumed.stdout()
    assert max(audited(place)) == 2, "a trial was taken over"
    eventually(lambda: not place.workers(), "no worker of the killed server is left", 30.0)
    logs = "".join(path.read_text() for path in (place.var / "logs").iterdir())
    assert "Traceback" not in logs


def test_workers_of_a_killed_server_end_by_themselves(place: Place) -> None:
    run = place.start("run", str(place.var / "tiny.yaml"), "--workers", "2", "--port", "0")
    place.url()
    wait_for(place.database_url(), EPOCHS, lambda done: done >= 2, "two epochs are trained")

    run.kill()

    eventually(lambda: not place.workers(), "no worker is left", 30.0)
    eventually(lambda: not place.postgres(), "no database is left", 30.0)
