"""How long a trial lies idle when its worker is killed, told to end, or started again under its name.

A chain of real workers trains one trial on a real server: each holds it behind an epoch's checkpoint, renewing its
lease, until it is killed at a random moment; the next one is there already and asks for work, as an idle worker does,
each half second. Whoever asks takes the trial over; nobody has to watch the dead one or to say that it is dead. Without
anybody who asks nothing happens, and nothing needs to: there is nobody to train it.

A lease is counted from its last renewal, and a worker renews three times in a lease time: so it runs out between two
thirds of the lease time and the whole of it after the kill, and an idle worker asks up to half a second later.
"""

from __future__ import annotations

import random
import signal
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from service.pacing import LEAST_S
from tests.bench.bars import Bar
from tests.bench.service_place import Site, opened_site
from tests.support.fated_worker import Fate, Fated
from tests.support.postgres import eventually
from tests.support.processes import scalar
from tests.support.studies import study_text

LEASE_S = 3.0
KILLS, ENDS = 24, 8
AT_ONCE_S = 1.5
"""What "at once" is to mean: the running batch, a checkpoint, and the next question of an idle worker."""

_HOLDER = "SELECT worker FROM spikefront.lease"
_LEASED_AT = "SELECT extract(epoch FROM leased_at) FROM spikefront.lease WHERE worker = :worker"


@dataclass
class Chain:
    """One trial, and the workers that hold it one after the other."""

    site: Site
    workers: Fated
    gate: Path
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    _links: int = 0

    def hold(self) -> str:
        """Start the next worker, that will hold the trial behind the next epoch; its name."""
        self._links += 1
        name = f"link-{self._links}"
        self.workers.start(Fate(name, "tiny", "after checkpoint", self._links, gate=str(self.gate)))
        return name

    def wait_for(self, name: str) -> None:
        """Wait until a worker holds the trial, and for a random part of a renewal's interval."""
        eventually(lambda: self._is_held_by(name), f"{name} holds the trial", 60.0)
        time.sleep(self.chance.uniform(0.0, LEASE_S / 3))

    def passed_on(self, holder: str, number: signal.Signals) -> tuple[str, float]:
        """End the holder in the presence of an idle worker; its name, and the seconds until it has the lease."""
        heir = self.hold()
        time.sleep(2 * LEAST_S)  # it is there, and asks
        began = time.time()
        self.workers.send(number, holder)
        return heir, self._leased_after(heir, began)

    def started_again(self, holder: str) -> float:
        """Kill the holder and start another worker of its name; seconds from that start until it has the lease."""
        self.workers.send(signal.SIGKILL, holder)
        self.workers.wait(holder)
        began = time.time()
        self._links += 1
        self.workers.start(Fate(holder, "tiny", "after checkpoint", self._links, gate=str(self.gate)))
        eventually(lambda: self._leased_at(holder) > began, f"{holder} has the trial again", 60.0)
        return self._leased_at(holder) - began

    def _leased_after(self, worker: str, began: float) -> float:
        eventually(lambda: scalar(self.site.url, _HOLDER) == worker, f"{worker} has the trial", 60.0)
        return self._leased_at(worker) - began

    def _leased_at(self, worker: str) -> float:
        return float(scalar(self.site.url, _LEASED_AT, worker=worker) or 0.0)

    def _is_held_by(self, name: str) -> bool:
        path = next(self.workers.told.glob(f"{name}-*.jsonl"), None)
        return path is not None and '"reached"' in path.read_text()


def detection_bars() -> list[Bar]:
    """From kill -9 to the next lease as a share of the lease time, and hand-overs in seconds."""
    with tempfile.TemporaryDirectory() as folder, opened_site(LEASE_S=str(LEASE_S), CHECKPOINT_S="0") as site:
        client = site.serve()
        epochs = {"epochs": 10 * (KILLS + ENDS), "batch": 32, "lr": 5.0e-3}
        client.start(study_text("tiny", budget={"trials": 1}, train=epochs), "bench.yaml")
        client.close()
        with Fated(Path(folder) / "workers") as workers:
            workers.server = site.place.url(), site.place.token()
            chain = Chain(site, workers, Path(folder) / "never")
            holder = chain.hold()
            kills, holder = _ended(chain, holder, KILLS, signal.SIGKILL)
            ends, holder = _ended(chain, holder, ENDS, signal.SIGTERM)
            chain.wait_for(holder)
            again = _repeated(lambda: chain.started_again(holder), ENDS)
    return [
        _bar("service/detection", [seconds / LEASE_S for seconds in kills], 1.0, "lease times"),
        _bar("service/handover-sigterm", ends, AT_ONCE_S, "s"),
        _bar("service/handover-restart", again, AT_ONCE_S, "s"),
    ]


def _ended(chain: Chain, holder: str, times: int, number: signal.Signals) -> tuple[list[float], str]:
    found = []
    for _ in range(times):
        chain.wait_for(holder)
        old = holder
        holder, seconds = chain.passed_on(old, number)
        chain.workers.wait(old)
        found.append(seconds)
    return found, holder


def _repeated(act: Callable[[], float], times: int) -> list[float]:
    return [act() for _ in range(times)]


def _bar(name: str, found: list[float], bar: float, unit: str) -> Bar:
    p50, p95 = statistics.median(found), statistics.quantiles(found, n=20, method="inclusive")[-1]
    print(f"{name}: p50 {p50:.2f}, p95 {p95:.2f}, most {max(found):.2f} {unit}, of {len(found)}", flush=True)
    return Bar(name, p95, bar, unit, at_least=False)
