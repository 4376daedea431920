"""Statements that are sent to the database together: one round trip, where each costs as much as a small write."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from psycopg2.extensions import encodings  # type: ignore[import-untyped]
from sqlalchemy import Connection, CursorResult, TextClause
from sqlalchemy.dialects.postgresql import psycopg2


class Batch:
    """Collects statements of one transaction, and sends them in their order.

    Args:
        connection: Of the transaction.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cursor: Any = connection.connection.cursor()
        self._encoding = encodings[self._cursor.connection.encoding]
        self._statements: list[str] = []

    def execute(self, statement: TextClause, values: Mapping[str, Any]) -> None:
        """Keep a statement until `send`."""
        self._statements.append(self._cursor.mogrify(_sql(statement), values).decode(self._encoding))

    def send(self) -> CursorResult[*tuple[Any, ...]]:
        """Run what was collected, at least one statement; gives the rows of the last one."""
        statements = ";\n".join(self._statements)
        self._statements.clear()
        return self._connection.exec_driver_sql(statements, execution_options={"no_parameters": True})


Writes = Connection | Batch
"""Where a function writes that reads nothing back."""


@lru_cache(maxsize=256)
def _sql(statement: TextClause) -> str:
    """A statement with its parameters as the driver spells them."""
    return str(statement.compile(dialect=psycopg2.dialect()))  # type: ignore[no-untyped-call]
