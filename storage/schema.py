"""Bring a database up to date: Optuna's tables, then ours, under one lock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from storage.engine import CONNECT_ARGS, SESSION_OPTIONS
from storage.errors import SchemaError
from storage.tables import SCHEMA, VERSION_TABLE

OPTUNA_REVISIONS = frozenset({"v3.2.0.a"})
"""Revisions of Optuna's schema that `storage.trials` knows how to write."""

OPTUNA_ENGINE: dict[str, Any] = {
    "pool_pre_ping": True,
    "connect_args": {**CONNECT_ARGS, "options": f"{SESSION_OPTIONS} -c search_path=public"},
}
"""Engine arguments of Optuna's storage: our time limits, and its tables in `public` whatever the user is called."""

_LOCK = 0x5350494B45  # "SPIKE"


def migrate(engine: Engine, url: str) -> None:
    """Create or upgrade every table; safe to call from many processes at once.

    Raises:
        SchemaError: Optuna's schema is of an unknown revision, or ours is newer than this program.
    """
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
        try:
            _create_optuna_tables(url)
            _check_optuna(connection)
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
            connection.commit()
            _upgrade(connection)
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
            connection.commit()


def _create_optuna_tables(url: str) -> None:
    """Create and stamp Optuna's tables where there are none; their revision is checked by us, in our words."""
    optuna.storages.RDBStorage(url, engine_kwargs=OPTUNA_ENGINE, skip_compatibility_check=True).engine.dispose()


def _check_optuna(connection: Connection) -> None:
    revision = connection.scalar(text("SELECT version_num FROM public.alembic_version"))
    if revision not in OPTUNA_REVISIONS:
        raise SchemaError(
            f"Optuna's tables are of revision {revision}; this version knows {', '.join(sorted(OPTUNA_REVISIONS))}: "
            "install the spikefront that fits, or use another database"
        )


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    context = MigrationContext.configure(
        connection, opts={"version_table": VERSION_TABLE, "version_table_schema": SCHEMA}
    )
    current = context.get_current_revision()
    connection.rollback()
    known = {revision.revision for revision in script.walk_revisions()}
    if current is not None and current not in known:
        raise SchemaError(
            f"the schema '{SCHEMA}' is of revision {current}, newer than {script.get_current_head()}, the last one "
            "that this program knows; install a newer spikefront"
        )
    command.upgrade(config, "head")
    connection.commit()
