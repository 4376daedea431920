"""Real processes of `spikefront` for tests: started in a session of their own, gone after the test whatever happens.

    with Place(tmp_path) as place:
        run = place.start("run", str(file), "--workers", "2")
        assert run.wait() == 0

A process dies with the test run (PR_SET_PDEATHSIG), a local worker with its server (`--parent`), and the embedded
Postgres with its last user. `audit` reads a study by SQL and by Optuna and says whether every trial is accounted for.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import optuna
import psutil  # type: ignore[import-untyped]
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import text

from storage import embedded_watch as watch
from storage.engine import create_engine
from tests.support.postgres import eventually, is_stopped

_PR_SET_PDEATHSIG = 1  # Source: linux/prctl.h
_libc = ctypes.CDLL(None, use_errno=True)

FULL = Path("/dev/full")
"""A file on a full disk: every write to it fails."""


def prepare() -> None:
    """Runs between fork and exec: the kernel kills this process when the one that started it ends, and Ctrl-C works.

    A shell starts what it puts in the background with SIGINT ignored, and that is inherited.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass
class Started:
    """A running command, with what it writes in two files."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait(self, limit_s: float = 90.0) -> int:
        """Exit code."""
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"not ended after {limit_s:g} s:\n{self.stderr()}") from None

    def interrupt(self, limit_s: float = 40.0) -> int:
        """Exit code after SIGINT, as Ctrl-C sends it."""
        self.process.send_signal(signal.SIGINT)
        return self.wait(limit_s)

    def kill(self) -> None:
        """End at once, without any chance to tidy up."""
        self.process.kill()
        self.process.wait()

    def stdout(self) -> str:
        return _read(self.out)

    def stderr(self) -> str:
        return _read(self.err)


def _read(path: Path) -> str:
    """What was written to a file; nothing of a device."""
    return path.read_text(errors="replace") if path.is_file() else ""


@dataclass
class Place:
    """A var folder and everything that was started on it.

    Attributes:
        var: The folder.
        database: URL of a database; None for the embedded one in the folder.
        settings: Further variables without their prefix, such as `{"LEASE_S": "2"}`.
    """

    var: Path
    database: str | None = None
    settings: dict[str, str] = field(default_factory=dict)
    _started: list[Started] = field(default_factory=list)

    def start(self, *words: str, out: Path | None = None, err: Path | None = None, **settings: str) -> Started:
        """Start `spikefront WORDS` with this place's variables and those in `settings`; it writes to two new files.

        `out` and `err` stand in for them, such as `FULL`.
        """
        self.var.mkdir(parents=True, exist_ok=True)
        out = out or self.var / f"{len(self._started)}.out"
        err = err or self.var / f"{len(self._started)}.err"
        with out.open("wb") as output, err.open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "service.cli", *words],
                env=self.environment(**settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
                preexec_fn=prepare,
            )
        self._started.append(Started(process, out, err))
        return self._started[-1]

    def run(self, *words: str, out: Path | None = None, err: Path | None = None, **settings: str) -> Started:
        """Start, and wait for the end."""
        started = self.start(*words, out=out, err=err, **settings)
        started.wait()
        return started

    def environment(self, **settings: str) -> dict[str, str]:
        """The variables of a process of this place."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SPIKEFRONT_")}
        own = {"VAR": str(self.var), **self.settings, **settings}
        if self.database is not None:
            own.setdefault("DATABASE_URL", self.database)
        return clean | {"OMP_NUM_THREADS": "1"} | {f"SPIKEFRONT_{name}": value for name, value in own.items()}

    def processes(self, word: str = "") -> list[psutil.Process]:
        """Live processes of ours with this var folder and `word` on the command line, oldest first."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                is_ours = process.environ().get("SPIKEFRONT_VAR") == str(self.var)
                if is_ours and process.status() != psutil.STATUS_ZOMBIE and (not word or word in process.cmdline()):
                    found.append(process)
        return sorted(found, key=lambda process: process.create_time())

    def workers(self) -> list[psutil.Process]:
        """Live workers of this place."""
        return self.processes("worker")

    def postgres(self) -> list[int]:
        """Every process of the embedded database and its watchdog."""
        folder = self.var / "postgres"
        if not (folder / "data").exists():
            return []
        watchdogs = [process.pid for process in psutil.process_iter() if _is_watchdog(process, folder)]
        return watch.processes(folder / "data") + watchdogs

    def url(self) -> str:
        """URL of the running server of this place."""
        note = self.var / "server.json"
        eventually(note.exists, f"{note} says where the server is", 60.0)
        return str(json.loads(note.read_text())["url"])

    def database_url(self) -> str:
        """URL of this place's database, which runs."""
        if self.database is not None:
            return self.database
        folder = self.var / "postgres"
        running = watch.postmaster(folder / "data")
        assert running is not None
        assert running.port is not None
        password = (folder / "password").read_text().strip()
        return f"postgresql+psycopg2://spikefront:{password}@127.0.0.1:{running.port}/spikefront"

    def token(self) -> str:
        """The admin's token of this place's server."""
        return (self.var / "token").read_text().strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End everything; when the test went well, all but what was started here has to end by itself."""
        for started in self._started:
            if started.process.poll() is None:
                started.kill()
        try:
            if error is None:
                eventually(lambda: not self.processes(), f"no process of {self.var} is left", 20.0)
        finally:
            self._kill_rest()

    def _kill_rest(self) -> None:
        for pid in [process.pid for process in self.processes()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if (self.var / "postgres").exists():
            eventually(lambda: is_stopped(self.var / "postgres"), "the embedded Postgres has ended")


def _is_watchdog(process: psutil.Process, folder: Path) -> bool:
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return str(watch.__file__) in words and str(folder) in words


def scalar(url: str, statement: str, **values: Any) -> Any:
    """First column of the first row of a query."""
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            return connection.execute(text(statement), values).scalar()
    finally:
        engine.dispose()


def wait_for(url: str, statement: str, holds: Callable[[Any], bool], what: str, limit_s: float = 60.0) -> None:
    """Wait until the answer to a query is as wanted."""
    engine = create_engine(url)

    def asked() -> bool:
        with engine.connect() as connection:
            return holds(connection.execute(text(statement)).scalar())

    try:
        eventually(asked, what, limit_s)
    finally:
        engine.dispose()


_ROWS = """
SELECT t.number, t.state::text, l.ended_at IS NOT NULL AS ended, l.fence,
       (SELECT count(*) FROM public.trial_values v WHERE v.trial_id = t.trial_id) AS "values",
       (SELECT count(*) FROM public.trial_params p WHERE p.trial_id = t.trial_id) AS params,
       (SELECT count(*) FROM spikefront.result r WHERE r.trial_id = t.trial_id) AS results
