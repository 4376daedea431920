"""One worker or three: the same study gives the same trials, bit for bit, those that explode included.

The samplers `random` and `grid` suggest by study seed and trial number alone. (`tpe` and `nsga2` see which trials have
ended, and that depends on the workers; a trial's own result does not, whoever suggested it.)
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from objectives.studyfile import parse_study
from service.record import Record, open_record
from service.server import bind, serving
from service.settings import Settings
from service.studies import Studies
from storage.embedded import EmbeddedPostgres
from tests.support.fated_worker import Fate, Fated
from tests.support.outcomes import COLUMNS, TABLES
from tests.support.postgres import eventually, fresh_database
from tests.support.studies import study_text

TRIALS = 8
EXPLODING = 1e300
"""A learning rate that no weights survive."""

FIELDS: dict[str, Any] = {
    "dataset": {"name": "digits", "limit": 200},
    "train": {"epochs": 3, "batch": 16, "lr": 5e-3},
    "search": {
        "beta": {"choice": [0.25, 0.5, 0.9]},
        "encoding": {"choice": ["direct", "rate"]},
        "train.lr": {"choice": [5e-3, 2e-3, EXPLODING]},
    },
    "budget": {"trials": TRIALS, "max_failures": TRIALS},
    "baseline": {"beta": 0.25},
}

_TRIALS = f"""
SELECT t.number, l.worker, {COLUMNS},
       (SELECT a.value_json FROM public.trial_user_attributes a WHERE a.trial_id = t.trial_id AND a.key = 'failure')
           AS failure
FROM {TABLES} WHERE s.name = :name ORDER BY t.number
"""

Trials = list[dict[str, Any]]


@dataclass
class Site:
    """A server with a database, and the studies on it."""

    record: Record
    url: str
    workers: Fated

    def worker(self, number: int) -> int:
        """Start a worker for whatever study there is; its process id."""
        return self.workers.start(Fate(f"w{number}"))

    def is_waiting(self, pid: int) -> bool:
        """Whether a worker has met the server."""
        port = int(self.url.rpartition(":")[2])
        connections = psutil.Process(pid).net_connections("tcp")
        return any(connection.raddr and connection.raddr.port == port for connection in connections)

    def completed(self, samplers: tuple[str, ...], suffix: str) -> dict[str, Trials]:
        """Start a study for each sampler, and wait until the workers have completed them all."""
        studies = Studies(self.record)
        for sampler in samplers:
            fields = {**FIELDS, "sampler": {"name": sampler, "seed": 3}}
            studies.start(parse_study(study_text(f"{sampler}-{suffix}", **fields)))
        for sampler in samplers:
            eventually(self._has_ended(f"{sampler}-{suffix}"), f"{sampler}-{suffix} is complete", 90.0)
        return {sampler: self._trials(f"{sampler}-{suffix}") for sampler in samplers}

    def _has_ended(self, name: str) -> Callable[[], bool]:
        return lambda: (
            self._rows("SELECT state FROM spikefront.study WHERE name = :name", name) == [{"state": "complete"}]
        )

    def _trials(self, name: str) -> Trials:
        trials = self._rows(_TRIALS, name)
        for trial in trials:
            trial["failure"] = json.loads(trial["failure"] or "{}")
        return trials

    def _rows(self, query: str, name: str) -> Trials:
        with self.record.engine.connect() as connection:
            return [dict(row) for row in connection.execute(text(query), {"name": name}).mappings()]


@pytest.fixture(scope="module")
def site(postgres: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server in this process; its workers are processes."""
    var = tmp_path_factory.mktemp("determinism")
    settings = Settings(var=var, token=SecretStr("an-admin"), worker_token=SecretStr("a-worker"))
    with (
        Fated(var / "workers") as workers,
        fresh_database(postgres, template) as url,
        open_record(url, var) as record,
        serving(record, settings, bind("127.0.0.1", 0)) as running,
    ):
        workers.server = running.url, "a-worker"
        yield Site(record, running.url, workers)


@pytest.fixture(scope="module")
def trials(site: Site) -> tuple[dict[str, Trials], dict[str, Trials]]:
    """The trials of the same studies, by sampler: of three workers, and of one."""
    samplers = ("random", "grid")
    pids = [site.worker(number) for number in range(3)]
    eventually(lambda: all(map(site.is_waiting, pids)), "three workers wait", 60.0)
    many = site.completed(samplers, "three")
    for name in ("w1", "w2"):
        site.workers.send(signal.SIGTERM, name)
        assert site.workers.wait(name) == 0, site.workers.log.read_text()
    return many, site.completed(samplers, "one")


@pytest.mark.parametrize("sampler", ["random", "grid"])
def test_three_workers_and_one_come_to_the_same_bits(
    trials: tuple[dict[str, Trials], dict[str, Trials]], sampler: str
) -> None:
    many, one = trials[0][sampler], trials[1][sampler]
    assert {trial["worker"] for trial in one} == {"w0"}
    assert [trial["number"] for trial in one] == list(range(TRIALS))
    for theirs, its in zip(many, one, strict=True):
        assert _by_anybody(theirs) == _by_anybody(its)


def _by_anybody(trial: dict[str, Any]) -> dict[str, Any]:
    return {**trial, "worker": "any", "failure": {**trial["failure"], "worker": "any"}}


def test_three_workers_did_share_the_work(trials: tuple[dict[str, Trials], dict[str, Trials]]) -> None:
    assert len({trial["worker"] for study in trials[0].values() for trial in study}) > 1


@pytest.mark.parametrize("sampler", ["random", "grid"])
def test_a_trial_that_explodes_fails_by_name_and_the_search_goes_on_to_its_end(
    trials: tuple[dict[str, Trials], dict[str, Trials]], sampler: str
) -> None:
    study = trials[0][sampler]
    rates = FIELDS["search"]["train.lr"]["choice"]
    exploding = [rates[int(trial["params"]["train.lr"])] == EXPLODING for trial in study]
    assert any(exploding)
    assert not all(exploding)
    assert [trial["state"] for trial in study] == ["FAIL" if explodes else "COMPLETE" for explodes in exploding]
    for trial in study:
        if trial["state"] == "COMPLETE":
            assert len(trial["curve"]) == 3
            assert trial["weights_sha256"] is not None
        else:
            assert trial["failure"]["class"] == "TrainingError"
            assert trial["failure"]["message"].startswith("epoch 1: ")
            assert "not finite; lower train.lr" in trial["failure"]["message"]
