"""Engines against a real server: limits, errors, and opening the embedded database."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import exc, text

from storage import embedded_watch as watch
from storage.embedded import EmbeddedPostgres
from storage.engine import CONNECTIONS, check_connection, create_engine, is_transient, open_database
from storage.errors import DatabaseError
from tests.support.postgres import eventually, fresh_database, shared_server, wait_until_stopped


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with shared_server() as postgres:
        yield postgres


@pytest.fixture
def engine(server: EmbeddedPostgres) -> Iterator[sqlalchemy.Engine]:
    with fresh_database(server) as url:
        engine = create_engine(url)
        yield engine
        engine.dispose()


@pytest.fixture
def var() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="spikefront-test-var-") as folder:
        yield Path(folder)
        if (Path(folder) / "postgres").exists():
            wait_until_stopped(Path(folder) / "postgres")


def shown(engine: sqlalchemy.Engine, setting: str) -> object:
    with engine.connect() as connection:
        return connection.execute(text(f"SHOW {setting}")).scalar_one()


def kill_server(data: Path) -> None:
    """Kill the postmaster; its children answer for a moment longer, so wait for them too."""
    running = watch.postmaster(data)
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
    eventually(lambda: watch.processes(data) == [], "the server is dead")


def test_a_session_has_the_limits(engine: sqlalchemy.Engine) -> None:
    assert shown(engine, "statement_timeout") == "10s"
    assert shown(engine, "idle_in_transaction_session_timeout") == "15s"
    assert shown(engine, "lock_timeout") == "8s"
    assert shown(engine, "timezone") == "UTC"
    assert shown(engine, "application_name") == "spikefront"


def test_fresh_databases_are_empty_and_apart(server: EmbeddedPostgres, engine: sqlalchemy.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE here (n int)"))

    with fresh_database(server) as url:
        other = create_engine(url)
        assert sqlalchemy.inspect(other).get_table_names() == []
        other.dispose()


def test_a_database_that_answers_passes_the_check(engine: sqlalchemy.Engine) -> None:
    check_connection(engine)


def test_an_unreachable_database_is_named_in_one_line_without_password() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not listening: connections are refused
        port = taken.getsockname()[1]
        engine = create_engine(f"postgresql://me:s3cr3t@127.0.0.1:{port}/studies")

        with pytest.raises(DatabaseError, match=f"'studies' at 127.0.0.1:{port}: .*refused.*check that") as caught:
            check_connection(engine)

    assert "s3cr3t" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_password_and_a_missing_database_are_told_apart(engine: sqlalchemy.Engine) -> None:
    url = engine.url.render_as_string(hide_password=False)

    with pytest.raises(DatabaseError, match="password authentication failed") as caught:
        check_connection(create_engine(url.replace(str(engine.url.password), "s3cr3t")))
    assert "s3cr3t" not in str(caught.value)
    with pytest.raises(DatabaseError, match='"absent" does not exist'):
        check_connection(create_engine(url.rpartition("/")[0] + "/absent"))


def test_errors_of_a_real_server_are_classified(engine: sqlalchemy.Engine) -> None:
    with pytest.raises(exc.OperationalError) as ended, engine.connect() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    with pytest.raises(exc.ProgrammingError) as mistaken, engine.connect() as connection:
        connection.execute(text("SELECT * FROM absent"))

    assert is_transient(ended.value)
    assert not is_transient(mistaken.value)


def test_a_pooled_connection_that_was_cut_is_replaced_unseen(engine: sqlalchemy.Engine) -> None:
    with engine.connect() as connection:
        first = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    administrator = create_engine(engine.url.render_as_string(hide_password=False))
    with administrator.connect() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": first})
    administrator.dispose()

    with engine.connect() as connection:
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() != first


@pytest.mark.parametrize(("trusted_s", "asked"), [(60.0, 0), (0.0, 1)], ids=["just used", "rested"])
def test_a_pooled_connection_is_asked_whether_it_lives_once_it_rested(
    engine: sqlalchemy.Engine, monkeypatch: pytest.MonkeyPatch, trusted_s: float, asked: int
) -> None:
    pings: list[object] = []
    monkeypatch.setattr("storage.engine.TRUSTED_S", trusted_s)
    monkeypatch.setattr(engine.dialect, "do_ping", pings.append)

    for _ in range(2):
        check_connection(engine)

    assert len(pings) == asked


def test_a_full_pool_passes_by_itself(engine: sqlalchemy.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.pool, "_timeout", 0.1)

    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(engine.connect())
        with pytest.raises(exc.TimeoutError) as caught:
            engine.connect()

    assert is_transient(caught.value)


def test_without_a_url_the_embedded_database_is_opened_and_left(var: Path) -> None:
    with open_database(None, var) as database:
        assert database.server is not None
        with database.engine.begin() as connection:
            connection.execute(text("CREATE TABLE kept AS SELECT 7 AS n"))
    wait_until_stopped(var / "postgres")

    with open_database(None, var) as database, database.engine.connect() as connection:
        assert connection.execute(text("SELECT n FROM kept")).scalar_one() == 7


def test_with_a_url_nothing_is_made_in_var(engine: sqlalchemy.Engine, var: Path) -> None:
    url = engine.url.render_as_string(hide_password=False)

    with open_database(url, var) as database:
        assert database.server is None
        assert database.url == url
        check_connection(database.engine)
    assert list(var.iterdir()) == []


def test_an_unreachable_url_is_refused_at_opening(var: Path) -> None:
    with pytest.raises(DatabaseError, match="cannot use database"), open_database("postgres://me@127.0.0.1:1/d", var):
        pass


def test_the_same_engine_works_on_after_the_embedded_server_was_started_again(var: Path) -> None:
    with open_database(None, var) as database:
        assert database.server is not None
        check_connection(database.engine)
        kill_server(database.server.data)

        assert database.server.start() == database.url

        assert str(shown(database.engine, "server_version_num")).startswith("18")
