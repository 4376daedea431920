"""Each migration, up, on a database that the version before it filled: nothing of it changes, and its study goes on.

`filled/REVISION.sql` is what `pg_dump --inserts` made of such a database, without comments and settings: the study
`tiny`, running or stopped, with complete trials, a failed one and one that was handed back in its training, the
complete study `done`, and the study `theirs` of another Optuna client. A new migration comes with the file of the
revision before it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import psycopg2  # type: ignore[import-untyped]
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

import storage.migrations
from storage.engine import create_engine
from storage.schema import migrate
from storage.tables import SCHEMA, VERSION_TABLE
from tests.support.desk import opened
from tests.support.postgres import dsn
from tests.support.processes import audit, scalar

FILLED = sorted((Path(__file__).parent / "filled").glob("*.sql"))
_COLUMNS = text("""
SELECT table_schema || '.' || table_name AS name,
       array_agg(quote_ident(column_name) ORDER BY ordinal_position) AS columns
FROM information_schema.columns
WHERE table_schema IN ('public', :ours) AND table_name NOT IN (:version, 'alembic_version')
GROUP BY 1
""")

Tables = dict[str, list[str]]


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(Path(str(storage.migrations.__file__)).parent))
    return ScriptDirectory.from_config(config)


def load(url: str, file: Path) -> None:
    with psycopg2.connect(dsn(url)) as connection:
        connection.cursor().execute(file.read_text(encoding="utf-8"))
    connection.close()


def columns(engine: Engine) -> Tables:
    """Column names by table."""
    with engine.connect() as connection:
        rows = connection.execute(_COLUMNS, {"ours": SCHEMA, "version": VERSION_TABLE})
        return {row.name: list(row.columns) for row in rows}


def content(engine: Engine, tables: Tables) -> dict[str, list[str]]:
    """Every row, of these columns only."""
    with engine.connect() as connection:
        return {
            name: sorted(map(repr, connection.execute(text(f"SELECT {', '.join(wanted)} FROM {name}"))))
            for name, wanted in tables.items()
        }


def by_optuna_alone(url: str) -> None:
    """A database without anything of ours."""
    study = optuna.create_study(study_name="theirs", storage=url)
    study.set_user_attr("note", "kept")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    study.enqueue_trial({"x": 0.5})


CASES: dict[str, Callable[[str], Any]] = {
    "optuna": by_optuna_alone,
    **{file.stem: lambda url, file=file: load(url, file) for file in FILLED},
}


def test_every_revision_but_the_newest_has_a_database_filled_by_its_version() -> None:
    newest = scripts().get_current_head()

    assert [file.stem for file in FILLED] == sorted(
        found.revision for found in scripts().walk_revisions() if found.revision != newest
    )


@pytest.mark.parametrize("revision", CASES)
def test_a_database_filled_by_the_version_before_is_migrated_and_keeps_every_row(empty_url: str, revision: str) -> None:
    CASES[revision](empty_url)
    engine = create_engine(empty_url)
    tables = columns(engine)
    before = content(engine, tables)
    assert sum(map(len, before.values())) > 10

    migrate(engine, empty_url)

    assert content(engine, tables) == before
    assert scalar(empty_url, f"SELECT version_num FROM {SCHEMA}.{VERSION_TABLE}") == scripts().get_current_head()
    engine.dispose()


@pytest.mark.parametrize("file", FILLED, ids=[file.stem for file in FILLED])
def test_a_study_begun_by_the_version_before_goes_on_after_the_migration(
    empty_url: str, file: Path, tmp_path: Path
) -> None:
    load(empty_url, file)

    with opened(empty_url, tmp_path) as desk:
        assert desk.studies.status("done").state == "complete"
        desk.studies.resume("tiny", {"versions": "any"})
        handed_back = desk.lease(worker="newer")
        assert (handed_back.number, len(handed_back.checkpoints)) == (3, 2)
        assert handed_back.fence > 1
        desk.serve(handed_back)
        desk.drain()

    states = [trial.state.name for trial in audit(empty_url, "tiny", 5)]
    assert states == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
