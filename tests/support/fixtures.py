"""Fixtures of the tests on a real Postgres, imported by the `conftest.py` of their folders."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import psutil  # type: ignore[import-untyped]
import pytest

from storage.embedded import EmbeddedPostgres
from storage.engine import create_engine
from storage.schema import migrate
from tests.support.postgres import eventually, fresh_database, shared_server

MARK = "TEST_RUN_OF_SPIKEFRONT"
"""Variable that every process started by the tests inherits, unless it gets a clean environment."""


@pytest.fixture(scope="session", autouse=True)
def nothing_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """After all tests no process that they started lives, neither by its environment nor by its folder."""
    os.environ[MARK] = run = uuid.uuid4().hex
    folder = str(tmp_path_factory.getbasetemp())
    yield
    eventually(lambda: not _left(run, folder), "no process of the tests is left", 20.0)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One server for all tests."""
    with shared_server() as server:
        yield server


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres) -> Iterator[str]:
    """Name of a database with all tables, to be copied; nobody is connected to it."""
    with fresh_database(postgres) as made:
        engine = create_engine(made)
        migrate(engine, made)
        engine.dispose()
        yield made.rpartition("/")[2]


@pytest.fixture
def url(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    """URL of a database of the test's own, with all tables and no rows."""
    with fresh_database(postgres, template) as fresh:
        yield fresh


@pytest.fixture
def empty_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """URL of an empty database of the test's own."""
    with fresh_database(postgres) as fresh:
        yield fresh


def _left(run: str, folder: str) -> list[int]:
    return [process.pid for process in psutil.process_iter() if _is_ours(process, run, folder)]


def _is_ours(process: psutil.Process, run: str, folder: str) -> bool:
    if process.pid == os.getpid():
        return False
    try:
        return process.environ().get(MARK) == run or any(folder in word for word in process.cmdline())
    except psutil.Error:
        return False
