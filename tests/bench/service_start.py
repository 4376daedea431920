"""`service/start` and `service/join`: how soon a server and a worker are at work in a study of 50,000 trials.

The sampler is TPE, which reads the most. A worker joins with its first lease; the study is loaded by then.
"""

from __future__ import annotations

import statistics
import time
import urllib.request
from pathlib import Path
from urllib.error import URLError

from service import versions, wire
from service.client import Client
from tests.bench.bars import Bar
from tests.bench.service_load import searched
from tests.bench.service_place import Site, opened_site

SIZES = (0, 5_000, 50_000)
JOINS = 5
HEALTHY_S, LOADED_S, JOINED_S, MEMORY_MB = 3.0, 10.0, 1.0, 1000.0
_LIMIT_S = 300.0


def start_bars() -> list[Bar]:
    """A server is started on a database with a long study, and asked for that study's first lease."""
    with opened_site() as site:
        site.serve().close()
        site.add(searched("long", "tpe"), SIZES[-1])
        site.stop()
        healthy_s, loaded_s = _started(site), _joined(site, "long")
        memory_mb = _peak_mb(site.server_pids()[0])
    print(f"start: on {SIZES[-1]} trials /healthz answers after {healthy_s:.2f} s, the first lease takes "
          f"{loaded_s:.2f} s, the server's memory peaks at {memory_mb:.0f} MB", flush=True)  # fmt: skip
    return [
        Bar("service/start", healthy_s, HEALTHY_S, "s", at_least=False),
        Bar("service/start-load", loaded_s, LOADED_S, "s", at_least=False),
        Bar("service/start-memory", memory_mb, MEMORY_MB, "MB", at_least=False),
    ]


def join_bars() -> list[Bar]:
    """Workers join studies of several sizes one after the other; the slowest of the medians counts."""
    medians = []
    with opened_site() as site:
        site.serve().close()
        for size in SIZES:
            name = f"joined-{size}"
            site.add(searched(name, "tpe"), size)
            _joined(site, name)  # loads the study
            medians.append(statistics.median(_joined(site, name, number) for number in range(JOINS)))
            print(f"join: at {size:6d} trials a worker has its first lease after {medians[-1]:.3f} s", flush=True)
    return [Bar("service/join", max(medians), JOINED_S, "s", at_least=False)]


def _started(site: Site) -> float:
    """Seconds from the server's start to its first healthy answer."""
    note = site.place.var / "server.json"
    note.unlink(missing_ok=True)
    began = time.perf_counter()
    site.serve().close()
    while not _is_healthy(site.place.url()):
        assert time.perf_counter() - began < _LIMIT_S, "the server does not get healthy"
        time.sleep(0.01)
    return time.perf_counter() - began


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5.0) as answer:
            return bool(answer.status == 200)
    except URLError:
        return False


def _joined(site: Site, study: str, worker: int = 99) -> float:
    """Seconds until a new worker has its first lease."""
    began = time.perf_counter()
    client = Client(site.place.url(), site.place.token())
    lease = client.lease(wire.LeaseRequest(worker=f"bench-{worker}", versions=versions.installed(), study=study))
    took = time.perf_counter() - began
    client.close()
    assert isinstance(lease, wire.Lease), lease
    return took


def _peak_mb(pid: int) -> float:
    """Most memory that a process has held so far, in MB of 10^6 bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(float(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))
