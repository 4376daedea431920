"""Workers that train in earnest and meet their fate at a given place: killed, put to sleep, or held up.

    with Fated(folder) as workers:
        workers.server = url, token
        workers.start(Fate("victim", "tiny", "after checkpoint", 3, signal.SIGKILL))
        assert workers.wait("victim") == -signal.SIGKILL

Each is a process of its own, forked from one that has loaded torch, so that it starts at once. What their server told
them is in side logs.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from service import wire
from service.errors import LeaseLost
from tests.support.chaos_worker import Witness
from tests.support.processes import prepare
from tests.support.sidelog import SideLog

ROOT = Path(__file__).parents[2]
Where = Literal["", "after checkpoint", "before checkpoint", "before complete"]


@dataclass(frozen=True)
class Fate:
    """Where something happens to a worker, and what.

    Attributes:
        name: The worker's.
        study: What it works for, and ends with; empty for whatever there is.
        where: At which call of the protocol; empty for an undisturbed life.
        epoch: Of the checkpoint; 0 where there is none.
        signal: Sent to itself there; 0 for none.
        gate: File for which it waits there, its lease being renewed meanwhile, unless it is told to end by SIGTERM;
            empty for none.
    """

    name: str
    study: str = ""
    where: Where = ""
    epoch: int = 0
    signal: int = 0
    gate: str = ""


class _Client(Witness):
    """Lets a fate come true at its place, and writes down what is refused."""

    fate: Fate

    def checkpoint(self, lease: wire.Lease, epoch: int, data: bytes, **more: Any) -> None:
        self._reach("before checkpoint", epoch)
        try:
            super().checkpoint(lease, epoch, data, **more)
        except LeaseLost:
            self.log.write("refused", call="checkpoint")
            raise
        self._reach("after checkpoint", epoch)

    def send(self, trial_id: int, ending: str, message: wire.Message, **more: Any) -> None:
        if ending == "complete":
            self._reach("before complete", 0)
        try:
            super().send(trial_id, ending, message, **more)
        except LeaseLost:
            self.log.write("refused", call=ending)
            raise

    def _reach(self, where: Where, epoch: int) -> None:
        if (where, epoch) != (self.fate.where, self.fate.epoch):
            return
        self.log.write("reached")
        if self.fate.signal:
            os.kill(os.getpid(), self.fate.signal)
        while self.fate.gate and not Path(self.fate.gate).exists() and not self.in_hurry():
            time.sleep(0.02)


class Fated:
    """The process that forks workers, and what it is told.

    Attributes:
        server: URL of the study server, and a token for it; to be set before the first `start`.
        told: Folder of the side logs.

    Args:
        folder: For side logs, spools and the common log.
    """

    def __init__(self, folder: Path) -> None:
        self.server = "", ""
        self.told = folder / "told"
        self.told.mkdir(parents=True)
        self._pids: dict[str, int] = {}
        self.log = folder / "workers.log"
        with self.log.open("wb") as errors:
            self._parent = subprocess.Popen(
                [sys.executable, "-m", "tests.support.fated_worker", str(folder)],
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                preexec_fn=prepare,
            )

    def start(self, fate: Fate) -> int:
        """Start a worker; its process id."""
        self._pids[fate.name] = self._ask("start", server=self.server, fate=asdict(fate))
        return self._pids[fate.name]

    def wait(self, name: str) -> int:
        """Wait for a worker's end; its exit code, negative for a signal."""
        return self._ask("wait", pid=self._pids.pop(name))

    def send(self, number: signal.Signals, name: str) -> None:
        """Send a signal, such as SIGCONT."""
        os.kill(self._pids[name], number)

    def _ask(self, word: str, **more: Any) -> int:
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(json.dumps({"word": word, **more}) + "\n")
        self._parent.stdin.flush()
        answer = self._parent.stdout.readline()
        assert answer, self.log.read_text()
        return int(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Kill whoever lives."""
        for pid in self._pids.values():
            os.kill(pid, signal.SIGKILL)
        self._parent.communicate()


def main(arguments: Sequence[str]) -> None:
    """Fork a worker for each `start`, wait for one at each `wait`, end with the input."""
    from service import log

    folder = Path(arguments[0])
    log.set_up(logging.INFO)
    _load_everything(folder)
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["word"] == "wait":
            print(os.waitstatus_to_exitcode(os.waitpid(asked["pid"], 0)[1]), flush=True)
            continue
        pid = os.fork()
        if not pid:
            _live(Fate(**asked["fate"]), asked["server"], folder)
        print(pid, flush=True)


def _load_everything(folder: Path) -> None:
    """Load, once for all that are forked, what a worker loads when it first trains."""
    from objectives.data import load_dataset
    from objectives.process import settle
    from objectives.score import score
    from objectives.train import Training
    from tests.support.studies import make_study

    settle()
    study = make_study()
    data = load_dataset(study.dataset, folder / "data")
    settings = study.resolve(study.baseline_params())
    training, seen = Training(settings, 0, data), data.validation
    training.run_epoch(lambda: False)
    score(settings, training.network, seen.images, seen.labels, seed=0, baseline=None)


def _live(fate: Fate, server: tuple[str, str], folder: Path) -> None:
    """Be a worker; never returns."""
    from service.worker import Place, Worker

    prepare()
    code = 1
    try:
        _Client.log, _Client.fate = SideLog(folder / "told", fate.name), fate
        client = _Client(*server)
        worker = Worker(client, Place(fate.name, folder / "data", folder / "spool" / fate.name), fate.study or None)
        client.in_hurry = worker.is_stopping
        signal.signal(signal.SIGTERM, lambda *_: worker.stop())
        worker.run()
        code = 0
    except BaseException:
        logging.getLogger("service").exception("%s died", fate.name)
    finally:
        os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
