"""Local workers: started as processes of their own, started again when they die, ended with their server."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from service.errors import RunFailed

log = logging.getLogger(__name__)

QUICK_DEATH_S = 20.0
MAX_QUICK_DEATHS = 4
MISTAKE = 2  # exit code of a worker that was started wrongly: it is not started again


@dataclass
class _Member:
    number: int
    process: subprocess.Popen[bytes]
    started: float
    quick_deaths: int = 0


@dataclass
class Crew:
    """The local workers of one study.

    Attributes:
        url: Of the study server.
        token: What the workers log in with; passed in their environment, never on a command line.
        study: Name of the study.
        size: How many workers.
        var: Folder for their logs and spools.
    """

    url: str
    token: str
    study: str
    size: int
    var: Path
    _members: list[_Member] = field(default_factory=list)

    def start(self) -> None:
        """Start the workers."""
        for number in range(self.size):
            self._members.append(_Member(number, self._spawn(number), time.monotonic()))

    def tend(self) -> int:
        """Start again whoever died; returns how many are at work.

        Raises:
            RunFailed: A worker keeps dying, or was refused.
        """
        for member in self._members:
            code = member.process.poll()
            if code is None or code == 0:
                continue
            if code == MISTAKE:
                raise RunFailed(f"a worker was refused: {self._last_words(member.number)}")
            is_quick = time.monotonic() - member.started < QUICK_DEATH_S
            member.quick_deaths = member.quick_deaths + 1 if is_quick else 0
            if member.quick_deaths >= MAX_QUICK_DEATHS:
                raise RunFailed(
                    f"worker {member.number} keeps dying (exit {code}): {self._last_words(member.number)}; "
                    f"its log is {self._log(member.number)}"
                )
            log.warning("worker %d died (exit %d), starting it again", member.number, code, extra={"action": "tend"})
            member.process, member.started = self._spawn(member.number), time.monotonic()
        return sum(member.process.poll() is None for member in self._members)

    def stop(self, patience_s: float = 30.0) -> None:
        """Let every worker save and hand its trial back; kill those that take longer."""
        for member in self._members:
            if member.process.poll() is None:
                member.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + patience_s
        try:
            for member in self._members:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    member.process.wait(max(0.0, deadline - time.monotonic()))
        finally:  # also when interrupted a second time: what did not save by now is killed
            for member in self._members:
                member.process.kill()
                member.process.wait()

    def _spawn(self, number: int) -> subprocess.Popen[bytes]:
        log_path = self._log(number)
        log_path.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "service.cli", "worker", "--server", self.url, "--study", self.study]
        command += ["--name", f"local-{number}", "--parent", str(os.getpid())]
        environment = {**os.environ, "SPIKEFRONT_TOKEN": self.token, "SPIKEFRONT_VAR": str(self.var.absolute())}
        environment |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        with log_path.open("ab") as output:
            return subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )

    def _log(self, number: int) -> Path:
        return self.var / "logs" / f"worker-{number}.log"

    def _last_words(self, number: int) -> str:
        lines = self._log(number).read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"
