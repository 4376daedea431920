"""What a worker was told, written down beside it and safe before it goes on: the witness of an audit."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from service import wire

Entry = dict[str, Any]
"""`event`, and what belongs to it; `trial` (id), `fence` and `worker` are in each."""


class SideLog:
    """One process' file of JSON lines, each on disk (fsync) when `write` returns.

    Attributes:
        lease: What the worker works on now.
    """

    def __init__(self, folder: Path, worker: str) -> None:
        self.lease: wire.Lease | None = None
        self._worker = worker
        self._file = os.open(folder / f"{worker}-{os.getpid()}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, event: str, **more: Any) -> None:
        """Add an entry about the lease in hand, unless `more` names another trial."""
        held = {} if self.lease is None else {"trial": self.lease.trial_id, "fence": self.lease.fence}
        entry = {"event": event, "worker": self._worker, **held, **more}
        os.write(self._file, (json.dumps(entry) + "\n").encode())
        os.fsync(self._file)


def read(folder: Path) -> list[Entry]:
    """Every entry of every process, each process' in its order."""
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
