"""A worker killed at any epoch, a damaged checkpoint, a late writer: the trial ends bit-equal to an undisturbed one.

Server and workers are processes, and training is real. Every study here has the same one trial; `whole` is the study
that nothing happened to.
"""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from sqlalchemy import Engine, text

from service.client import Client
from storage.embedded import EmbeddedPostgres
from storage.engine import create_engine
from tests.support.fated_worker import Fate, Fated
from tests.support.outcomes import COLUMNS, TABLES
from tests.support.postgres import eventually, fresh_database
from tests.support.processes import Place
from tests.support.sidelog import Entry, read
from tests.support.studies import study_text

EPOCHS = 6
KILLED_AT, TYPICAL = range(1, EPOCHS), 3
"""Behind the last epoch there is no checkpoint: the result follows."""

FIELDS: dict[str, Any] = {
    "dataset": {"name": "digits", "limit": 300, "augment": {"crop": 1}},
    "encoding": "rate",
    "train": {"epochs": EPOCHS, "batch": 32, "lr": 5.0e-3, "dropout": 0.2},
    "budget": {"trials": 1},
    "baseline": {"beta": 0.5, "threshold": 0.4},
}
"""Much that is random; a network that learns from the first epoch on."""

_OUTCOME = f"""
SELECT {COLUMNS}, r.weights_fence,
       (SELECT json_agg(json_build_array(g.rung, g.epoch, g.values) ORDER BY g.rung) FROM spikefront.rung g
        WHERE g.trial_id = t.trial_id) AS rungs
FROM {TABLES} WHERE s.name = :name
"""
_CHECKPOINTS = """
SELECT c.checkpoint_id, c.trial_id, c.fence, c.epoch, c.sha256 FROM spikefront.checkpoint c
JOIN public.trials t USING (trial_id) JOIN spikefront.study s USING (study_id)
WHERE s.name = :name ORDER BY c.checkpoint_id DESC
"""
_EVENTS = """
SELECT e.message FROM spikefront.event e JOIN spikefront.study s USING (study_id)
WHERE s.name = :name AND e.kind = :kind
"""


@dataclass
class Site:
    """A server process, its database, and workers with a fate."""

    place: Place
    engine: Engine
    workers: Fated

    def study(self, name: str, seed: int = 1) -> None:
        """Start a study of one trial."""
        fields = {**FIELDS, "sampler": {"name": "random", "seed": seed}}
        client = Client(self.place.url(), self.place.token())
        client.start(study_text(name, **fields), "resume.yaml")
        client.close()

    def left_by_a_victim(self, name: str, epoch: int, seed: int = 1) -> None:
        """Start a study whose worker is killed behind an epoch's checkpoint."""
        self.study(name, seed)
        self.workers.start(Fate(f"victim-{name}", name, "after checkpoint", epoch, signal.SIGKILL))
        assert self.workers.wait(f"victim-{name}") == -signal.SIGKILL

    def inherit(self, name: str) -> None:
        """Let another worker finish a study."""
        self.workers.start(Fate(f"heir-{name}", name))
        assert self.workers.wait(f"heir-{name}") == 0

    def outcome(self, name: str) -> dict[str, Any]:
        """Everything that the trial came to, times left out; its weights' file holds them."""
        (row,) = self.rows(_OUTCOME, name)
        weights = self.artifacts(name) / f"{row.pop('weights_fence')}-{row['weights_sha256']}.safetensors"
        assert hashlib.sha256(weights.read_bytes()).hexdigest() == row["weights_sha256"]
        return row

    def checkpoints(self, name: str) -> list[dict[str, Any]]:
        """Stored checkpoints, newest first."""
        return self.rows(_CHECKPOINTS, name)

    def artifacts(self, name: str) -> Path:
        """The folder of the trial's files."""
        trial = "SELECT l.trial_id FROM spikefront.lease l JOIN spikefront.study s USING (study_id) WHERE name = :name"
        (row,) = self.rows(trial, name)
        return self.place.var / "artifacts" / str(row["trial_id"])

    def events(self, name: str, kind: str) -> list[str]:
        """Messages of a study's events of one kind."""
        return [row["message"] for row in self.rows(_EVENTS, name, kind=kind)]

    def told(self, worker: str, event: str) -> list[Entry]:
        """What a worker wrote down of one kind."""
        return [entry for entry in read(self.workers.told) if (entry["worker"], entry["event"]) == (worker, event)]

    def trained_by(self, worker: str) -> list[int]:
        """Epochs that the server took from a worker, in their order; some it is told twice."""
        return list(dict.fromkeys(entry["epoch"] for entry in self.told(worker, "epoch")))

    def rows(self, query: str, name: str, **more: Any) -> list[dict[str, Any]]:
        """A query about a study."""
        with self.engine.begin() as connection:
            return [dict(row) for row in connection.execute(text(query), {"name": name, **more}).mappings()]


