"""Back up everything that a server has, and restore it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from service.errors import UsageError
from service.record import open_record
from service.reports import FRONT_DIGEST
from service.server import find_server
from service.settings import Settings
from storage import backup
from storage.artifacts import Artifacts
from storage.backup import Count, Manifest
from storage.engine import open_database


@dataclass(frozen=True)
class Restored:
    """What a restore did.

    Attributes:
        manifest: Of the backup.
        lost: Studies that were there before.
    """

    manifest: Manifest
    lost: list[Count]


def back_up(settings: Settings, file: Path, *, force: bool = False) -> Manifest:
    """Write the database and its artifacts into a file; servers and workers may go on meanwhile.

    Raises:
        UsageError: The file exists, or there is no database under the var folder.
        StorageError: The database or an artifact cannot be read, or the file cannot be written.
    """
    if file.exists() and (file.is_dir() or not force):
        raise UsageError(f"{file} exists; give another FILE, or replace the file with --force")
    url = _database_url(settings)
    if url is None and not (settings.var / "postgres" / "data").exists():
        raise UsageError(f"{settings.var / 'postgres'}: there is no database; set SPIKEFRONT_VAR to a server's folder")
    with open_database(url, settings.var) as database:
        return backup.back_up(database.engine, _artifacts(settings), file, front_key=FRONT_DIGEST)


def restore(settings: Settings, file: Path, *, force: bool = False) -> Restored:
    """Put a backup in the place of this var folder's database and artifacts, and bring it up to date.

    Raises:
        UsageError: A server works on this var folder.
        StorageError: The backup is torn or too new, or the database holds studies and `force` is not given;
            nothing was changed. Or the disk or the database fails; the database is as it was.
    """
    if (running := find_server(settings)) is not None:
        raise UsageError(f"a study server works on {settings.var} at {running.url}; stop it first")
    url = _database_url(settings)
    with backup.open_archive(file, settings.var) as archive, open_database(url, settings.var) as database:
        lost = backup.restore(database.engine, _artifacts(settings), archive, force=force, front_key=FRONT_DIGEST)
        with open_record(url, settings.var):  # migrations run
            return Restored(archive.manifest, lost)


def _artifacts(settings: Settings) -> Artifacts:
    return Artifacts(settings.var / "artifacts")


def _database_url(settings: Settings) -> str | None:
    return settings.database_url.get_secret_value() if settings.database_url else None
