"""A study server, its database and workers as processes, with a proxy on each link: the place where faults happen.

    with Scene(folder, postgres, url) as scene:
        scene.begin()
        scene.wait_for_trials(3)
        scene.kill("w0")
        scene.settle()
        assert scene.audit() == []

A process that the scene did not end and that ended badly is written down and replaced, as a supervisor would; so is
one that the scene killed. The audit gets the list.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil  # type: ignore[import-untyped]
from sqlalchemy import Engine, make_url, text

from service.client import Client
from storage import embedded_watch as watch
from storage.embedded import EmbeddedPostgres
from storage.engine import create_engine
from tests.support import chain
from tests.support.audit import Violation, audit
from tests.support.disk import Disk
from tests.support.ports import free_port
from tests.support.postgres import eventually
from tests.support.processes import Started, prepare
from tests.support.proxy import Proxy
from tests.support.studies import study_text

ROOT = Path(__file__).parents[2]
STUDY = "tiny"
LEASE_S = 2.0
SETTLE_S = 90.0
SEED = int(os.environ.get("CHAOS_SEED", "1"))
"""Draws victims, moments and sequences of faults."""
STATE = "SELECT state FROM spikefront.study"
COMPLETE = "SELECT count(*) FROM public.trials WHERE state = 'COMPLETE'"


@dataclass
class Member:
    """One process of the scene, through all its lives."""

    name: str
    start: Callable[[], Started]
    started: Started
    is_meant: bool = False  # this life is to end by our hand
    is_wanted: bool = True  # it is to live on, in another life if need be


@dataclass
class Scene:
    """Everything of one study under faults.

    Attributes:
        folder: Empty, for all files.
        postgres: The database's server, to be stopped and started; None where it runs elsewhere.
        url: URL of a database with our tables in it.
        asked: Trials of the study.
        workers: How many at the beginning.
        stopping: Method by which trials are stopped early.
        logs: Folder in which workers and server write their logs; None for one in `folder`.
        server_disk, worker_disk: Small disks that the server or the workers see.
        met: How often a fault met something that lived; `harm` adds what the links suffered.
    """

    folder: Path
    postgres: EmbeddedPostgres | None
    url: str
    asked: int = 24
    workers: int = 3
    stopping: str = "none"
    logs: Path | None = None
    server_disk: Disk | None = None
    worker_disk: Disk | None = None
    random: random.Random = field(default_factory=lambda: random.Random(SEED))
    members: dict[str, Member] = field(default_factory=dict)
    died: list[str] = field(default_factory=list)
    met: int = 0
    _open: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _lives: int = 0

    def __enter__(self) -> Self:
        """Start the proxies; no process yet."""
        address = make_url(self.url)
        assert address.host is not None
        assert address.port is not None
        self.port = free_port()
        for name in ("var", "workers", "told", "logs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.to_server = self._open.enter_context(Proxy(("127.0.0.1", self.port)))
        self.to_database = self._open.enter_context(Proxy((address.host, address.port)))
        self.engine: Engine = create_engine(self.url)
        self._open.callback(self.engine.dispose)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End every process."""
        for member in self.members.values():
            end(member.started)
        self._open.close()

    # --- what runs ---------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start server, study and workers."""
        self._add("server", lambda: self._serve(self.port))
        self.wait_for_server()
        client = Client(f"http://127.0.0.1:{self.port}", self.token())
        client.start(study(self.asked, self.stopping), "chaos.yaml")
        client.close()
        for number in range(self.workers):
            self.work(f"w{number}")

    def work(self, name: str, label: str = "", through: int | None = None) -> None:
        """Start a worker called `name`; `label` tells several of one name apart, `through` is a port."""
        self._add(label or name, lambda: self._work(name, through or self.to_server.port))

    def serve_too(self) -> int:
        """Start a second server on the same folder and database; returns its port."""
        (self.folder / "var" / "server.json").unlink()
        port = free_port()
        self._add("server-2", lambda: self._serve(port))
        eventually((self.folder / "var" / "server.json").exists, "the second server answers", 60.0)
        return port

    def names(self) -> list[str]:
        """Live workers."""
        members = [member for name, member in self.members.items() if not name.startswith("server")]
        return [member.name for member in members if member.started.process.poll() is None]

    def kill(self, *names: str, again: bool = True) -> None:
        """kill -9; `tend` starts them again if wanted."""
        for name in names:
            self.members[name].is_meant, self.members[name].is_wanted = True, again
            self.members[name].started.process.kill()
        for name in names:
            self.met += self.members[name].started.process.wait() == -signal.SIGKILL

    def send(self, number: signal.Signals, *names: str) -> None:
        """Send a signal to each that lives, such as SIGSTOP; returns when those that are to stop have stopped."""
        for name in names:
            process = self.members[name].started.process
            self.met += process.poll() is None
            process.send_signal(number)
            if number == signal.SIGSTOP:
                eventually(partial(_has_stopped, process.pid), f"{name} has stopped")

    @property
    def harm(self) -> int:
        """How often faults have met something so far: it grows with each that was one."""
        return self.met + self.to_server.harm + self.to_database.harm

    def tend(self) -> None:
        """Write down who died by itself; start again whoever is to live."""
        for member in self.members.values():
            code = member.started.process.poll()
            if code is None or (code == 0 and not member.name.startswith("server")):
                continue
            if not member.is_meant:
                self.died.append(f"{member.name} ended with {code}: {last_words(member.started)}")
            if member.is_wanted or not member.is_meant:
                self.revive(member.name)

    def revive(self, name: str) -> None:
        """Another life for one that ended."""
        member = self.members[name]
        member.started, member.is_meant, member.is_wanted = member.start(), False, True

    def wait_for_server(self) -> None:
        """Wait until the server takes requests."""
        note = self.folder / "var" / "server.json"
        server = self.members["server"].started
        eventually(lambda: note.exists() or server.process.poll() is not None, "the server answers", 60.0)
        assert note.exists(), last_words(server)

    # --- what is stored ----------------------------------------------------------------------------------------

    def scalar(self, statement: str) -> object:
        """Ask the database, past the proxies."""
        with self.engine.connect() as connection:
            return connection.execute(text(statement)).scalar()

    def wait_for_trials(self, count: int) -> None:
        """Wait until so many trials are complete."""
        self.wait(lambda: int(str(self.scalar(COMPLETE))) >= count, f"{count} trials are complete")

    def wait(self, condition: Callable[[], bool], what: str, limit_s: float = 60.0) -> None:
        """Wait and tend meanwhile."""

        def asked() -> bool:
            self.tend()
            return condition()

        eventually(asked, what, limit_s)

    def pause(self, seconds: float) -> None:
        """Let time pass, and tend."""
        for _ in watch.ticks(seconds, 0.1):
            self.tend()

    def settle(self, limit_s: float = SETTLE_S) -> None:
        """Heal every link, and wait until the study is complete and its workers have left."""
        self.to_server.heal()
        self.to_database.heal()
        with contextlib.suppress(AssertionError):  # the audit says what is missing
            self.wait(lambda: self.scalar(STATE) == "complete", "the study is complete", limit_s)
            self.wait(lambda: not self.names(), "the workers have left", 30.0)
        for name in self.names():
            self.died.append(f"{name} does not leave: {last_words(self.members[name].started)}")

    def audit(self) -> list[Violation]:
        """What the audit finds."""
        artifacts = self.folder / "var" / "artifacts"
        seen = artifacts if self.server_disk is None else self.server_disk.seen(artifacts)
        return audit(self.url, STUDY, self.asked, self.folder / "told", seen, self.died)

    def log_of(self, name: str) -> str:
        """What a process logged in its present life."""
        return self.members[name].started.stderr()

    def token(self) -> str:
        """The admin's."""
        return (self.folder / "var" / "token").read_text().strip()

    def clock(self, name: str) -> Path:
        """File with the seconds by which a worker's clock is wrong."""
        return self.folder / "workers" / f"{name}.clock"

    # --- the database's server ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def database_down(self, number: signal.Signals) -> Iterator[None]:
        """While the block lasts Postgres is ended: SIGINT fast, SIGQUIT immediate, SIGKILL as it says."""
        assert self.postgres is not None
        running = watch.postmaster(self.postgres.data)
        assert running is not None
        os.kill(running.pid, number)
        locks = watch.LockFiles.of(self.postgres.folder)
        eventually(lambda: watch.is_free(locks.server), "Postgres has ended", 60.0)
        self.met += 1
        try:
            yield
        finally:
            self.postgres.start()

    # --- starting ----------------------------------------------------------------------------------------------

    def _add(self, name: str, start: Callable[[], Started]) -> None:
        self.members[name] = Member(name, start, start())

    def _serve(self, port: int) -> Started:
        through = make_url(self.url).set(host="127.0.0.1", port=self.to_database.port)
        settings = {
            "VAR": str(self.folder / "var"),
            "DATABASE_URL": through.render_as_string(hide_password=False),
            "LEASE_S": f"{LEASE_S:g}",
            "CHECKPOINT_S": "0",
        }
        (self.folder / "var" / "server.json").unlink(missing_ok=True)
        return self._start(["-m", "service.cli", "serve", "--port", str(port)], settings, self.server_disk)

    def _work(self, name: str, port: int) -> Started:
        command = ["-m", "tests.support.chaos_worker", "worker", "--study", STUDY, "--name", name]
        settings = {
            "VAR": str(self.folder / "workers"),
            "SERVER": f"http://127.0.0.1:{port}",
            "TOKEN": self.token(),
        }
        own = {"CHAOS_LOG": str(self.folder / "told"), "CHAOS_CLOCK": str(self.clock(name))}
        return self._start(command, settings, self.worker_disk, **own)

    def _start(self, command: list[str], settings: dict[str, str], disk: Disk | None, **more: str) -> Started:
        self._lives += 1
        path = (self.logs or self.folder / "logs") / f"{self._lives:03}.log"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SPIKEFRONT_")}
        with path.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env={**clean, "OMP_NUM_THREADS": "1", **{f"SPIKEFRONT_{key}": word for key, word in settings.items()}}
                | more,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=prepare if disk is None else disk.join,
            )
        return Started(process, path, path)


def study(asked: int, stopping: str) -> str:
    """The study file: four steps a trial."""
    fields = {
        "budget": {"trials": asked},
        "train": {"epochs": chain.STEPS, "batch": 32, "lr": 5.0e-3},
        "sampler": {"name": "random", "seed": 1},
        "stopping": {"name": stopping, "spare": 4},
    }
    return study_text(STUDY, **fields)


def _has_stopped(pid: int) -> bool:
    """Whether a process is stopped, or has ended."""
    try:
        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def end(started: Started) -> None:
    """kill -9, also of what is stopped."""
    if started.process.poll() is None:
        started.process.kill()
    started.process.wait()


def last_words(started: Started) -> str:
    """The end of its log."""
    lines = started.stderr().strip().splitlines() if started.err.is_file() else []
    return " | ".join(lines[-3:]) or "it said nothing"
