"""A served study with a trial at work on, to throw requests at, and a digest of all that is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from pydantic import SecretStr
from sqlalchemy import Engine, text

from service import versions
from service.record import open_record
from service.server import bind, serving
from service.settings import Settings
from storage.embedded import EmbeddedPostgres
from tests.support.desk import made_up
from tests.support.postgres import fresh_database
from tests.support.studies import study_text

LIMIT_S = 10.0
"""Longer than any request may take."""

STUDY = study_text(sampler={"name": "random"}, budget={"trials": 100_000}, stopping={"name": "moasha", "spare": 2})
WEIGHTS = b"weights"
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()


@dataclass
class Scene:
    """A server with the running study `tiny`, of which one trial is at work on after each `prepare`."""

    url: str
    engine: Engine
    artifacts: Path
    session: requests.Session
    trial_id: int = 0
    fence: int = 0

    def call(self, method: str, path: str, **request: Any) -> requests.Response:
        """Any request of an admin; a server that does not answer in time is an error."""
        return self.session.request(method, self.url + path, timeout=LIMIT_S, **request)

    def prepare(self) -> None:
        """The study runs, and there is an open lease whose weights are stored."""
        if not self._is_held():
            self.call("POST", "/v1/studies/tiny/resume", json={"set": {"budget.trials": 100_000}}).raise_for_status()
            answer = self.call("POST", "/v1/leases", json=self.bodies()["leases"])
            work = answer.json()["work"]
            self.trial_id, self.fence = work["trial_id"], work["fence"]
            headers = {"X-Fence": str(self.fence)}
            path = f"/v1/leases/{self.trial_id}/weights/{DIGEST}"
            self.call("PUT", path, data=WEIGHTS, headers=headers).raise_for_status()

    def bodies(self) -> dict[str, dict[str, Any]]:
        """A valid body for each operation that has one, by the end of its path."""
        values, fence = made_up(0), self.fence
        return {
            "leases": {"worker": "w", "versions": versions.installed(), "study": "tiny"},
            "renew": {"fence": fence, "epochs": [{"epoch": 1, "loss": 1.0, "accuracy": 0.5, "seconds": 1.0}]},
            "gate": {"fence": fence, "values": values, "fits_device": True},
            "rungs": {"fence": fence, "rung": 0, "epoch": 1, "values": values},
            "complete": {"fence": fence, "values": values, "fits_device": True, "hazards": 0, "details": {},
                         "on_baseline_accelerator": None, "weights": DIGEST},
            "fail": {"fence": fence, "error": "E", "message": "m", "traceback": "t"},
            "tested": {"fence": fence, "values": {"accuracy": 0.5}},
            "release": {"fence": fence},
            "studies": {"yaml": STUDY, "source": "study.yaml"},
            "resume": {"set": {"budget.trials": 100_000}},
        }  # fmt: skip

    def stored(self) -> tuple[Any, ...]:
        """A digest of all rows of all tables, and the names of all artifacts."""
        with self.engine.connect() as connection:
            names = "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('public', 'spikefront')"
            rows = "(SELECT md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))) FROM {} t)"
            tables = sorted(connection.scalars(text(names)))
            digests = connection.execute(text("SELECT " + ", ".join(map(rows.format, tables)))).one()
        return (*digests, sorted(str(path) for path in self.artifacts.rglob("*")))

    def _is_held(self) -> bool:
        query = text("SELECT 1 FROM spikefront.lease WHERE trial_id = :trial_id AND fence = :fence AND ended_at IS NULL"
                     " AND task = 'train' AND expires_at > clock_timestamp()")  # fmt: skip
        running = text("SELECT 1 FROM spikefront.study WHERE name = 'tiny' AND state = 'running'")
        with self.engine.connect() as connection:
            held = connection.scalar(query, {"trial_id": self.trial_id, "fence": self.fence})
            return bool(held and connection.scalar(running))


@contextmanager
def served(postgres: EmbeddedPostgres, template: str, var: Path) -> Iterator[Scene]:
    """A server on a database of its own, with its artifacts under `var`."""
    with (
        fresh_database(postgres, template) as url,
        open_record(url, var) as record,
        serving(record, Settings(var=var, token=SecretStr("an-admin")), bind("127.0.0.1", 0)) as running,
        requests.Session() as session,
    ):
        session.headers["Authorization"] = "Bearer an-admin"
        made = Scene(running.url, record.engine, var / "artifacts", session)
        made.call("POST", "/v1/studies", json={"yaml": STUDY}).raise_for_status()
        yield made
