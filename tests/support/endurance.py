"""What a process holds after many trials, recordings or images: run on its own, because only then RSS says it.

    python -m tests.support.endurance train|record FOLDER WARM ALL     what lives after WARM and after ALL of them
    python -m tests.support.endurance evaluate FOLDER FEW MANY         peak memory after FEW and after MANY images

print JSON. The trials are those of a worker, offered by a server without sockets, database or disk.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import subprocess
import sys
import threading
import urllib.parse
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
import snntorch
import torch
from torch import nn

from objectives.activity import record
from objectives.recorder import record_snntorch
from objectives.score import score
from service import wire
from service.client import Client
from service.worker import Place, Worker
from tests.support.resident import forget_peak, peak
from tests.support.studies import make_study
from tests.unit.objectives.factory import make_images, make_labels, make_network
from tests.unit.objectives.factory import make_study as make_settings

ROOT = Path(__file__).parents[2]

Snapshot = dict[str, Any]
"""What lives: `rss` in bytes, Python's memory `blocks`, `objects` by type, `threads`, open `files`, and the `neurons`
in snnTorch's list of all."""

_WIDE: dict[str, Any] = {"network": "16C3p1-MP2-10", "time_steps": 8, "accelerator": {"neural_cores": [4, 2]}}
"""An image has 8 kB of spikes behind its first layer, and leaves 0.5 kB of counts."""

_GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": str(128 * 1024)}
"""Else glibc keeps freed buffers of up to 32 MiB for later, and RSS says what was held once."""

EXPLODING = 10
"""Every so many trials one has a learning rate that no weights survive."""


class Offers:
    """Answers a worker as a study server does: a trial at each call until all are handed out, then the end.

    Attributes:
        completed: Numbers of the trials that were completed.
        failed: Messages of those that failed, by number.
    """

    def __init__(self, count: int, heard: Callable[[int], None] = lambda number: None) -> None:
        self.completed = list[int]()
        self.failed = dict[int, str]()
        self._count, self._heard, self._next = count, heard, 0
        self._spec = make_study(train={"epochs": 1, "batch": 32, "lr": 5e-3}, dataset={"name": "digits", "limit": 60})

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Handle one call."""
        body = request.read()
        place = request.url.path.split("/")
        if request.url.path == "/v1/leases":
            return httpx.Response(200, content=self._offer().model_dump_json(by_alias=True))
        if place[-1] == "complete":
            self.completed.append(int(place[3]))
        if place[-1] == "fail":
            self.failed[int(place[3])] = json.loads(body)["message"]
        return httpx.Response(200, json={"stop": False})

    def _offer(self) -> wire.Offer:
        number, self._next = self._next, self._next + 1
        self._heard(number)
        if number == self._count:
            return wire.Offer(work=wire.Idle(retry_s=0.0, finished=True, reason="complete: all are handed out"))
        return wire.Offer(work=self._lease(number))

    def _lease(self, number: int) -> wire.Lease:
        """A trial with parameters of its own, as a search suggests them."""
        share = (number * 0.618) % 1
        params: dict[str, Any] = {
            "beta": share,
            "threshold": 0.3 + share,
            "train.lr": 1e300 if number % EXPLODING == 1 else 1e-3 + share / 100,
            "accelerator.neural_cores.0": (1, 2, 4)[number % 3],
            "encoding": ("direct", "rate")[number % 2],
        }
        return wire.Lease(
            task="train", study="tiny", trial_id=number, number=number, fence=1, seed=number, ttl_s=30.0,
            checkpoint_s=0.0, spec=self._spec, params=params, baseline_params=self._spec.baseline_params(),
        )  # fmt: skip


def train_all(folder: Path, count: int, heard: Callable[[int], None]) -> Offers:
    """One worker trains `count` trials; `heard` is called at each request for work."""
    offers = Offers(count, heard)
    client = Client("http://server:1", "secret", transport=httpx.MockTransport(offers))
    reason = Worker(client, Place("worker", folder / "data", folder / "spool"), study="tiny").run()
    client.close()
    assert reason.startswith("complete"), reason
    return offers


def record_all(count: int, heard: Callable[[int], None]) -> None:
    """One snnTorch network is recorded `count` times."""
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), snntorch.Leaky(beta=0.5, init_hidden=True), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(36, 10), snntorch.Leaky(beta=0.5, init_hidden=True),
    )  # fmt: skip
    images = torch.rand(20, 1, 8, 8)
    for number in range(count):
        heard(number)
        record_snntorch(network, images, time_steps=3)
    heard(count)


def evaluate(few: int, many: int) -> dict[str, dict[str, int]]:
    """Peak memory after evaluating and scoring few images and many, and the counts kept of many; bytes, by coding."""
    images, labels = make_images(many), make_labels(many)
    network = make_network(_WIDE["network"], time_steps=_WIDE["time_steps"])
    found = {}
    for encoding in ("direct", "rate"):
        study = make_settings(encoding=encoding, **_WIDE)
        score(study, network, images[:few], labels[:few], seed=1, baseline=None)  # compiles, which takes more memory
        peaks = []
        for count in (few, many):
            forget_peak()
            score(study, network, images[:count], labels[:count], seed=1, baseline=None)
            peaks.append(peak())
        kept = record(network, images, labels, encoding=study.encoding, seed=1).counts
        found[encoding] = {"few": peaks[0], "many": peaks[1], "counts": sum(counts.nbytes for counts in kept)}
    return found


def snapshot() -> Snapshot:
    """What lives now, after collecting what does not."""
    urllib.parse.clear_cache()  # type: ignore[attr-defined]  # bounded, but still filling; typeshed lacks it
    gc.collect()
    process = psutil.Process()
    return {
        "rss": process.memory_info().rss,
        "blocks": sys.getallocatedblocks(),
        "objects": Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects()),
        "threads": threading.active_count(),
        "files": process.num_fds(),
        "neurons": len(snntorch.SpikingNeuron.instances),
    }


def run(kind: str, folder: Path, few: int, many: int) -> dict[str, Any]:
    """The JSON of one kind of work, done in a process of its own."""
    command = [sys.executable, "-m", "tests.support.endurance", kind, str(folder), str(few), str(many)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **_GIVE_BACK}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def main() -> None:
    """Do what the command line says."""
    kind, folder, few, many = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)  # failing trials log their tracebacks
    if kind == "evaluate":
        print(json.dumps(evaluate(few, many)))
        return
    seen: list[Snapshot] = []

    def heard(number: int) -> None:
        if number in (few // 2, few, many):  # the first one only warms the measuring itself up
            seen.append(snapshot())

    document: dict[str, Any] = {}
    if kind == "train":
        offers = train_all(folder, many, heard)
        document = {"completed": offers.completed, "failed": offers.failed}
    else:
        record_all(many, heard)
    print(json.dumps({"snapshots": seen[1:], **document}))


if __name__ == "__main__":
    main()
