"""A thousand workers at one server, and how many more it bears: by the answers to renewals, which leases live on."""

from __future__ import annotations

import multiprocessing
import resource
import time
from dataclasses import dataclass, replace

import numpy as np
import psutil  # type: ignore[import-untyped]
from sqlalchemy import text

from tests.bench.bars import Bar
from tests.bench.service_crowd_load import Call, Plan, Told, crowd
from tests.bench.service_load import searched
from tests.bench.service_place import Site, opened_site

WORKERS = 1_000
HOLD_S = 180.0
GROWTH, GROW_S = 20, 120.0
"""Workers that come each second once the thousand has worked, for as long as renewals are answered in time."""

TPE_WORKERS, TPE_GROWTH, TPE_HISTORY = 100, 10, 1_000
SETTLE_S = 10.0
BOUND_S = 1.0
CONNECTIONS = 19

_SAMPLE = text("""
SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()),
       (SELECT count(*) FROM spikefront.event WHERE kind = 'taken over')
""")


@dataclass(frozen=True)
class _Sample:
    """A look at the database and the processes: CPU seconds of server and Postgres so far."""

    at: float
    connections: int
    taken_over: int
    server: dict[int, float]
    postgres: dict[int, float]


def crowd_bars() -> list[Bar]:
    """A thousand workers for three minutes; then more and more of them, with random search and with TPE."""
    with opened_site() as site:
        site.serve().close()
        site.add(searched("tiny", "random"), 0)
        told, samples = _watched(site, replace(_plan(site), growth=GROWTH, grow_s=GROW_S))
    held = [sample for sample in samples if told.held_from <= sample.at <= told.held_until]
    connections = max(sample.connections for sample in samples)
    lost = told.lost + held[-1].taken_over - held[0].taken_over
    print(f"1000-workers, {WORKERS:,} workers with random search for {HOLD_S:.0f} s\n{_table(told, held)}\n"
          f"  lost leases {lost}, calls repeated {told.repeated}, database connections at most {connections}\n"
          f"{_limits('random search', told)}", flush=True)  # fmt: skip
    _tpe()
    return [
        Bar("service/1000-workers", round(_quantile(told.calls, "renew", 0.99), 4), BOUND_S, "s", at_least=False),
        Bar("service/1000-workers-lost", lost, 0, "leases", at_least=False),
        Bar("service/1000-workers-connections", connections, CONNECTIONS, "connections", at_least=False),
    ]


def _tpe() -> None:
    """Where a crowd with TPE ends."""
    with opened_site() as site:
        site.serve().close()
        site.add(searched("tiny", "tpe"), TPE_HISTORY)
        plan = replace(_plan(site), workers=TPE_WORKERS, hold_s=SETTLE_S, growth=TPE_GROWTH, grow_s=GROW_S)
        told, samples = _watched(site, plan)
    held = [sample for sample in samples if told.held_from <= sample.at <= told.held_until]
    print(f"with TPE after {TPE_HISTORY:,} trials, {TPE_WORKERS} workers\n{_table(told, held)}\n{_limits('TPE', told)}")


def _plan(site: Site) -> Plan:
    return Plan(
        url=site.place.url(), token=site.place.token(), artifacts=site.place.var / "artifacts", study="tiny",
        workers=WORKERS, hold_s=HOLD_S, growth=0, grow_s=0.0, bound_s=BOUND_S,
    )  # fmt: skip


def _watched(site: Site, plan: Plan) -> tuple[Told, list[_Sample]]:
    """Let a crowd work in a process of its own, and look at the database and the processes each second."""
    samples = []
    with multiprocessing.get_context("fork").Pool(1, _many_sockets) as pool, site.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        working = pool.apply_async(crowd, (plan,))
        while not working.ready():
            connections, taken_over = connection.execute(_SAMPLE).one()
            server, postgres = _cpu(site.server_pids()), _cpu(site.postgres_pids())
            samples.append(_Sample(time.time(), connections, taken_over, server, postgres))
            working.wait(1.0)
        return working.get(), samples


def _many_sockets() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _table(told: Told, held: list[_Sample]) -> str:
    seconds = told.held_until - told.held_from
    server, postgres = _used(held[0].server, held[-1].server), _used(held[0].postgres, held[-1].postgres)
    shares = {"server": server, "Postgres": postgres, "the crowd": told.cpu_s}
    lines = [f"  {'call':10} {'per s':>6} {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8} {'longest':>8}"]
    for kind in ("lease", "renew", "complete"):
        count = sum(call.kind == kind for call in told.calls)
        times = "".join(f" {1e3 * _quantile(told.calls, kind, q):8.0f}" for q in (0.5, 0.95, 0.99, 1.0))
        lines.append(f"  {kind:10} {count / seconds:6.1f}{times}")
    cores = ", ".join(f"{name} {cpu_s / seconds:.2f}" for name, cpu_s in shares.items())
    return "\n".join([*lines, f"  cores busy: {cores}"])


def _quantile(calls: list[Call], kind: str, q: float) -> float:
    """Of the seconds from when a call was due until its answer."""
    return float(np.quantile(np.array([call.took_s for call in calls if call.kind == kind], dtype=np.float64), q))


def _cpu(pids: list[int]) -> dict[int, float]:
    """CPU seconds of each of these processes so far."""
    times = ((pid, psutil.Process(pid).cpu_times()) for pid in pids if psutil.pid_exists(pid))
    return {pid: time.user + time.system for pid, time in times}


def _used(before: dict[int, float], after: dict[int, float]) -> float:
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())


def _limits(name: str, told: Told) -> str:
    """Where the growing crowd waited longer than the bound."""
    lines = [f"  {name}, growing to {told.grown_to:,} workers"]
    for kind, words in (("lease", "a new trial"), ("renew", "a renewal")):
        limit = told.limits.get(kind)
        lines.append(
            f"    {words}: the 99th percentile stays below {BOUND_S:g} s"
            if limit is None
            else f"    {words}: the 99th percentile passes {BOUND_S:g} s at {limit.workers:,} workers, "
            f"{limit.calls:.0f} calls/s, {limit.trials:.1f} trials handed out/s"
        )
    return "\n".join(lines)
