"""Fixtures of the tests on a real Postgres, imported by the `conftest.py` of their folders."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator

import psutil
import pytest

from storage.embedded import EmbeddedPostgres
from tests.support.postgres import eventually, fresh_database, shared_server

_MARK = "SPIKEFRONT_TEST_RUN"


@pytest.fixture(scope="session", autouse=True)
def nothing_left() -> Iterator[None]:
    """After all tests no process that they started lives, neither by its environment nor by its folder."""
    run = uuid.uuid4().hex
    os.environ["UNMARKED_" + _MARK] = run
    before = {process.pid for process in psutil.process_iter()}
    yield
    eventually(lambda: not _left(run, before), f"no process is left: {_left(run, before)}", 20.0)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One server for all tests."""
    with shared_server() as server:
        yield server


@pytest.fixture
def url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """URL of an empty database of the test's own."""
    with fresh_database(postgres) as fresh:
        yield fresh


def _left(run: str, before: set[int]) -> list[list[str]]:
    return [
        words for process in psutil.process_iter() if process.pid not in before and (words := _ours(process, run))
    ]


def _ours(process: psutil.Process, run: str) -> list[str]:
    """The command line of a process that this test run started; empty for any other."""
    if process.pid == os.getpid():
        return []
    try:
        words = process.cmdline()
        is_marked = process.environ().get("UNMARKED_" + _MARK) == run
    except psutil.Error:
        return []
    mine = f"{tempfile.gettempdir()}/pytest-of-"
    return words if is_marked or any(mine in word and "postgres" in " ".join(words) for word in words) else []
