"""Statements that every trial needs: planned once by each connection, sent without SQLAlchemy's work between.

To plan such a statement costs the database as much as to run it; to put it together and to look at its columns costs
the server even more.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg2  # type: ignore[import-untyped]
from psycopg2.extensions import encodings  # type: ignore[import-untyped]
from sqlalchemy import Connection, exc

PREPARED = "prepared statements"
_PARAMETER = re.compile(r":([a-z_][a-z0-9_]*)")

Row = tuple[Any, ...]


class Statement:
    """SQL that is prepared on a connection when it is first needed there.

    Args:
        sql: With parameters as `:name`; types that PostgreSQL cannot infer are named by CAST.
    """

    def __init__(self, sql: str) -> None:
        names = list(dict.fromkeys(_PARAMETER.findall(sql)))
        numbered = _PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", sql)
        self.name = f"spikefront_{hashlib.sha256(sql.encode()).hexdigest()[:16]}"
        self.preparing = f"PREPARE {self.name} AS {numbered}"
        values = ", ".join(f"%({name})s" for name in names)
        self.running = f"EXECUTE {self.name}({values})" if names else f"EXECUTE {self.name}"

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> list[Row]:
        """Run it; the rows that it gives."""
        return _sent(connection, [(self, values)])

    def write(self, writes: Writes, values: Mapping[str, Any]) -> None:
        """Run it for its effect, or leave it in a batch."""
        if isinstance(writes, Batch):
            writes.add(self, values)
        else:
            self.rows(writes, values)


class Batch:
    """Collects statements of one transaction, and sends them in their order: one round trip for all.

    Args:
        connection: Of the transaction.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._statements: list[tuple[Statement, Mapping[str, Any]]] = []

    def add(self, statement: Statement, values: Mapping[str, Any]) -> None:
        """Keep a statement until `send`."""
        self._statements.append((statement, values))

    def send(self) -> list[Row]:
        """Run what was collected, at least one statement; gives the rows of the last one."""
        statements, self._statements = self._statements, []
        return _sent(self._connection, statements)


Writes = Connection | Batch
"""Where a function writes that reads nothing back."""


def _sent(connection: Connection, statements: Sequence[tuple[Statement, Mapping[str, Any]]]) -> list[Row]:
    if not connection.in_transaction():
        connection.begin()  # as SQLAlchemy does at the first statement
    pooled = connection.connection
    prepared: set[str] = pooled.info.setdefault(PREPARED, set())
    cursor: Any = pooled.cursor()
    try:
        for statement, _ in statements:
            if statement.name not in prepared:
                cursor.execute(statement.preparing)
                prepared.add(statement.name)
        encoding = encodings[cursor.connection.encoding]
        parts = [cursor.mogrify(statement.running, values).decode(encoding) for statement, values in statements]
        cursor.execute(";\n".join(parts))
        return list(cursor.fetchall()) if cursor.description else []
    except psycopg2.Error as error:
        raise _as_sqlalchemy_says_it(connection, cursor, statements[-1][0], error) from error
    finally:
        cursor.close()


def _as_sqlalchemy_says_it(
    connection: Connection, cursor: Any, statement: Statement, error: psycopg2.Error
) -> BaseException:
    """The error that SQLAlchemy would raise; a connection that is gone is invalidated."""
    is_gone = connection.dialect.is_disconnect(error, cursor.connection, cursor)
    if is_gone:
        connection.invalidate(error)
    said: BaseException = exc.DBAPIError.instance(
        statement.preparing, None, error, psycopg2.Error, connection_invalidated=is_gone, dialect=connection.dialect
    )
    return said
