"""Engines, the classification of errors and retries, without a database."""

from __future__ import annotations

from traceback import format_exception_only

import pytest
import sqlalchemy
from psycopg2 import errors as pg  # type: ignore[import-untyped]
from sqlalchemy import exc

from storage.engine import Database, create_engine, is_transient, place
from storage.errors import DatabaseUrlError

SECRET = "s3cr3t"


def operational() -> exc.OperationalError:
    return exc.OperationalError("SELECT 1", {}, pg.AdminShutdown("terminating connection\nmore words"))


def connect_arguments(engine: sqlalchemy.Engine) -> dict[str, object]:
    """What the driver would be called with."""
    seen: dict[str, object] = {}

    @sqlalchemy.event.listens_for(engine, "do_connect")
    def _catch(dialect: object, record: object, words: list[object], arguments: dict[str, object]) -> None:
        seen.update(arguments)
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        engine.connect()
    return seen


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_every_spelling_of_postgres_gets_our_driver(scheme: str) -> None:
    engine = create_engine(f"{scheme}://me:{SECRET}@db.example:5433/studies")

    assert engine.url.drivername == "postgresql+psycopg2"
    assert (engine.url.host, engine.url.port, engine.url.database) == ("db.example", 5433, "studies")
    assert engine.url.password == SECRET


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (f"mysql://me:{SECRET}@h/d", "'mysql' is not supported, spikefront needs Postgres; expected postgresql://"),
        ("sqlite:///studies.db", "'sqlite' is not supported"),
        (f"postgresql+asyncpg://me:{SECRET}@h/d", r"'postgresql\+asyncpg' is not supported"),
        (f"me:{SECRET}@h", "not a URL; expected postgresql://"),
        (f"postgresql://me:{SECRET}@h:{SECRET}/d", "not a URL; expected postgresql://"),
        ("", "not a URL"),
    ],
)
def test_other_urls_are_refused_without_showing_the_password(url: str, message: str) -> None:
    with pytest.raises(DatabaseUrlError, match=message) as caught:
        create_engine(url)

    assert "\n" not in str(caught.value)
    assert SECRET not in "".join(format_exception_only(caught.value))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_connection_has_limits_for_every_wait() -> None:
    arguments = connect_arguments(create_engine("postgresql://me@h/d"))

    limits = ("statement_timeout=10000", "lock_timeout=8000", "idle_in_transaction_session_timeout=15000")
    assert arguments["options"] == " ".join(f"-c {setting}" for setting in (*limits, "timezone=UTC"))
    assert (arguments["connect_timeout"], arguments["tcp_user_timeout"]) == (3, 4000)
    assert [arguments[f"keepalives{part}"] for part in ("", "_idle", "_interval", "_count")] == [1, 2, 1, 3]
    assert arguments["application_name"] == "spikefront"


def test_the_query_of_the_url_wins_and_its_options_are_added() -> None:
    url = "postgresql://me@h/d?connect_timeout=10&sslmode=require&options=-c%20search_path%3Dx"

    arguments = connect_arguments(create_engine(url))

    assert arguments["connect_timeout"] == "10"
    assert arguments["sslmode"] == "require"
    assert str(arguments["options"]).endswith("-c timezone=UTC -c search_path=x")


def test_a_pool_is_bounded() -> None:
    pool = create_engine("postgresql://me@h/d").pool

    assert isinstance(pool, sqlalchemy.QueuePool)
    assert (pool.size(), pool._max_overflow) == (12, 0)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (f"postgresql://me:{SECRET}@h:1/d", "'d' at h:1"),
        (f"postgresql://me:{SECRET}@h", "'me' at h:5432"),
        ("postgresql:///d", "'d' at local socket:5432"),
        ("postgresql:///d?host=/run/postgres", "'d' at /run/postgres:5432"),
    ],
)
def test_a_place_names_host_port_and_database_only(url: str, text: str) -> None:
    assert place(sqlalchemy.make_url(url)) == text


def test_the_representation_of_a_database_hides_the_password() -> None:
    url = f"postgresql://me:{SECRET}@h/d"

    database = Database(url, create_engine(url))

    assert SECRET not in repr(database)


class Coded(Exception):
    """A driver's error that only its SQLSTATE tells about."""

    def __init__(self, pgcode: str) -> None:
        super().__init__(pgcode)
        self.pgcode = pgcode


def caused(cause: BaseException) -> Exception:
    """An error of someone else that was raised from `cause`, two levels up."""
    middle = RuntimeError("invalid data")
    middle.__cause__ = cause
    top = RuntimeError("outermost")
    top.__cause__ = middle
    return top


@pytest.mark.parametrize(
    "error",
    [
        operational(),
        exc.InterfaceError("SELECT 1", {}, pg.OperationalError("gone")),
        exc.PendingRollbackError("roll back first"),
        exc.DBAPIError("SELECT 1", {}, Exception("odd"), connection_invalidated=True),
        pg.DeadlockDetected(),
        pg.SerializationFailure(),
        pg.DiskFull(),
        pg.TooManyConnections(),
        pg.CrashShutdown(),
        pg.CannotConnectNow(),
        pg.InterfaceError("connection already closed"),
        *(Coded(state) for state in ("40001", "40P01", "53100", "53300", "57P01", "57P02", "57P03")),
        exc.DBAPIError("SELECT 1", {}, Coded("53100")),
        caused(operational()),
        caused(exc.DBAPIError("SELECT 1", {}, Coded("40001"))),
    ],
    ids=repr,
)
def test_trouble_that_passes_by_itself_is_transient(error: BaseException) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        exc.IntegrityError("INSERT", {}, pg.UniqueViolation("twice")),
        exc.ProgrammingError("SELEC", {}, pg.SyntaxError("no")),
        exc.DataError("SELECT", {}, pg.NumericValueOutOfRange("big")),
        Coded("23505"),
        ValueError("a bug"),
        KeyboardInterrupt(),
        caused(ValueError("a bug")),
    ],
    ids=repr,
)
def test_mistakes_and_bugs_are_not_transient(error: BaseException) -> None:
    assert not is_transient(error)


def test_a_ring_of_causes_ends() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first

    assert not is_transient(first)


def test_an_error_that_was_only_being_handled_does_not_make_another_transient() -> None:
    bug = ValueError("a bug in the clean-up")
    bug.__context__ = operational()

    assert not is_transient(bug)