@pytest.fixture(scope="module")
def site(postgres: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Short leases, and a checkpoint behind every epoch."""
    folder = tmp_path_factory.mktemp("resume")
    with (
        fresh_database(postgres, template) as url,
        Place(folder / "var", url, settings={"LEASE_S": "1", "CHECKPOINT_S": "0"}) as place,
    ):
        place.start("serve", "--port", "0")
        with Fated(folder / "workers") as workers:
            workers.server = place.url(), place.token()
            engine = create_engine(url)
            yield Site(place, engine, workers)
            engine.dispose()


@pytest.fixture(scope="module")
def whole(site: Site) -> dict[str, Any]:
    """What an undisturbed trial came to."""
    site.study("whole")
    site.workers.start(Fate("alone", "whole"))
    assert site.workers.wait("alone") == 0
    found = site.outcome("whole")
    losses = [loss for _, loss, _ in found["curve"]]
    assert losses == sorted(set(losses), reverse=True), "a network that learns nothing would show nothing here"
    return found


@pytest.mark.parametrize("epoch", [e if e == TYPICAL else pytest.param(e, marks=pytest.mark.full) for e in KILLED_AT])
def test_killed_behind_any_epoch_it_ends_bit_equal_with_another_worker(
    site: Site, whole: dict[str, Any], epoch: int
) -> None:
    study = f"kill-{epoch}"
    site.left_by_a_victim(study, epoch)

    site.inherit(study)

    assert site.outcome(study) == whole
    words = f"heir-{study} takes trial 0 over from victim-{study}, from epoch {epoch}"
    assert site.events(study, "taken over") == [words]
    assert site.trained_by(f"heir-{study}") == list(range(epoch + 1, EPOCHS + 1))


# --- a checkpoint that is not what it was ------------------------------------------------------------------------


def on_disk(change: Callable[[bytes], bytes]) -> Callable[[Site, str], None]:
    """Change the newest checkpoint's file; the server sees that it does not hash to its name."""

    def damage(site: Site, study: str) -> None:
        newest = site.checkpoints(study)[0]
        path = site.artifacts(study) / f"{newest['fence']}-{newest['sha256']}.safetensors"
        path.write_bytes(change(path.read_bytes()))

    return damage


def before_it_was_stored(change: Callable[[bytes], bytes]) -> Callable[[Site, str], None]:
    """Let the newest checkpoint be something else that hashes to its name; the worker sees it."""

    def damage(site: Site, study: str) -> None:
        newest, folder = site.checkpoints(study)[0], site.artifacts(study)
        path = folder / f"{newest['fence']}-{newest['sha256']}.safetensors"
        data = change(path.read_bytes())
        digest = hashlib.sha256(data).hexdigest()
        path.rename(folder / f"{newest['fence']}-{digest}.safetensors").write_bytes(data)
        statement = "UPDATE spikefront.checkpoint SET sha256 = :digest WHERE checkpoint_id = :id RETURNING :name"
        site.rows(statement, study, digest=digest, id=newest["checkpoint_id"])

    return damage


def flipped(data: bytes) -> bytes:
    return data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]


