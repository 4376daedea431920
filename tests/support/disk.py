"""A small disk of its own that a test can fill: a tmpfs in a mount namespace, which processes join when they start.

    with Disk(folder, size="8m") as disk:
        subprocess.Popen(command, preexec_fn=disk.join)     # sees `folder` on the small disk
        disk.fill()

No privilege is needed where user namespaces are allowed. Others, tests too, see its files under `seen(folder)`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.processes import prepare

_libc = ctypes.CDLL(None, use_errno=True)
_FILLER = "filler"
_CHUNK = b"\0" * 65_536
_POSTGRES = """
import sys
from pathlib import Path
from storage.embedded import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1])) as server:
    print(server.start(), flush=True)
    sys.stdin.read()
"""


class Disk:
    """A tmpfs at `folder`, for the processes that join."""

    def __init__(self, folder: Path, size: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        script = 'mount -t tmpfs -o "size=$1,mode=0755" tmpfs "$2" && echo mounted && exec cat'
        self._holder = subprocess.Popen(
            ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", size, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=prepare,
        )

    def __enter__(self) -> Self:
        """Wait until it is there."""
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"mounted\n", "no mount in a user namespace on this machine"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Let go; the files vanish with the last process that joined."""
        self._holder.kill()
        self._holder.communicate()

    def join(self) -> None:
        """Runs between fork and exec: the process sees the disk from now on."""
        here = os.getcwd()
        for name in ("user", "mnt"):
            with open(f"/proc/{self._holder.pid}/ns/{name}", "rb") as namespace:
                if _libc.setns(namespace.fileno(), 0) != 0:
                    raise OSError(ctypes.get_errno(), f"cannot join the {name} namespace of the small disk")
        os.chdir(here)
        prepare()  # again: joining forgets who we die with

    def seen(self, path: Path) -> Path:
        """Where this process sees what lies at `path` on the disk."""
        return Path(f"/proc/{self._holder.pid}/root{path}")

    def fill(self) -> None:
        """Leave no block free; again and again for a while, since others free some meanwhile."""
        with open(self.seen(self.folder) / _FILLER, "ab", buffering=0) as filler:
            try:
                while True:
                    filler.write(_CHUNK)
            except OSError:
                return

    def free(self) -> None:
        """Take back what `fill` wrote."""
        (self.seen(self.folder) / _FILLER).unlink(missing_ok=True)


@contextlib.contextmanager
def postgres_on(disk: Disk) -> Iterator[str]:
    """SQLAlchemy URL of an embedded Postgres whose files lie on the disk."""
    process = subprocess.Popen(
        [sys.executable, "-c", _POSTGRES, str(disk.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=disk.join,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.communicate()  # the watchdog stops the server behind its only user
