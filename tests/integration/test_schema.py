"""Tables made and brought up to date: by many at once, twice, by whatever user, and refused when unknown."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text

from storage.embedded import EmbeddedPostgres
from storage.engine import create_engine
from storage.errors import SchemaError
from storage.schema import OPTUNA_REVISIONS, migrate
from storage.tables import SCHEMA, VERSION_TABLE, metadata
from tests.support.postgres import execute
from tests.support.processes import scalar

NEWEST = "0003"


@pytest.fixture
def engine(empty_url: str) -> Iterator[Engine]:
    made = create_engine(empty_url)
    yield made
    made.dispose()


def revisions(url: str) -> tuple[str, str]:
    return (
        scalar(url, "SELECT version_num FROM public.alembic_version"),
        scalar(url, f"SELECT version_num FROM {SCHEMA}.{VERSION_TABLE}"),
    )


def test_six_at_once_make_one_set_of_tables_in_an_empty_database(empty_url: str) -> None:
    engines = [create_engine(empty_url) for _ in range(6)]

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda engine: migrate(engine, empty_url), engines))
    for engine in engines:
        engine.dispose()

    assert revisions(empty_url) == (*OPTUNA_REVISIONS, NEWEST)
    assert scalar(empty_url, "SELECT count(*) FROM public.alembic_version") == 1
    assert scalar(empty_url, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0


def test_a_second_migration_changes_nothing(engine: Engine, empty_url: str) -> None:
    migrate(engine, empty_url)
    optuna.create_study(study_name="kept", storage=empty_url)

    migrate(engine, empty_url)

    assert optuna.get_all_study_names(empty_url) == ["kept"]
    assert revisions(empty_url) == (*OPTUNA_REVISIONS, NEWEST)


def test_a_database_that_optuna_made_is_taken_as_it_is(engine: Engine, empty_url: str) -> None:
    optuna.create_study(study_name="old", storage=empty_url)

    migrate(engine, empty_url)

    assert optuna.get_all_study_names(empty_url) == ["old"]


def test_a_newer_revision_of_ours_is_refused_and_left_alone(engine: Engine, empty_url: str) -> None:
    migrate(engine, empty_url)
    scalar(empty_url, f"UPDATE {SCHEMA}.{VERSION_TABLE} SET version_num = '9999' RETURNING 1")

    with pytest.raises(SchemaError, match=rf"revision 9999, newer than {NEWEST}, .*; install a newer"):
        migrate(engine, empty_url)

    assert revisions(empty_url)[1] == "9999"


def test_an_unknown_revision_of_optuna_is_refused_and_left_alone(engine: Engine, empty_url: str) -> None:
    optuna.create_study(study_name="newer", storage=empty_url)
    scalar(empty_url, "UPDATE public.alembic_version SET version_num = 'v9.0.0.a' RETURNING 1")

    with pytest.raises(SchemaError, match=r"revision v9\.0\.0\.a; this version knows v3\.2\.0\.a"):
        migrate(engine, empty_url)

    assert scalar(empty_url, "SELECT version_num FROM public.alembic_version") == "v9.0.0.a"
    assert scalar(empty_url, f"SELECT count(*) FROM pg_namespace WHERE nspname = '{SCHEMA}'") == 0


def test_after_a_refusal_the_lock_is_free(engine: Engine, empty_url: str) -> None:
    optuna.create_study(study_name="newer", storage=empty_url)
    scalar(empty_url, "UPDATE public.alembic_version SET version_num = 'v9.0.0.a' RETURNING 1")

    for _ in range(2):
        with pytest.raises(SchemaError):
            migrate(engine, empty_url)

    assert scalar(empty_url, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0


def test_an_optuna_client_whose_user_is_called_like_our_schema_still_works(engine: Engine, empty_url: str) -> None:
    """For such a user Postgres looks into the schema of that name first ("$user" in search_path)."""
    migrate(engine, empty_url)
    assert engine.url.username == SCHEMA

    study = optuna.create_study(study_name="theirs", storage=empty_url)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)

    assert len(optuna.load_study(study_name="theirs", storage=empty_url).trials) == 2
    migrate(engine, empty_url)
    assert revisions(empty_url) == (*OPTUNA_REVISIONS, NEWEST)


def test_another_user_without_rights_beyond_its_database_can_migrate(
    postgres: EmbeddedPostgres, empty_url: str
) -> None:
    user = f"plain_{uuid.uuid4().hex}"
    execute(postgres, f"CREATE ROLE {user} LOGIN PASSWORD 'p'")
    execute(postgres, f"ALTER DATABASE {empty_url.rpartition('/')[2]} OWNER TO {user}")
    theirs = empty_url.split("://")[0] + f"://{user}:p@" + empty_url.rpartition("@")[2]
    engine = create_engine(theirs)

    migrate(engine, theirs)

    assert revisions(theirs) == (*OPTUNA_REVISIONS, NEWEST)
    engine.dispose()


def test_the_migrations_lead_to_the_tables_that_the_code_knows(engine: Engine, empty_url: str) -> None:
    migrate(engine, empty_url)

    def is_ours(name: str | None, kind: str, parents: object) -> bool:
        return kind != "schema" or name == SCHEMA

    options = {"include_schemas": True, "include_name": is_ours, "compare_type": True, "compare_server_default": True,
               "version_table": VERSION_TABLE, "version_table_schema": SCHEMA}  # fmt: skip
    nowhere = create_engine(f"{empty_url}?options=-c%20search_path=pg_catalog")  # so that every name keeps its schema
    with nowhere.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        checks = connection.execute(
            text("SELECT count(*) FROM pg_constraint WHERE contype = 'c' AND connamespace = 'spikefront'::regnamespace")
        ).scalar()
    nowhere.dispose()

    ours = [change for change in found if not _is_stand_in(change)]
    assert ours == []
    assert checks == 3


def _is_stand_in(change: object) -> bool:
    """A difference in the two tables of Optuna that our metadata only names, for its foreign keys."""
    return isinstance(change, tuple) and getattr(change[1], "schema", None) == "public"
