"""Statements sent together do what they do one by one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, exc, text

from storage.batch import Batch
from storage.engine import create_engine

_ADD = text("INSERT INTO said (words) VALUES (:words)")
_ALL = text("SELECT words FROM said ORDER BY place")


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
        batch.execute(_ADD, {"words": words})
    batch.execute(_ALL, {})

    assert batch.send().scalars().all() == ["first", "second"]


@pytest.mark.parametrize("words", ["it's", "50 %(words)s", ":words", "a\\b; DROP TABLE said; --", "µ 漢字 😀", ""])
def test_every_text_arrives_as_it_is(connection: Connection, words: str) -> None:
    batch = Batch(connection)
    batch.execute(_ADD, {"words": words})
    batch.send()

    assert connection.scalars(_ALL).all() == [words]


def test_nothing_is_sent_before_it_is_told_to(connection: Connection) -> None:
    Batch(connection).execute(_ADD, {"words": "kept back"})

    assert connection.scalars(_ALL).all() == []


def test_when_one_statement_fails_none_is_done(connection: Connection) -> None:
    batch = Batch(connection)
    batch.execute(_ADD, {"words": "fine"})
    batch.execute(_ADD, {"words": None})

    with pytest.raises(exc.IntegrityError):
        batch.send()
    connection.rollback()

    assert connection.scalars(_ALL).all() == []
