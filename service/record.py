"""The open database of a server or a command: our engine, and Optuna's storage on the same tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial
from sqlalchemy import Engine

from storage.engine import open_database
from storage.schema import OPTUNA_ENGINE, migrate


class Record:
    """Where everything durable is read and written.

    Attributes:
        engine: For our own transactions.
        optuna: Optuna's storage on the same database, with its cache of finished trials.
        url: Of the database, with its password: for Optuna's dashboard and for people who ask for it.
    """

    def __init__(self, engine: Engine, url: str) -> None:
        self.engine = engine
        self.url = url
        rdb = optuna.storages.RDBStorage(
            url,
            engine_kwargs=OPTUNA_ENGINE,
            skip_table_creation=True,
            skip_compatibility_check=True,
        )
        self.optuna = optuna.storages.get_storage(rdb)

    def trials(self, study_id: int) -> list[FrozenTrial]:
        """Every trial of a study as Optuna reads it, in the order of the numbers; not to be changed."""
        return self.optuna.get_all_trials(study_id, deepcopy=False)


@contextmanager
def open_record(url: str | None, var: Path) -> Iterator[Record]:
    """Open (and bring up to date) the database at `url`, or the embedded one under `var`.

    Raises:
        StorageError: It cannot be reached or started, or its schema is of an unknown revision.
    """
    with open_database(url, var) as database:
        address = database.engine.url.render_as_string(hide_password=False)
        migrate(database.engine, address)
        yield Record(database.engine, address)