DAMAGES: dict[str, Callable[[Site, str], None]] = {
    "torn": on_disk(lambda data: data[: len(data) // 2]),
    "flipped": on_disk(flipped),
    "empty": on_disk(lambda data: b""),
    "torn before it was stored": before_it_was_stored(lambda data: data[: len(data) // 2]),
    "flipped before it was stored": before_it_was_stored(flipped),
}


@pytest.fixture(scope="module")
def foreign(site: Site) -> bytes:
    """A checkpoint of the same epoch and settings, whole, of a trial with another seed."""
    site.left_by_a_victim("foreign", TYPICAL, seed=2)
    newest = site.checkpoints("foreign")[0]
    return (site.artifacts("foreign") / f"{newest['fence']}-{newest['sha256']}.safetensors").read_bytes()


@pytest.mark.full
@pytest.mark.parametrize("damage", [*DAMAGES, "foreign"])
def test_a_damaged_checkpoint_is_refused_and_the_one_before_it_leads_to_the_same_bits(
    site: Site, whole: dict[str, Any], damage: str, request: pytest.FixtureRequest
) -> None:
    study = f"damage-{damage.replace(' ', '-')}"
    planted = request.getfixturevalue("foreign") if damage == "foreign" else b""
    site.left_by_a_victim(study, TYPICAL)
    (DAMAGES.get(damage) or before_it_was_stored(lambda data: planted))(site, study)

    site.inherit(study)

    assert site.outcome(study) == whole
    assert site.trained_by(f"heir-{study}") == list(range(TYPICAL, EPOCHS + 1))


# --- who wakes up late -------------------------------------------------------------------------------------------


def is_asleep(pid: int) -> bool:
    return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)


@pytest.mark.full
def test_a_checkpoint_of_one_who_slept_does_not_touch_the_new_owners(
    site: Site, whole: dict[str, Any], tmp_path: Path
) -> None:
    """The heir is held up behind its own checkpoint until the sleeper has tried to write the same one."""
    gate = tmp_path / "gate"
    site.study("late-checkpoint")
    pid = site.workers.start(Fate("sleeper-1", "late-checkpoint", "before checkpoint", 3, signal.SIGSTOP))
    eventually(lambda: is_asleep(pid), "the worker sleeps")
    site.workers.start(Fate("heir-awake-1", "late-checkpoint", "after checkpoint", 4, gate=str(gate)))
    eventually(lambda: bool(site.told("heir-awake-1", "reached")), "the heir has stored a checkpoint of its own")
    before = site.checkpoints("late-checkpoint"), sorted(site.artifacts("late-checkpoint").iterdir())

    site.workers.send(signal.SIGCONT, "sleeper-1")
    eventually(lambda: bool(site.told("sleeper-1", "refused")), "the sleeper is refused")
    after = site.checkpoints("late-checkpoint"), sorted(site.artifacts("late-checkpoint").iterdir())
    gate.touch()

    assert after == before
    assert [row["fence"] for row in before[0]] == [2, 2]
    assert [site.workers.wait(name) for name in ("heir-awake-1", "sleeper-1")] == [0, 0]
    assert site.outcome("late-checkpoint") == whole


@pytest.mark.full
def test_a_result_of_one_who_slept_is_refused_and_the_new_owners_stays(site: Site, whole: dict[str, Any]) -> None:
    site.study("late-result")
    pid = site.workers.start(Fate("sleeper-2", "late-result", "before complete", 0, signal.SIGSTOP))
    eventually(lambda: is_asleep(pid), "the worker sleeps")
    site.inherit("late-result")
    before = site.outcome("late-result")

    site.workers.send(signal.SIGCONT, "sleeper-2")

    assert site.workers.wait("sleeper-2") == 0
    assert [entry["call"] for entry in site.told("sleeper-2", "refused")] == ["complete"]
    assert site.outcome("late-result") == before == whole
