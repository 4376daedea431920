"""The open database of a server or a command: our engine, and Optuna's storage on the same tables."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial
from sqlalchemy import Engine

from storage.embedded import EmbeddedPostgres
from storage.engine import open_database
from storage.errors import StorageError
from storage.schema import OPTUNA_ENGINE, migrate

log = logging.getLogger(__name__)

REVIVE_S = 2.0


class Record:
    """Where everything durable is read and written.

    Attributes:
        engine: For our own transactions.
        optuna: Optuna's storage on the same database, with its cache of finished trials.
    """

    def __init__(self, engine: Engine, url: str, server: EmbeddedPostgres | None = None) -> None:
        self.engine = engine
        self._server = server
        rdb = optuna.storages.RDBStorage(
            url,
            engine_kwargs=OPTUNA_ENGINE,
            skip_table_creation=True,
            skip_compatibility_check=True,
        )
        self.optuna = optuna.storages.get_storage(rdb)
        self._connections = rdb.engine

    def close(self) -> None:
        """Close Optuna's connections; the engine belongs to the caller."""
        self._connections.dispose()

    def trials(self, study_id: int) -> list[FrozenTrial]:
        """Every trial of a study as Optuna reads it, in the order of the numbers; not to be changed."""
        return self.optuna.get_all_trials(study_id, deepcopy=False)

    @contextmanager
    def kept_alive(self) -> Iterator[None]:
        """While the block lasts, start the embedded database again whenever it has died; a server of yours is yours."""
        server, ended = self._server, threading.Event()
        if server is None:
            yield
            return

        def watch() -> None:
            while not ended.wait(REVIVE_S):
                try:
                    server.start()
                except StorageError as error:
                    log.warning("the embedded database does not start: %s", error, extra={"action": "revive"})

        thread = threading.Thread(target=watch, name="database", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


@contextmanager
def open_record(url: str | None, var: Path) -> Iterator[Record]:
    """Open (and bring up to date) the database at `url`, or the embedded one under `var`.

    Raises:
        StorageError: It cannot be reached or started, or its schema is of an unknown revision.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with open_database(url, var) as database:
        address = database.engine.url.render_as_string(hide_password=False)
        migrate(database.engine, address)
        record = Record(database.engine, address, database.server)
        try:
            yield record
        finally:
            record.close()
