"""Watchdog of the embedded Postgres: stops the server once its last user is gone.

Run as a detached script, one per database folder. Users hold a shared `flock` on `users.lock`; the
watchdog blocks on the exclusive one, so the kernel wakes it exactly when the last user has closed the
file or has died, by whatever signal. It imports the standard library only, so it is small and always runs.

The files of a database folder, all of mode 0600:

    users.lock    shared: one holder per user; exclusive: the watchdog while it stops the server
    start.lock    exclusive: whoever starts the server
    watch.lock    exclusive: the watchdog as long as it lives (inherited from the process that started it)
    server.lock   exclusive: inherited by every process of the server, so it is free when all are gone
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PATIENCE_S = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0))  # fast shutdown, then an immediate one
KILL_PATIENCE_S = 10.0


class LockFiles(NamedTuple):
    """Paths of the four lock files of one database folder."""

    users: Path
    start: Path
    watch: Path
    server: Path

    @classmethod
    def of(cls, folder: Path) -> LockFiles:
        """Lock files of `folder`; none of them is created here."""
        return cls(*(folder / f"{name}.lock" for name in cls._fields))


class Postmaster(NamedTuple):
    """The main process of a running server; no port while the server has not written it yet."""

    pid: int
    port: int | None


def open_lock(path: Path) -> int:
    """Descriptor of a lock file, created when missing, closed in child processes."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def lock(path: Path, operation: int) -> int:
    """Descriptor that holds a lock on `path`; closing its last copy releases the lock.

    Args:
        path: Lock file, created when missing.
        operation: A `fcntl.LOCK_*` value; waits unless it contains `LOCK_NB`.

    Raises:
        BlockingIOError: `LOCK_NB` was given and someone else holds the lock.
    """
    descriptor = open_lock(path)
    try:
        fcntl.flock(descriptor, operation)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def try_lock(path: Path) -> int | None:
    """Descriptor that holds the exclusive lock on `path`, or None when someone else holds one."""
    try:
        return lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock on `path`."""
    descriptor = try_lock(path)
    if descriptor is None:
        return False
    os.close(descriptor)
    return True


def ticks(limit_s: float, pause_s: float = 0.02) -> Iterator[None]:
    """Yield at once and then every `pause_s` seconds until `limit_s` seconds have passed."""
    deadline = time.monotonic() + limit_s
    yield
    while time.monotonic() < deadline:
        time.sleep(pause_s)
        yield


def cluster_name(data: Path) -> str:
    """Name that stands in the title of every child process of the server on the folder `data`."""
    status = data.stat()
    return f"spikefront-{status.st_dev:x}-{status.st_ino:x}"


def _is_ours(pid: int, data: Path) -> bool:
    """Whether the process `pid` is a live part of the server on `data`, by its command line.

    The main process shows its arguments, its children a title with the cluster's name, a dead one nothing.
    """
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        if words[0].startswith("postgres: "):
            return words[0].startswith(f"postgres: {cluster_name(data)}: ")
        return Path(words[0]).name == "postgres" and str(data) in words
    except (FileNotFoundError, ProcessLookupError):
        return False


def processes(data: Path) -> list[int]:
    """Ids of all live processes of the server on `data`, also children that outlived a postmaster."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and _is_ours(int(name), data)]


def postmaster(data: Path) -> Postmaster | None:
    """The main process of the server on `data`, or None.

    None also when `postmaster.pid` is missing, cut short, or names a process that is not this server.
    """
    try:
        lines = (data / "postmaster.pid").read_text(errors="replace").splitlines()
        pid = int(lines[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None
    if not _is_ours(pid, data):
        return None
    port = lines[3].strip() if len(lines) > 3 else ""
    return Postmaster(pid, int(port) if port.isdigit() else None)


def stop_server(folder: Path) -> None:
    """Stop the server of `folder` and wait for its last process; nothing happens when none runs."""
    data, server = folder / "data", LockFiles.of(folder).server
    for number, patience_s in PATIENCE_S:
        told = False
        for _ in ticks(patience_s):
            if is_free(server):
                return
            if not told and (running := postmaster(data)) is not None:
                _send(running.pid, number)
                told = True
    kill_processes(data)
    for _ in ticks(KILL_PATIENCE_S):
        if is_free(server):
            return


def kill_processes(data: Path) -> None:
    """Kill every process of the server on `data`; the next start recovers what was committed."""
    for pid in processes(data):
        _send(pid, signal.SIGKILL)


def _send(pid: int, number: signal.Signals) -> None:
    """Signal `pid` if the kernel too calls it postgres: a second look, whatever its command line claims."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        if Path(f"/proc/{pid}/comm").read_text().strip() == "postgres":
            os.kill(pid, number)


def main(folder: Path, watch_lock: int) -> None:
    """Wait for the last user of `folder`, then stop its server.

    A user that arrives meanwhile waits for its shared lock. It must find the watchdog's lock free
    then, to start a new watchdog: hence the order of the two last lines.
    """
    for number in (
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGINT,
    ):  # its users decide, not a shutdown or Ctrl-C
        signal.signal(number, signal.SIG_IGN)
    users = lock(LockFiles.of(folder).users, fcntl.LOCK_EX)
    stop_server(folder)
    os.close(watch_lock)
    os.close(users)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
