"""What a rung report costs the server: sixteen workers that hold a trial each and report one vector after the other."""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass

import numpy as np

from service import versions, wire
from service.client import Client
from tests.bench.bars import Bar
from tests.bench.service_load import Cost, Crew, Trial, measured, searched
from tests.bench.service_place import opened_site
from tests.support.filler import scores

ROUNDS, REPORTS = 5, 640
BAR_MS = 3.0
RUNGS = 64
NAMES = ("accuracy", "latency_ms", "fps_per_watt")


@dataclass(frozen=True)
class Reporter:
    """How a worker reports: it leases one trial, and each of its turns is a rung of it, the first again after the last.

    Attributes:
        url: Of the server.
        token: Bearer token.
        study: Whose trial it takes.
    """

    url: str
    token: str
    study: str

    def __call__(self, worker: int) -> Trial:
        client, rng = Client(self.url, self.token), np.random.default_rng(worker)
        lease = client.lease(
            wire.LeaseRequest(worker=f"bench-{worker}", versions=versions.installed(), study=self.study)
        )
        assert isinstance(lease, wire.Lease), lease
        rungs = itertools.cycle(range(RUNGS))

        def report() -> None:
            rung, values = next(rungs), dict(zip(NAMES, scores(rng, 1)[0].tolist(), strict=True))
            client.rung(lease.trial_id, wire.Rung(fence=lease.fence, rung=rung, epoch=rung + 1, values=values))

        return report


def rung_bar() -> Bar:
    """CPU of the server for one rung report over HTTP [ms], the database's left out: median of the rounds."""
    with opened_site() as site:
        site.serve().close()
        site.add(searched("tiny", "random"), 0)
        with Crew(Reporter(site.place.url(), site.place.token(), "tiny")) as crew:
            crew.run(64)
            costs = [measured(crew, REPORTS, site.server_pids(), site.postgres_pids) for _ in range(ROUNDS)]
    reached = statistics.median(map(_server_ms, costs))
    middle = sorted(costs, key=_server_ms)[len(costs) // 2]
    print(f"rung\n  {middle.words('reports')}", flush=True)
    return Bar("service/rung", reached, BAR_MS, "ms", at_least=False)


def _server_ms(cost: Cost) -> float:
    return 1e3 * cost.server_s / cost.trials
