"""Bytes beside the database: checkpoints and trained weights, in a folder, by their SHA-256."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from pathlib import Path

from storage.errors import ArtifactDiskError, ArtifactError

_HEX = frozenset("0123456789abcdef")


def sha256(data: bytes) -> str:
    """SHA-256 of `data`, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


class Artifacts:
    """A folder of files that are written whole or not at all, one folder a trial."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, trial_id: int, fence: int, digest: str) -> Path:
        """Where the bytes of one attempt at a trial lie; the fence keeps a late writer out of its successor's way."""
        if len(digest) != 64 or not set(digest) <= _HEX:
            raise ArtifactError("a digest is 64 hexadecimal digits (SHA-256)")
        return self._folder / str(trial_id) / f"{fence}-{digest}.safetensors"

    def write(self, trial_id: int, fence: int, data: bytes, digest: str) -> None:
        """Store bytes durably: temporary file, fsync, rename, fsync of the folder.

        Raises:
            ArtifactError: The bytes do not hash to `digest`.
            ArtifactDiskError: The disk refuses them.
        """
        if sha256(data) != digest:
            raise ArtifactError("the bytes do not hash to the digest sent with them; send them again")
        target = self.path(trial_id, fence, digest)
        temporary = target.with_suffix(f".{secrets.token_hex(8)}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
            _sync_folder(target.parent)
        except OSError as error:
            with contextlib.suppress(OSError):  # the folder itself may be what is wrong
                temporary.unlink(missing_ok=True)
            raise ArtifactDiskError(
                f"{target.parent}: cannot be written: {error.strerror}; free space or mend its rights"
            ) from error

    def read(self, trial_id: int, fence: int, digest: str) -> bytes:
        """The bytes of an artifact.

        Raises:
            ArtifactError: The file is missing, or does not hash to `digest` any more.
        """
        target = self.path(trial_id, fence, digest)
        name = target.relative_to(self._folder)  # a reader may be told, of whom the server's folders are no business
        try:
            data = target.read_bytes()
        except OSError as error:
            raise ArtifactError(f"{name}: cannot be read: {error.strerror}") from error
        if sha256(data) != digest:
            raise ArtifactError(f"{name}: does not hash to its name; it was torn or altered")
        return data

    def remove(self, trial_id: int, fence: int, digest: str) -> None:
        """Remove an artifact that nothing refers to any more."""
        self.path(trial_id, fence, digest).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
