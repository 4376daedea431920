"""A real Postgres for tests: one embedded server in a temporary folder, a fresh database per test.

    with shared_server() as server, fresh_database(server) as url: ...

`shared_server` belongs into a fixture of session (or module) scope. Nothing survives the tests: the
server's watchdog stops it even after kill -9 of the test run, and the next run removes the folder.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2  # type: ignore[import-untyped]

from storage import embedded_watch as watch
from storage.embedded import EmbeddedPostgres

PREFIX = "spikefront-test-postgres-"
YOUNG_S = 60.0


@contextlib.contextmanager
def shared_server() -> Iterator[EmbeddedPostgres]:
    """A running server in a folder of its own; stopped and removed at the end."""
    remove_leftovers()
    server = EmbeddedPostgres(Path(tempfile.mkdtemp(prefix=PREFIX)))
    try:
        server.start()
        yield server
    finally:
        server.close()
        wait_until_stopped(server.folder)
        shutil.rmtree(server.folder)


@contextlib.contextmanager
def fresh_database(server: EmbeddedPostgres, template: str = "template1") -> Iterator[str]:
    """SQLAlchemy URL of a new copy of `template` (empty) on `server`; dropped at the end, whoever is connected."""
    name = f"test_{uuid.uuid4().hex}"
    url = execute(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield url.rpartition("/")[0] + f"/{name}"
    finally:
        execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def execute(server: EmbeddedPostgres, statement: str) -> str:
    """Run one statement outside a transaction on the server's own database, and return its URL."""
    url = server.start()
    connection = psycopg2.connect(dsn(url))
    try:
        connection.autocommit = True
        connection.cursor().execute(statement)
    finally:
        connection.close()
    return url


def dsn(url: str) -> str:
    """The same address in the form that psycopg2 takes."""
    return url.replace("postgresql+psycopg2://", "postgresql://", 1)


def is_stopped(folder: Path) -> bool:
    """Whether the server in `folder` and its watchdog have ended."""
    locks = watch.LockFiles.of(folder)
    return watch.is_free(locks.server) and watch.is_free(locks.watch)


def wait_until_stopped(folder: Path) -> None:
    """Wait until the server in `folder` and its watchdog have ended."""
    eventually(lambda: is_stopped(folder), "the server and its watchdog have ended")


def eventually(condition: Callable[[], bool], what: str, limit_s: float = 30.0) -> None:
    """Wait until `condition` holds; fail the test when it never does."""
    for _ in watch.ticks(limit_s):
        if condition():
            return
    raise AssertionError(f"after {limit_s:g} s still not true: {what}")


def remove_leftovers() -> None:
    """Remove folders of earlier test runs that were killed; those in use or very young stay."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        users = folder / "users.lock"
        with contextlib.suppress(FileNotFoundError):
            young = time.time() - folder.stat().st_mtime < YOUNG_S
            if not young and users.exists() and watch.is_free(users) and is_stopped(folder):
                shutil.rmtree(folder)
