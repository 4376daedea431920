"""Backups: the database and the artifacts it refers to, in one tar file, as they were at one moment.

The archive holds `database.dump` (pg_dump's custom format), `artifacts/TRIAL/FENCE-SHA256.safetensors`, and last
`manifest.json`, which says what has to be there. Everything is checked by its hash, when it is written and before
anything is restored.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, Annotated, Literal, NamedTuple

from alembic.script import ScriptDirectory
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Connection, Engine, text

from storage import schema
from storage.artifacts import Artifacts, sha256
from storage.engine import CONNECT_ARGS
from storage.errors import ArtifactError, BackupError
from storage.programs import Programs, foreign_tables, major_version, programs_for
from storage.tables import SCHEMA, VERSION_TABLE

MANIFEST, DUMP, ARTIFACTS = "manifest.json", "database.dump", "artifacts"
ATTEMPTS = 5
"""How often a backup begins again because an artifact was pruned while it was made."""

MANIFEST_LIMIT_BYTES = 256 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024
_NAME = re.compile(ARTIFACTS + r"/(\d{1,10})/(\d{1,19})-([0-9a-f]{64})\.safetensors", re.ASCII)

_REFERRED = text(f"""
SELECT trial_id, fence, sha256 FROM {SCHEMA}.checkpoint
UNION SELECT trial_id, weights_fence, weights_sha256 FROM {SCHEMA}.result
UNION SELECT trial_id, weights_fence, details->>:front FROM {SCHEMA}.result WHERE details->>:front IS NOT NULL
ORDER BY 1 DESC, 2, 3
""")
_COUNTS = text("""
SELECT s.study_name AS name, count(t.trial_id) AS trials
FROM public.studies s LEFT JOIN public.trials t USING (study_id) GROUP BY s.study_id ORDER BY s.study_id
""")
_OTHERS = text("""
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = :name AND pid <> pg_backend_pid()
""")


class Blob(NamedTuple):
    """An artifact: whose it is, which attempt wrote it, what it hashes to."""

    trial_id: int
    fence: int
    digest: str

    @property
    def member(self) -> str:
        """Its name in an archive."""
        return Artifacts(Path(ARTIFACTS)).path(*self).as_posix()


class Revisions(BaseModel):
    """Revisions of the two schemas."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    optuna: str
    spikefront: str


class Manifest(BaseModel):
    """What an archive holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    spikefront: str
    created: AwareDatetime
    postgres: int
    revisions: Revisions
    studies: int
    trials: int
    dump_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    artifacts: tuple[Annotated[str, Field(pattern=f"^{_NAME.pattern}$")], ...]

    def blobs(self) -> Iterator[Blob]:
        """The artifacts."""
        for name in self.artifacts:
            match = _NAME.fullmatch(name)
            assert match is not None
            yield Blob(int(match[1]), int(match[2]), match[3])


@dataclass(frozen=True)
class Count:
    """A stored study and how many trials it has."""

    name: str
    trials: int


# --- writing ---------------------------------------------------------------------------------------------------------


def back_up(engine: Engine, artifacts: Artifacts, target: Path, *, front_key: str) -> Manifest:
    """Write the database and the artifacts it refers to into one file; others may go on writing meanwhile.

    Args:
        engine: Of the database, whatever the revision of its tables.
        artifacts: Where checkpoints and weights are kept.
        target: Replaced when it exists; until the end it is as it was.
        front_key: Where in a result's details the digest of a hardware front stands.

    Raises:
        BackupError: There is nothing to back up, an artifact is missing, or the file cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
            archive = Path(folder) / "archive"
            manifest = _attempts(engine, artifacts, archive, front_key)
            _sync(archive)
            archive.replace(target)
            _sync(target.parent)
    except OSError as error:
        raise BackupError(f"{target}: cannot be written: {error.strerror}; free space or give another FILE") from error
    return manifest


def _attempts(engine: Engine, artifacts: Artifacts, archive: Path, front_key: str) -> Manifest:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _written(engine, artifacts, archive, front_key)
        except ArtifactError as error:
            if attempt == ATTEMPTS:
                raise BackupError(
                    f"{error}; {ATTEMPTS} attempts at a backup needed it or one like it: is this the var folder of "
                    "the server that works on this database?"
                ) from error
    raise AssertionError("the last attempt returns or raises")