FROM public.trials t JOIN spikefront.study s USING (study_id) LEFT JOIN spikefront.lease l USING (trial_id)
WHERE s.name = :name ORDER BY t.number
"""


def audit(url: str, name: str, asked: int) -> list[FrozenTrial]:
    """Check that a finished study has exactly `asked` trials, each ended once and whole; returns Optuna's view."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            rows = connection.execute(text(_ROWS), {"name": name}).all()
            objectives = connection.execute(
                text("SELECT count(*) FROM public.study_directions d JOIN spikefront.study s USING (study_id) "
                     "WHERE s.name = :name"), {"name": name},
            ).scalar()  # fmt: skip
    finally:
        engine.dispose()
    assert [row.number for row in rows] == list(range(asked))
    assert {row.state for row in rows} <= {"COMPLETE", "FAIL", "PRUNED"}
    assert all(row.ended for row in rows), rows
    for row in rows:
        expected = (objectives, 1) if row.state == "COMPLETE" else (0, 0)
        assert (row.values, row.results) == expected, row
        assert row.params > 0
    trials = optuna.load_study(study_name=name, storage=url).get_trials()
    assert [trial.number for trial in trials] == list(range(asked))
    assert [trial.state.name for trial in trials] == [row.state for row in rows]
    assert all(len(trial.values) == objectives for trial in trials if trial.state is TrialState.COMPLETE)
    return trials
