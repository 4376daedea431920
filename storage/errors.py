"""Errors of the storage package.

StorageError
├── DatabaseError            the database cannot be reached
│   └── DatabaseUrlError     the database URL is wrong (a mistake of the user)
├── EmbeddedError            the embedded Postgres cannot be run
├── SchemaError              the tables are of an unknown revision
├── BackupError              a backup cannot be written, read or restored
├── TrialFinished            a trial that is to be ended is not running any more
└── ArtifactError            an artifact is missing, torn or altered
    └── ArtifactDiskError    the disk refuses an artifact
"""

from __future__ import annotations


class StorageError(Exception):
    """Base of every error that this package raises on purpose."""


class DatabaseError(StorageError):
    """The database cannot be reached."""


class DatabaseUrlError(DatabaseError, ValueError):
    """The database URL is not one that spikefront can use."""


class EmbeddedError(StorageError):
    """The embedded Postgres cannot be set up, started or reached."""


class SchemaError(StorageError):
    """The database's tables are of a revision this program does not know."""


class BackupError(StorageError):
    """A backup cannot be written, is torn or altered, or does not fit what it is to be restored into."""


class TrialFinished(StorageError):
    """A trial that is to be ended is not running any more."""


class ArtifactError(StorageError):
    """An artifact is missing, torn, altered, or not what its digest says."""


class ArtifactDiskError(ArtifactError):
    """The disk refuses an artifact."""