def _written(engine: Engine, artifacts: Artifacts, archive: Path, front_key: str) -> Manifest:
    """One attempt: a snapshot of the database, the artifacts it refers to before they are pruned, then the dump."""
    with engine.connect() as connection, tarfile.open(archive, "w") as tar:
        connection = connection.execution_options(isolation_level="REPEATABLE READ")
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))  # the dump takes its time
        snapshot = connection.scalar(text("SELECT pg_export_snapshot()"))
        assert isinstance(snapshot, str)
        revisions, major = _revisions(connection), major_version(connection)
        if revisions is None:
            raise BackupError("there is no study in this database and nothing to back up")
        counted, referred = counts(connection), blobs_of(connection, front_key)
        for blob in referred:  # at once, and the newest trials first: their checkpoints are replaced time and again
            _add(tar, blob.member, artifacts.read(*blob))
        with programs_for(engine, major) as programs:
            digest = _add_dump(tar, programs, snapshot, foreign_tables(connection), archive.with_name(DUMP))
        manifest = Manifest(
            spikefront=version("spikefront"),
            created=datetime.now(UTC),
            postgres=major,
            revisions=revisions,
            studies=len(counted),
            trials=sum(count.trials for count in counted),
            dump_sha256=digest,
            artifacts=tuple(blob.member for blob in referred),
        )
        _add(tar, MANIFEST, manifest.model_dump_json(indent=1).encode())
    return manifest


def _add_dump(tar: tarfile.TarFile, programs: Programs, snapshot: str, foreign: list[str], file: Path) -> str:
    """SHA-256 of the dump that was added."""
    programs.dump(snapshot, foreign, file)
    with file.open("rb") as dump:
        digest = hashlib.file_digest(dump, "sha256").hexdigest()
        dump.seek(0)
        tar.addfile(_member(DUMP, file.stat().st_size), dump)
    file.unlink()
    return digest


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    tar.addfile(_member(name, len(data)), io.BytesIO(data))


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o600, int(datetime.now(UTC).timestamp())
    return member


# --- what a database holds -------------------------------------------------------------------------------------------


def counts(connection: Connection) -> list[Count]:
    """Every study in the database, the oldest first, also those that other Optuna clients made."""
    if connection.scalar(text("SELECT to_regclass('public.studies')")) is None:
        return []
    return [Count(row.name, row.trials) for row in connection.execute(_COUNTS)]


def blobs_of(connection: Connection, front_key: str) -> list[Blob]:
    """The artifacts that the database refers to."""
    if connection.scalar(text(f"SELECT to_regclass('{SCHEMA}.result')")) is None:
        return []
    return [Blob(*row) for row in connection.execute(_REFERRED, {"front": front_key})]


def _revisions(connection: Connection) -> Revisions | None:
    if connection.scalar(text(f"SELECT to_regclass('{SCHEMA}.{VERSION_TABLE}')")) is None:
        return None
    ours = connection.scalar(text(f"SELECT version_num FROM {SCHEMA}.{VERSION_TABLE}"))
    theirs = connection.scalar(text("SELECT version_num FROM public.alembic_version"))
    return Revisions(optuna=str(theirs), spikefront=str(ours))


# --- restoring -------------------------------------------------------------------------------------------------------


