"""What the page of a long study costs while it is open: the dashboard's poll, ours and as it comes."""

from __future__ import annotations

import io
import json
import multiprocessing
import statistics
import time
from typing import Any

import httpx
import optuna
import optuna_dashboard
import psutil  # type: ignore[import-untyped]
from optuna_dashboard._storage import get_trials

from service import versions, wire
from service.client import Client
from tests.bench.bars import Bar
from tests.bench.service_load import searched
from tests.bench.service_place import Site, opened_site

TRIALS = 10_000
OPEN = 16
ENDED = 5
"""Trials that end between two polls."""

POLLS = 5
APART_S = 10.1
"""The dashboard reads the trials of a study of this size again after ten seconds."""

BAR_MS = 100.0


def poll_bars() -> list[Bar]:
    """Server CPU of a poll that knows all trials, with trials that are open and some that have ended since the last."""
    with opened_site() as site:
        client = site.serve()
        site.add(searched("tiny", "random"), TRIALS)
        worker = site.ours("tiny")(0)
        request = wire.LeaseRequest(worker="still-at-work", versions=versions.installed(), study="tiny")
        for _ in range(OPEN):
            client.lease(request)
        first, answer = _poll(site, client, after=0)
        polls = []
        for _ in range(POLLS):
            for _ in range(ENDED):
                worker()
            time.sleep(APART_S)
            seconds, answer = _poll(site, client, after=TRIALS + OPEN + POLLS * ENDED)
            polls.append(1e3 * seconds)
        context = multiprocessing.get_context("fork")
        with context.Pool(1) as pool:
            plain_s, plain_front = pool.apply(_plain, (site.url, TRIALS))
        client.close()
    ours_ms = statistics.median(polls)
    print(
        f"dashboard-poll, {TRIALS:,} trials of 3 objectives, {OPEN} open, {ENDED} ended since the last poll\n"
        f"  ours   {ours_ms:8.0f} ms server CPU, {len(answer['best_trials'])} feasible trials on the front "
        f"(polls {', '.join(f'{poll:.0f}' for poll in polls)}; the first, of all trials, {1e3 * first:,.0f})\n"
        f"  plain  {1e3 * plain_s:8,.0f} ms, {plain_front} trials on its front, feasible or not"
    )
    return [Bar("service/dashboard-poll", ours_ms, BAR_MS, "ms", at_least=False)]


def _poll(site: Site, client: Client, *, after: int) -> tuple[float, dict[str, Any]]:
    """CPU seconds of the server, and what it answers."""
    headers = {"Authorization": f"Bearer {site.place.token()}"}
    (pid,) = site.server_pids()
    before = _cpu(pid)
    answer = httpx.get(f"{site.place.url()}/api/studies/1?after={after}", headers=headers, timeout=120.0)
    seconds = _cpu(pid) - before
    assert answer.is_success, answer.text
    return seconds, answer.json()


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _plain(url: str, after: int) -> tuple[float, int]:
    """CPU seconds of a poll of the dashboard as it comes, with the trials read already, and the size of its front."""
    storage = optuna.storages.get_storage(url)
    app = optuna_dashboard.wsgi(storage)
    get_trials(app._inmemory_cache, storage, 1)
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": "/api/studies/1", "QUERY_STRING": f"after={after}", "SERVER_NAME": "here",
        "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO(),
        "wsgi.url_scheme": "http",
    }  # fmt: skip
    started = time.process_time()
    body = b"".join(app(environ, lambda status, headers, error=None: None))
    return time.process_time() - started, len(json.loads(body)["best_trials"])
