"""Which lease a worker holds, noted beside its spool: after kill -9 the next worker of that name gives it back at once.

The note is locked for as long as its process lives, so a lock that is free says that nobody works on that lease. It is
only a short cut: without the note, or with a torn one, the lease expires.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from service import wire

log = logging.getLogger(__name__)

NOTE = "held.lock"


class _Note(wire.Message):
    """A lease by its trial and fence."""

    trial_id: int
    fence: int


class Holding:
    """The note of one worker, from `with` to its end.

    Attributes:
        left: Trial and fence that an earlier process of this name held when it was killed; None when there is nothing.

    Args:
        folder: One worker's own; made, and removed when nothing else lies in it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = -1
        self.left: tuple[int, int] | None = None

    def __enter__(self) -> Self:
        """Lock the note and read what was left; where that is impossible nothing is noted."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = os.open(self._folder / NOTE, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            log.warning("%s: the lease in hand is not noted: %s", self._folder, error, extra={"action": "note"})
            return self
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # another worker of this name lives: the note is its own
            os.close(file)
            return self
        self._file = file
        with contextlib.suppress(ValidationError):
            note = _Note.model_validate_json(os.pread(file, 1000, 0))
            self.left = note.trial_id, note.fence
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Remove the note."""
        if self._file < 0:
            return
        with contextlib.suppress(OSError):  # the folder may hold results
            (self._folder / NOTE).unlink(missing_ok=True)
            self._folder.rmdir()
        os.close(self._file)

    def note(self, lease: wire.Lease) -> None:
        """Write down what is held from now on."""
        self._write(_Note(trial_id=lease.trial_id, fence=lease.fence).model_dump_json().encode())

    def clear(self) -> None:
        """Nothing is held any more."""
        self.left = None
        self._write(b"")

    def _write(self, content: bytes) -> None:
        if self._file < 0:
            return
        with contextlib.suppress(OSError):  # a full disk: the lease will expire
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, content, 0)
