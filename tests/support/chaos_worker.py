"""`spikefront worker` with a made-up training, and a log of everything that its server said is stored.

    python -m tests.support.chaos_worker worker --server URL --study NAME --name NAME

Lease, renewal, checkpoints, spool, client and command line are the product's. Two variables belong to it alone:
`CHAOS_LOG`, the folder of the log, and `CHAOS_CLOCK`, a file with the seconds by which its clock is wrong.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from service import wire
from service.client import Client
from tests.support import chaos_training
from tests.support.sidelog import SideLog


class Witness(Client):
    """Writes down what was acknowledged, after it was and before anybody else knows."""

    log: SideLog

    def lease(self, request: wire.LeaseRequest) -> wire.Lease | wire.Idle:
        work = super().lease(request)
        if isinstance(work, wire.Lease):
            self.log.lease = work
            self.log.write("leased", task=work.task)
        return work

    def renew(self, trial_id: int, message: wire.Renewal, **more: Any) -> wire.Renewed:
        answer = super().renew(trial_id, message, **more)
        for point in message.epochs:
            self._told("epoch", trial_id, message.fence, epoch=point.epoch, loss=point.loss, accuracy=point.accuracy)
        return answer

    def rung(self, trial_id: int, message: wire.Rung, **more: Any) -> wire.Decision:
        answer = super().rung(trial_id, message, **more)
        self._told("rung", trial_id, message.fence, rung=message.rung, values=message.values, decision=answer.decision)
        return answer

    def checkpoint(self, lease: wire.Lease, epoch: int, data: bytes, **more: Any) -> None:
        super().checkpoint(lease, epoch, data, **more)
        self._told("checkpoint", lease.trial_id, lease.fence, epoch=epoch)

    def send(self, trial_id: int, ending: str, message: wire.Message, **more: Any) -> None:
        super().send(trial_id, ending, message, **more)
        if isinstance(message, wire.Complete):
            self._told("complete", trial_id, message.fence, values=message.values, weights=message.weights)
            for point in message.epochs:
                self._told(
                    "epoch", trial_id, message.fence, epoch=point.epoch, loss=point.loss, accuracy=point.accuracy
                )
        elif isinstance(message, wire.Tested):
            self._told("tested", trial_id, message.fence, values=message.values)

    def _told(self, event: str, trial_id: int, fence: int, **more: Any) -> None:
        """The trial is the message's: a spooled result, or a renewal in its own thread, may be of an earlier one."""
        self.log.write(event, **{"trial": trial_id, "fence": fence, **more})


def shift_clock(file: Path) -> None:
    """Let `time.time` and `time.time_ns` be wrong by as many seconds as `file` says, from call to call."""
    true_time, true_time_ns = time.time, time.time_ns

    def wrong_by() -> int:
        seconds = int((file.read_text() if file.exists() else "") or 0)
        if seconds:
            seen_by(file).touch()
        return seconds

    time.time = lambda: true_time() + wrong_by()
    time.time_ns = lambda: true_time_ns() + wrong_by() * 10**9


def seen_by(clock: Path) -> Path:
    """A file that says that the worker has looked at its wrong clock."""
    return clock.with_suffix(".seen")


def main() -> None:
    """Run the command line with what is made up in its place."""
    Witness.log = SideLog(Path(os.environ["CHAOS_LOG"]), sys.argv[sys.argv.index("--name") + 1])
    if "CHAOS_CLOCK" in os.environ:
        shift_clock(Path(os.environ["CHAOS_CLOCK"]))
    chaos_training.install(Witness.log)
    import service.client

    service.client.Client = Witness  # type: ignore[misc]
    from service.cli import main as spikefront

    spikefront()


if __name__ == "__main__":
    main()