class Archive:
    """A backup that was checked: whole, every hash right, of revisions that this program knows.

    Attributes:
        manifest: What it holds.
    """

    def __init__(self, file: Path, tar: tarfile.TarFile, dump: Path) -> None:
        self._file, self._tar, self.dump = file, tar, dump
        self.manifest = self._read_manifest()
        self._check_revisions()
        self._check_members()
        for blob in self.manifest.blobs():
            self.bytes_of(blob)
        self._copy_dump()

    def bytes_of(self, blob: Blob) -> bytes:
        """The bytes of an artifact.

        Raises:
            BackupError: They do not hash to their name.
        """
        data = self._member(blob.member).read()
        if sha256(data) != blob.digest:
            raise self._torn(f"{blob.member} does not hash to its name")
        return data

    def _read_manifest(self) -> Manifest:
        try:
            return Manifest.model_validate_json(self._member(MANIFEST).read(MANIFEST_LIMIT_BYTES))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "JSON"
            raise BackupError(f"{self._file}: {MANIFEST}: {where}: {first['msg']}; not a backup of ours") from error

    def _check_revisions(self) -> None:
        revisions = self.manifest.revisions
        script = ScriptDirectory(str(Path(schema.__file__).parent / "migrations"))
        is_known = revisions.spikefront in {revision.revision for revision in script.walk_revisions()}
        if not is_known or revisions.optuna not in schema.OPTUNA_REVISIONS:
            raise BackupError(
                f"{self._file}: made by spikefront {self.manifest.spikefront}, whose tables are of revision "
                f"{revisions.spikefront} (Optuna's {revisions.optuna}), newer than this program knows; "
                "install a newer spikefront"
            )

    def _check_members(self) -> None:
        wanted = [*self.manifest.artifacts, DUMP, MANIFEST]
        if sorted(self._tar.getnames()) != sorted(wanted):
            raise self._torn("it does not hold the files that its manifest names")

    def _copy_dump(self) -> None:
        source, digest = self._member(DUMP), hashlib.sha256()
        with self.dump.open("wb") as target:
            while chunk := source.read(_CHUNK_BYTES):
                digest.update(chunk)
                target.write(chunk)
        if digest.hexdigest() != self.manifest.dump_sha256:
            raise self._torn(f"{DUMP} does not hash to what its manifest says")

    def _member(self, name: str) -> IO[bytes]:
        try:
            member = self._tar.extractfile(name)
        except KeyError:
            member = None
        if member is None:
            raise self._torn(f"it has no {name}")
        return member

    def _torn(self, what: str) -> BackupError:
        return BackupError(f"{self._file}: {what}: the backup is torn or altered; take another one")


@contextlib.contextmanager
def open_archive(file: Path, var: Path) -> Iterator[Archive]:
    """A backup, read to its end and checked; its dump lies in a folder under `var` while the block lasts.

    Raises:
        BackupError: It cannot be read, is torn or altered, or is of a newer program.
    """
    with contextlib.ExitStack() as stack:
        try:
            var.mkdir(parents=True, exist_ok=True)
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir=var, prefix="restore-"))
            tar = stack.enter_context(tarfile.open(file, "r:"))
            archive = Archive(file, tar, Path(folder) / DUMP)
        except tarfile.TarError as error:
            raise BackupError(f"{file}: not a backup, or a torn one: {error}") from error
        except OSError as error:
            raise BackupError(f"{error.filename or file}: {error.strerror or error}") from error
        yield archive


def restore(engine: Engine, artifacts: Artifacts, archive: Archive, *, force: bool, front_key: str) -> list[Count]:
    """Put a backup in the place of what the database holds: artifacts first, then the tables in one transaction.

    Args:
        engine: Of the database; nobody else may work on it.
        artifacts: Where the artifacts go; those that only the lost studies used are removed at the end.
        archive: Checked.
        force: Whether stored studies may be lost.
        front_key: Where in a result's details the digest of a hardware front stands.

    Returns:
        The studies that were lost, for which `force` is needed.

    Raises:
        BackupError: The database is in use, holds studies, or is too old for the dump; nothing was changed.
        ArtifactDiskError: The disk refuses an artifact; the database is as it was.
    """
    with engine.connect() as connection:
        lost, before = counts(connection), set(blobs_of(connection, front_key))
        others = connection.scalar(_OTHERS, {"name": CONNECT_ARGS["application_name"]})
        major = major_version(connection)
    if others:
        raise BackupError(f"{others} connections of spikefront are open on this database; stop its server first")
    if lost and not force:
        listed = ", ".join(f"{count.name} ({count.trials} trials)" for count in lost)
        raise BackupError(f"the database holds studies, which would be lost: {listed}; give --force, or an empty one")
    if major < archive.manifest.postgres:
        raise BackupError(
            f"the backup is of Postgres {archive.manifest.postgres}, the database of {major}; restore into "
            f"Postgres {archive.manifest.postgres} or newer"
        )
    with programs_for(engine, major) as programs:
        for blob in archive.manifest.blobs():
            artifacts.write(blob.trial_id, blob.fence, archive.bytes_of(blob), blob.digest)
        programs.restore(archive.dump)
    for blob in before.difference(archive.manifest.blobs()):
        artifacts.remove(*blob)
    return lost


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
