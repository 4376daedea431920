"""Prepared statements do what SQLAlchemy's do, alone and sent together, and on a connection that was cut."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, exc, text

from storage.engine import create_engine, is_transient
from storage.statement import Batch, Statement

_ADD = Statement("INSERT INTO said (words) VALUES (:words)")
_ALL = Statement("SELECT words FROM said ORDER BY place")


@pytest.fixture
def connection(empty_url: str) -> Iterator[Connection]:
    engine = create_engine(empty_url)
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE said (place serial, words text NOT NULL)"))
        connection.commit()
        yield connection
    engine.dispose()


def test_statements_run_in_their_order_and_the_rows_of_the_last_come_back(connection: Connection) -> None:
    batch = Batch(connection)
    for words in ("first", "second"):
        batch.add(_ADD, {"words": words})
    batch.add(_ALL, {})

    assert batch.send() == [("first",), ("second",)]


@pytest.mark.parametrize("words", ["it's", "50 %(words)s", ":words", "a\\b; DROP TABLE said; --", "µ 漢字 😀", ""])
def test_every_text_arrives_as_it_is(connection: Connection, words: str) -> None:
    batch = Batch(connection)
    batch.add(_ADD, {"words": words})
    batch.send()

    assert _ALL.rows(connection, {}) == [(words,)]


def test_nothing_is_sent_before_it_is_told_to(connection: Connection) -> None:
    Batch(connection).add(_ADD, {"words": "kept back"})

    assert _ALL.rows(connection, {}) == []


def test_when_one_statement_fails_none_is_done(connection: Connection) -> None:
    batch = Batch(connection)
    batch.add(_ADD, {"words": "fine"})
    batch.add(_ADD, {"words": None})

    with pytest.raises(exc.IntegrityError):
        batch.send()
    connection.rollback()

    assert _ALL.rows(connection, {}) == []


def test_each_connection_prepares_a_statement_once(connection: Connection) -> None:
    prepared = text("SELECT count(*) FROM pg_prepared_statements")
    for words in ("first", "second"):
        _ADD.rows(connection, {"words": words})

    assert connection.scalar(prepared) == 1
    with connection.engine.connect() as other:
        assert other.scalar(prepared) == 0


def test_a_statement_prepared_in_a_transaction_that_was_undone_is_still_there(connection: Connection) -> None:
    _ADD.rows(connection, {"words": "undone"})
    connection.rollback()

    _ADD.rows(connection, {"words": "kept"})

    assert _ALL.rows(connection, {}) == [("kept",)]


def test_a_cut_connection_is_said_to_be_one_and_the_next_one_prepares_anew(connection: Connection) -> None:
    _ADD.rows(connection, {"words": "lost"})
    with connection.engine.connect() as other:
        other.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )

    with pytest.raises(exc.OperationalError) as caught:
        _ADD.rows(connection, {"words": "lost too"})
    connection.rollback()

    assert caught.value.connection_invalidated
    assert is_transient(caught.value)
    assert _ALL.rows(connection, {}) == []
