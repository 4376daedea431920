"""A real server process on a real Postgres, with studies of any size, for the benchmarks of the service."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import optuna
from sqlalchemy import Engine

from objectives.spec import Study
from objectives.studyfile import parse_study
from service.client import Client
from storage import embedded_watch as watch
from storage.embedded import EmbeddedPostgres
from storage.engine import create_engine
from tests.bench.service_load import Ours
from tests.support.filler import distributions_of, fill, fill_optuna
from tests.support.postgres import fresh_database, shared_server
from tests.support.processes import Place, Started


@dataclass
class Site:
    """A database, and a server once it is started."""

    url: str
    engine: Engine
    place: Place
    postgres: EmbeddedPostgres
    server: Started | None = None

    def serve(self) -> Client:
        """Start the server; a client that speaks with it as its admin."""
        self.server = self.place.start("serve", "--port", "0")
        return Client(self.place.url(), self.place.token())

    def stop(self) -> None:
        """Stop the server."""
        assert self.server is not None
        self.server.interrupt()
        self.server = None

    def add(self, text: str, trials: int) -> Study:
        """Start a study of ours with so many finished trials; the server runs."""
        study = parse_study(text)
        client = Client(self.place.url(), self.place.token())
        client.start(text, "bench.yaml")
        client.close()
        fill(self.engine, study, trials)
        return study

    def add_plain(self, name: str, study: Study, trials: int) -> None:
        """Start an Optuna study of the same objectives and space with the same finished trials."""
        storage = optuna.storages.get_storage(self.url)
        created = optuna.create_study(storage=storage, study_name=name, directions=list(study.directions))
        generations = study.sampler.name == "nsga2"
        fill_optuna(self.engine, created._study_id, distributions_of(study), trials, generations=generations)

    def ours(self, study: str) -> Ours:
        """How a worker speaks with the server about one study."""
        return Ours(self.place.url(), self.place.token(), self.place.var / "artifacts", study)

    def server_pids(self) -> list[int]:
        """The server's process."""
        assert self.server is not None
        return [self.server.pid]

    def postgres_pids(self) -> list[int]:
        """Every process of Postgres."""
        return list(watch.processes(self.postgres.folder / "data"))


@contextmanager
def opened_site(**settings: str) -> Iterator[Site]:
    """An empty database with our tables, on a Postgres of its own; the server is not started yet."""
    with ExitStack() as stack:
        postgres = stack.enter_context(shared_server())
        url = stack.enter_context(fresh_database(postgres))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        place = stack.enter_context(Place(folder / "var", url, settings=settings))
        engine = create_engine(url)
        stack.callback(engine.dispose)
        yield Site(url, engine, place, postgres)
