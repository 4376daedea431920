"""The way to the database: engines with time limits, and which of its errors pass by themselves.

Without limits of its own, psycopg2 waits on a dead link for as long as the kernel does, which can be
hours. The numbers fit a lease of 30 s that is renewed every 10 s.
"""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2  # type: ignore[import-untyped]
import sqlalchemy
from sqlalchemy import event, exc
from sqlalchemy.pool import ConnectionPoolEntry

from storage.embedded import EmbeddedPostgres
from storage.errors import DatabaseError, DatabaseUrlError

DRIVER = "postgresql+psycopg2"
SPELLINGS = ("postgresql", "postgres", DRIVER)
SESSION_OPTIONS = (
    "-c statement_timeout=10000 -c lock_timeout=8000 -c idle_in_transaction_session_timeout=15000 -c timezone=UTC"
)
"""Nobody waits for long, not even for a process that stopped in the middle of a transaction."""
CONNECT_ARGS: dict[str, Any] = {
    "connect_timeout": 3,  # [s]
    "keepalives": 1,
    "keepalives_idle": 2,  # [s]
    "keepalives_interval": 1,  # [s]
    "keepalives_count": 3,
    "tcp_user_timeout": 4000,  # [ms]
    "application_name": "spikefront",
}
CONNECTIONS = 12
"""At most so many to the database from one engine."""
TRUSTED_S = 1.0
RESTING = "resting since"
TRANSIENT_TYPES = (
    exc.TimeoutError,  # of the pool
    exc.OperationalError,
    exc.InterfaceError,
    exc.PendingRollbackError,
    psycopg2.OperationalError,
    psycopg2.InterfaceError,
)
TRANSIENT_STATES = {
    "40001": "serialization failure",
    "40P01": "deadlock detected",
    "53100": "disk full",
    "53300": "too many connections",
    "57P01": "admin shutdown",
    "57P02": "crash shutdown",
    "57P03": "cannot connect now",
}  # Source: PostgreSQL 18 documentation, appendix A "PostgreSQL Error Codes"
EXPECTED = "expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE"


@dataclass(frozen=True)
class Database:
    """An open database. `server` is the embedded one, to be started again should it die; else None."""

    url: str = field(repr=False)
    engine: sqlalchemy.Engine
    server: EmbeddedPostgres | None = field(default=None, repr=False)


@contextlib.contextmanager
def open_database(url: str | None, var: Path) -> Iterator[Database]:
    """The database at `url`, checked; without a URL the embedded one in the folder `var/postgres`.

    Raises:
        DatabaseUrlError: `url` is not one of a Postgres database.
        DatabaseError: Nothing usable answers there.
        EmbeddedError: The embedded database cannot be started.
    """
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(EmbeddedPostgres(var / "postgres")) if url is None else None
        address = url if server is None else server.start()
        assert address is not None
        engine = create_engine(address)
        stack.callback(engine.dispose)
        check_connection(engine)
        yield Database(address, engine, server)


def create_engine(url: str) -> sqlalchemy.Engine:
    """Engine with time limits everywhere; opens no connection yet.

    What the query part of `url` sets (`?connect_timeout=10`) wins over ours; its `options` are added.

    Raises:
        DatabaseUrlError: `url` cannot be read, or is not one of a Postgres database.
    """
    address = _parse(url)
    options = " ".join([SESSION_OPTIONS, *_words(address.query.get("options", ()))])
    limits = {name: value for name, value in CONNECT_ARGS.items() if name not in address.query}
    engine = sqlalchemy.create_engine(
        address,
        pool_size=CONNECTIONS,
        max_overflow=0,  # opening a connection costs as much as a trial: those that are open are kept
        pool_timeout=10,  # [s]
        pool_use_lifo=True,
        connect_args=limits | {"options": options},
    )
    _ping_doubtful(engine)
    return engine


def _ping_doubtful(engine: sqlalchemy.Engine) -> None:
    """Before a pooled connection is used again, ask it whether it lives; spare the question where the answer is clear.

    `pool_pre_ping` asks always. A server that ends a connection closes its socket, which can be seen without a word,
    so that only a link that was cut without a trace is to be feared, and not within `TRUSTED_S` of its last use.
    """

    @event.listens_for(engine, "checkin")
    def rest(_: object, record: ConnectionPoolEntry) -> None:
        record.info[RESTING] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def ask(connection: Any, record: ConnectionPoolEntry, _: object) -> None:
        since = record.info.get(RESTING)
        try:
            if since is not None and (time.monotonic() - since > TRUSTED_S or _has_word(connection)):
                engine.dialect.do_ping(connection)
        except psycopg2.Error as error:
            raise exc.InvalidatePoolError from error  # this one and all older ones are replaced


def _has_word(connection: Any) -> bool:
    """Whether something is to be read from an idle connection: its end, as a rule."""
    socket = select.poll()
    socket.register(connection.fileno(), select.POLLIN)
    return bool(socket.poll(0))


def _parse(url: str) -> sqlalchemy.URL:
    """`url` with our driver. The messages do not repeat it: it may hold a password."""
    try:
        address = sqlalchemy.make_url(url)
    except (exc.ArgumentError, ValueError):
        raise DatabaseUrlError(f"SPIKEFRONT_DATABASE_URL: not a URL; {EXPECTED}") from None
    if address.drivername not in SPELLINGS:
        raise DatabaseUrlError(
            f"SPIKEFRONT_DATABASE_URL: '{address.drivername}' is not supported, spikefront needs Postgres; {EXPECTED}"
        )
    return address.set(drivername=DRIVER)


def _words(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def check_connection(engine: sqlalchemy.Engine) -> None:
    """Ask the database one question.

    Raises:
        DatabaseError: It cannot be reached or used; names host, port and database, never the password.
    """
    try:
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("SELECT 1"))
    except exc.SQLAlchemyError as error:
        raise DatabaseError(
            f"cannot use database {place(engine.url)}: {first_line(error)}; "
            "check that Postgres runs there and that SPIKEFRONT_DATABASE_URL is right"
        ) from error


def place(url: sqlalchemy.URL) -> str:
    """Where a database is, for messages: `'NAME' at HOST:PORT`, without user and password."""
    host = url.host or ",".join(_words(url.query.get("host", "local socket")))
    return f"'{url.database or url.username}' at {host}:{url.port or 5432}"


def first_line(error: BaseException) -> str:
    """First line of what the driver says, without SQLAlchemy's additions."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def is_transient(error: BaseException) -> bool:
    """Whether `error`, or what it was raised from, is trouble with the database that may pass by itself."""
    return any(_is_transient_itself(link) for link in _chain(error))


def _is_transient_itself(error: BaseException) -> bool:
    return (
        isinstance(error, TRANSIENT_TYPES)
        or (isinstance(error, exc.DBAPIError) and error.connection_invalidated)
        or getattr(error, "pgcode", None) in TRANSIENT_STATES
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """`error` and everything below it, by `__cause__` and by SQLAlchemy's `orig`; each one once."""
    waiting, seen = [error], set[int]()
    while waiting:
        link = waiting.pop()
        if id(link) not in seen:
            seen.add(id(link))
            yield link
            waiting += [
                below for below in (link.__cause__, getattr(link, "orig", None)) if isinstance(below, BaseException)
            ]
