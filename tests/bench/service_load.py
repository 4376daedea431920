"""Sixteen workers without work: they ask for a trial and complete it at once, with our server or with plain Optuna.

Both sides search the same eight parameters with the same made-up scores on the same Postgres, and have as many client
processes and threads. A worker's weights, for which plain Optuna has no place, are put into the server's folder as
they would lie there after their upload.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import optuna
import psutil  # type: ignore[import-untyped]

from service import versions, wire
from service.client import Client
from storage.artifacts import Artifacts
from tests.support.filler import scores
from tests.support.studies import study_text

PROCESSES, THREADS = 4, 4
SPACE: Mapping[str, Any] = {
    "beta": {"range": [0.05, 0.95]},
    "threshold": {"range": [0.25, 2.5]},
    "train.lr": {"log": [1e-3, 1e-1]},
    "train.epochs": {"int": [1, 4]},
    "train.batch": {"choice": [16, 32, 64]},
    "encoding": {"choice": ["direct", "rate"]},
    "time_steps": {"int": [2, 8]},
    "accelerator.neural_cores.0": {"choice": [1, 2, 4]},
}
BUDGET = 1_000_000

Trial = Callable[[], None]
"""One trial from its request to its end."""


def searched(name: str, sampler: str) -> str:
    """The file of a study of the eight parameters that does not end."""
    fields = {"search": dict(SPACE), "sampler": {"name": sampler, "seed": 1}, "budget": {"trials": BUDGET}}
    return study_text(name, **fields, baseline={})


@dataclass(frozen=True)
class Ours:
    """How a worker speaks with our server."""

    url: str
    token: str
    artifacts: Path
    study: str

    def __call__(self, worker: int) -> Trial:
        client, rng = Client(self.url, self.token), np.random.default_rng(worker)
        request = wire.LeaseRequest(worker=f"bench-{worker}", versions=versions.installed(), study=self.study)
        artifacts = Artifacts(self.artifacts)

        def trial() -> None:
            lease = client.lease(request)
            assert isinstance(lease, wire.Lease), lease
            client.send(lease.trial_id, "complete", _completion(lease, _placed(artifacts, lease), rng))

        return trial


@dataclass(frozen=True)
class Plain:
    """How a worker of plain Optuna speaks with its database."""

    url: str
    study: str
    distributions: Mapping[str, optuna.distributions.BaseDistribution]
    sampler: Callable[[int], optuna.samplers.BaseSampler]

    def __call__(self, worker: int) -> Trial:
        study = optuna.load_study(study_name=self.study, storage=_storage(self.url), sampler=self.sampler(worker))
        rng = np.random.default_rng(worker)

        def trial() -> None:
            asked = study.ask(dict(self.distributions))
            study.tell(asked, scores(rng, 1)[0].tolist())

        return trial


_storages: dict[str, optuna.storages.BaseStorage] = {}


def _storage(url: str) -> optuna.storages.BaseStorage:
    """One storage a process, with its cache of finished trials, for all threads."""
    return _storages.setdefault(url, optuna.storages.get_storage(url))


def _placed(artifacts: Artifacts, lease: wire.Lease) -> str:
    data = f"weights of trial {lease.number}".encode()
    digest = hashlib.sha256(data).hexdigest()
    path = artifacts.path(lease.trial_id, lease.fence, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return digest


def _completion(lease: wire.Lease, digest: str, rng: np.random.Generator) -> wire.Complete:
    accuracy, latency, fps_per_watt = scores(rng, 1)[0].tolist()
    hardware = {"latency_ms": latency, "fps_per_watt": fps_per_watt}
    return wire.Complete(
        fence=lease.fence, values={"accuracy": accuracy, **hardware}, fits_device=True, hazards=0,
        on_baseline_accelerator=hardware, weights=digest, details={"accuracy_standard_error": 0.01},
    )  # fmt: skip


class Crew:
    """Processes of threads, each of which does trials when told to.

    Args:
        worker: Makes what a worker does for a trial, from the worker's number; called in its thread.
        processes: Number of processes.
        threads: Workers of each process.
    """

    def __init__(self, worker: Callable[[int], Trial], *, processes: int = PROCESSES, threads: int = THREADS) -> None:
        self._workers = processes * threads
        fork = multiprocessing.get_context("fork")
        self._ends, self._processes = [], []
        for first in range(0, self._workers, threads):
            ours, theirs = fork.Pipe()
            process = fork.Process(target=_work, args=(theirs, worker, first, threads), daemon=True)
            process.start()
            theirs.close()
            self._ends.append(ours)
            self._processes.append(process)

    def run(self, trials: int) -> float:
        """Do trials, equally many by each worker; returns the CPU seconds of all processes."""
        for end in self._ends:
            end.send(trials // self._workers)
        return sum(float(end.recv()) for end in self._ends)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for end in self._ends:
            end.send(None)
        for process in self._processes:
            process.join(10.0)


def _work(orders: Connection, worker: Callable[[int], Trial], first: int, threads: int) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with ThreadPoolExecutor(threads) as pool:
        trials = list(pool.map(worker, range(first, first + threads)))
        while (count := orders.recv()) is not None:
            started = time.process_time()
            list(pool.map(lambda trial: [trial() for _ in range(count)], trials))
            orders.send(time.process_time() - started)


@dataclass(frozen=True)
class Cost:
    """What trials took: seconds by the clock, and CPU seconds of clients, server and Postgres."""

    trials: int
    wall_s: float
    clients_s: float
    server_s: float
    postgres_s: float

    @property
    def rate(self) -> float:
        """Trials per second."""
        return self.trials / self.wall_s

    def words(self, kind: str = "trials") -> str:
        """Trials per second and CPU per trial, or of another `kind` of turns."""
        clients, server, postgres = (
            f"{1e3 * seconds / self.trials:.1f}" for seconds in (self.clients_s, self.server_s, self.postgres_s)
        )
        return f"{self.rate:6.1f} {kind}/s, CPU ms each: clients {clients}, server {server}, Postgres {postgres}"


def measured(crew: Crew, trials: int, server: list[int], postgres: Callable[[], list[int]]) -> Cost:
    """Let a crew do trials, and see what they cost in these processes."""
    before, started = (_cpu(server), _cpu(postgres())), time.perf_counter()
    clients_s = crew.run(trials)
    wall_s = time.perf_counter() - started
    server_s, postgres_s = (
        _used(then, now) for then, now in zip(before, (_cpu(server), _cpu(postgres())), strict=True)
    )
    return Cost(trials, wall_s, clients_s, server_s, postgres_s)


def _cpu(pids: list[int]) -> dict[int, float]:
    with_times = ((pid, psutil.Process(pid).cpu_times()) for pid in pids if psutil.pid_exists(pid))
    return {pid: times.user + times.system for pid, times in with_times}


def _used(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())
