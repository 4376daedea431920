"""Postgres' own programs for backups: `pg_dump`, and `pg_restore` into `psql`, of the server's major version.

How to connect stands in a service file that only we can read: no password is ever on a command line.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from optuna.storages._rdb import models
from sqlalchemy import Connection, Engine, Enum, text

from storage.embedded import binaries
from storage.errors import BackupError, EmbeddedError
from storage.tables import SCHEMA

NEEDED = ("pg_dump", "pg_restore", "psql")
SERVICE = "spikefront"
LOCK_WAIT = "20s"
VERSION_LIMIT_S = 20.0

OPTUNA_TABLES = (*sorted(models.BaseModel.metadata.tables), "alembic_version")
OPTUNA_TYPES = sorted(
    {
        str(column.type.name)
        for table in models.BaseModel.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, Enum)
    }
)

_FOREIGN = text("""
SELECT quote_ident(relname) FROM pg_class
WHERE relnamespace = to_regnamespace('public') AND relkind IN ('r', 'p', 'v', 'm', 'f') AND relname <> ALL(:ours)
""")


@dataclass(frozen=True)
class Programs:
    """The programs that fit a server, and how they reach it."""

    folder: Path
    environment: Mapping[str, str]

    def dump(self, snapshot: str, foreign: Sequence[str], target: Path) -> None:
        """Write both schemas as a snapshot shows them, in pg_dump's custom format.

        Args:
            snapshot: From `pg_export_snapshot()`, in a transaction that is still open.
            foreign: Quoted names of tables in the schema `public` that are left out.
            target: The file to write.

        Raises:
            BackupError: pg_dump fails; the message ends with its own words.
        """
        command: list[str | Path] = [
            self.folder / "pg_dump", "--format=custom", "--schema=public", f"--schema={SCHEMA}", "--no-password",
            f"--lock-wait-timeout={LOCK_WAIT}", f"--snapshot={snapshot}", f"--file={target}",
            *(f"--exclude-table=public.{name}" for name in foreign), f"--dbname=service={SERVICE}",
        ]  # fmt: skip
        done = subprocess.run(command, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise BackupError(f"pg_dump failed: {_last_words(done.stderr)}")

    def restore(self, dump: Path) -> None:
        """Put what a dump holds in the place of Optuna's tables and of ours, in one transaction: all of it or nothing.

        Raises:
            BackupError: A program fails, and the database is as it was.
        """
        with tempfile.TemporaryFile("w+") as complaints:
            psql = subprocess.Popen(
                [self.folder / "psql", "--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1",
                 "--output=/dev/null", f"--dbname=service={SERVICE}"],
                env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=complaints, text=True,
            )  # fmt: skip
            assert psql.stdin is not None
            try:
                with contextlib.suppress(BrokenPipeError), psql.stdin as script:
                    _write(script, _clearing())
                    self._write_script(dump, script, complaints)
                    _write(script, "COMMIT;\n")  # without this line, whatever happened, nothing is kept
                psql.wait()
            finally:
                psql.kill()
                psql.wait()
            complaints.seek(0)
            if psql.returncode != 0:
                raise BackupError(f"the database is as it was, restoring failed: {_last_words(complaints.read())}")

    def _write_script(self, dump: Path, script: IO[str], complaints: IO[str]) -> None:
        """The dump as SQL, without the schema `public`, which is there."""
        listed = self._pg_restore("--list", dump, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if listed.returncode != 0:
            raise BackupError(f"pg_restore cannot read the dump: {_last_words(listed.stderr)}")
        with tempfile.NamedTemporaryFile("w") as chosen:
            chosen.writelines(f"{line}\n" for line in listed.stdout.splitlines() if " SCHEMA - public " not in line)
            chosen.flush()
            options = ("--no-owner", "--no-privileges", "--no-comments", "--exit-on-error", f"--use-list={chosen.name}")
            done = self._pg_restore(*options, "--file=-", dump, stdout=script, stderr=complaints)
        if done.returncode > 0:
            complaints.seek(0)
            raise BackupError(f"the database is as it was, pg_restore failed: {_last_words(complaints.read())}")

    def _pg_restore(
        self, *words: str | Path, stdout: int | IO[str], stderr: int | IO[str]
    ) -> subprocess.CompletedProcess[str]:
        command = [self.folder / "pg_restore", *words]
        return subprocess.run(
            command, env=self.environment, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, text=True
        )


@contextlib.contextmanager
def programs_for(engine: Engine, major: int) -> Iterator[Programs]:
    """The programs of version `major`, told how to reach the engine's database while the block lasts.

    Raises:
        BackupError: None are installed.
    """
    folder = _folder_of(major)
    _, parameters = engine.dialect.create_connect_args(engine.url)
    with tempfile.TemporaryDirectory(prefix="spikefront-") as private:
        file = Path(private) / "service.conf"
        file.touch(mode=0o600)
        lines = (f"{name}={value}" for name, value in parameters.items() if value is not None)
        file.write_text("\n".join([f"[{SERVICE}]", *lines, ""]))
        yield Programs(folder, {**os.environ, "LC_ALL": "C", "PGSERVICEFILE": str(file)})


def major_version(connection: Connection) -> int:
    """Major version of the server, such as 18."""
    return int(connection.scalar(text("SELECT current_setting('server_version_num')::int / 10000")) or 0)


def foreign_tables(connection: Connection) -> list[str]:
    """Quoted names of the tables in the schema `public` that are not Optuna's."""
    return list(connection.scalars(_FOREIGN, {"ours": list(OPTUNA_TABLES)}))


def _folder_of(major: int) -> Path:
    found: dict[int, Path] = {}
    for folder in _folders():
        if all((folder / name).exists() for name in NEEDED):
            found.setdefault(_version(folder / "pg_dump"), folder)
    if major not in found:
        there = f"found those of {', '.join(map(str, sorted(found)))}" if found else "found none"
        raise BackupError(
            f"the database is Postgres {major} and needs the pg_dump, pg_restore and psql of Postgres {major}: "
            f"{there}; install postgresql-client-{major} and put its programs first in the PATH"
        )
    return found[major]


def _folders() -> Iterator[Path]:
    """The embedded server's folder, those of other versions beside it, and where the shell finds pg_dump."""
    with contextlib.suppress(EmbeddedError):
        own = binaries()
        yield own
        yield from sorted(own.parents[1].glob("pginstall*/bin"))
    if (program := shutil.which("pg_dump")) is not None:
        yield Path(program).parent


def _version(program: Path) -> int:
    try:
        told = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=VERSION_LIMIT_S).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    number = re.search(r"\(PostgreSQL\) (\d+)", told)
    return int(number[1]) if number else 0


def _clearing() -> str:
    """SQL that begins a transaction and drops Optuna's tables and our schema, and nothing of anybody else's."""
    tables = ", ".join(f"public.{name}" for name in OPTUNA_TABLES)
    types = ", ".join(f"public.{name}" for name in OPTUNA_TYPES)
    return (
        f"BEGIN;\nSET client_min_messages = error;\nSET LOCAL lock_timeout = '{LOCK_WAIT}';\n"
        f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE;\nDROP TABLE IF EXISTS {tables} CASCADE;\n"
        f"DROP TYPE IF EXISTS {types} CASCADE;\n"
    )


def _write(script: IO[str], words: str) -> None:
    script.write(words)
    script.flush()


def _last_words(complaint: str) -> str:
    return " | ".join(complaint.strip().splitlines()[-3:]) or "it said nothing"
