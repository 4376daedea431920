"""What a server costs a digits trial: leases, renewals, reports and checkpoints against the same work without them.

A real worker trains the trials of the demo's study for a real server. After each one it does the same trial again by
itself, with the same scores at the same epochs, so that both see the machine alike.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from objectives.data import load_dataset
from objectives.score import score
from objectives.train import Training
from service import wire
from service.client import Client
from service.worker import Place as WorkerPlace
from service.worker import Worker
from tests.bench.bars import Bar
from tests.bench.demo import STUDY
from tests.support.processes import Place

TRIALS = 13
"""Trials of a study; the first one warms up."""


def protocol_bar() -> Bar:
    """Share that the protocol adds to a trial [%], wall clock, at the default settings."""
    print()
    share = _cost("at the default settings")
    _cost("with a checkpoint after every epoch", CHECKPOINT_S="0")
    return Bar("training/protocol", share, 5.0, "%", at_least=False)


@dataclass(frozen=True)
class _Trial:
    """Seconds of one trial: with a server by wall clock and of the worker's CPU, of the request for it, and alone."""

    served_s: float
    served_cpu_s: float
    leased_s: float
    alone_s: float
    alone_cpu_s: float


class _Paired(Client):
    """A client that sees a worker's trials begin and end, and does each one again by itself."""

    worker: Worker
    data: Path

    def __init__(self, url: str, token: str, data: Path) -> None:
        super().__init__(url, token)
        self.data = data
        self.trials: list[_Trial] = []
        self._lease: wire.Lease | None = None
        self._rungs: list[int] = []
        self._started, self._leased_s = (0.0, 0.0), 0.0

    def lease(self, request: wire.LeaseRequest) -> wire.Lease | wire.Idle:
        """Called when the trial before has ended."""
        if self._lease is not None:
            served = _since(self._started)
            self.trials.append(_Trial(*served, self._leased_s, *self._again(self._lease)))
        if len(self.trials) == TRIALS:
            self.worker.stop()
            return wire.Idle(retry_s=0.1, finished=True, reason="measured")
        self._rungs, self._started = [], _now()
        offer = super().lease(request)
        self._leased_s, _ = _since(self._started)
        assert isinstance(offer, wire.Lease)
        assert offer.task == "train"
        self._lease = offer
        return offer

    def rung(self, trial_id: int, message: wire.Rung, *, patience_s: float | None = None) -> wire.Decision:
        """Remembers at which epochs the worker scores."""
        self._rungs.append(message.epoch)
        return super().rung(trial_id, message, patience_s=patience_s)

    def _again(self, lease: wire.Lease) -> tuple[float, float]:
        """Wall clock and CPU seconds of the same trial without a server."""
        study, baseline = lease.spec.resolve(lease.params), lease.spec.resolve(lease.baseline_params)
        data = load_dataset(study.dataset, self.data)  # not timed: a worker keeps it from trial to trial
        started = _now()
        trial, valid = Training(study, lease.seed, data), data.validation
        while not trial.finished:
            trial.run_epoch(lambda: False)
            if trial.epoch in self._rungs:
                score(study, trial.network, valid.images, valid.labels, seed=lease.seed, baseline=None)
        score(study, trial.network, valid.images, valid.labels, seed=lease.seed, baseline=baseline)
        trial.weights()
        return _since(started)


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(started: tuple[float, float]) -> tuple[float, float]:
    return time.perf_counter() - started[0], time.process_time() - started[1]


def _cost(what: str, **settings: str) -> float:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, Place(Path(folder) / "var", settings=settings) as place:
        server = place.start("serve", "--port", "0")
        client = _Paired(place.url(), place.token(), place.var / "data")
        client.start(_study(), "bench.yaml")
        client.worker = Worker(client, WorkerPlace("bench", place.var / "data", place.var / "spool"))
        client.worker.run()
        client.close()
        server.interrupt()
    trials = client.trials[1:]
    share = statistics.median(100 * (one.served_s / one.alone_s - 1) for one in trials)
    cpu = statistics.median(100 * (one.served_cpu_s / one.alone_cpu_s - 1) for one in trials)
    alone_s, leased_s = (statistics.median(getattr(one, name) for one in trials) for name in ("alone_s", "leased_s"))
    print(f"protocol: {what}: a digits trial takes {alone_s:.2f} s alone; a server adds {share:+.1f} % of wall clock, "
          f"{1e3 * leased_s:.0f} ms to suggest and lease it, and {cpu:+.1f} % of the worker's CPU time")  # fmt: skip
    return share


def _study() -> str:
    """The demo's study, with the trials that are wanted here."""
    study = yaml.safe_load(STUDY.read_text())
    return yaml.safe_dump({**study, "budget": {"trials": TRIALS + 1}}, sort_keys=False)
