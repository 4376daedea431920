"""Figures for Prometheus: how the protocol runs, and what is in the database when it is scraped."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily

from service.gate import Receive, Scope, Send
from service.record import Record
from storage.census import census

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The server's counters, in a registry of its own.

    Args:
        record: The open database; counted anew at each scrape.
    """

    def __init__(self, record: Record) -> None:
        self._registry = CollectorRegistry()
        self._calls = Histogram(
            "spikefront_call_seconds",
            "Time until the answer to a call of the API begins, by route, method and status.",
            ["route", "method", "status"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._suggestions = Histogram(
            "spikefront_suggestion_seconds",
            "Time of the sampler to suggest the parameters of a trial.",
            ["sampler"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._handed_out = Counter(
            "spikefront_leases_total",
            "Leases handed out: new trials, trials taken over, tests of front points.",
            ["kind"],
            registry=self._registry,
        )
        self._repeated = Counter(
            "spikefront_repeated_ends_total",
            "Ends of trials that were told again, after an answer was lost.",
            registry=self._registry,
        )
        self._registry.register(_Census(record))

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)

    def called(self, route: str, method: str, status: int, seconds: float) -> None:
        """A call was answered."""
        self._calls.labels(route, method, str(status)).observe(seconds)

    def handed_out(self, kind: str) -> None:
        """A lease was given: `new`, `taken over` or `test`."""
        self._handed_out.labels(kind).inc()

    def repeated(self) -> None:
        """A trial's end was told again."""
        self._repeated.inc()

    @contextmanager
    def suggesting(self, sampler: str) -> Iterator[None]:
        """Time a suggestion."""
        with self._suggestions.labels(sampler).time():
            yield


class _Census:
    """Trials by state and open leases by study, at the moment of the scrape."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def collect(self) -> Iterator[GaugeMetricFamily]:
        with self._record.engine.connect() as connection:
            found = census(connection)
        for name, words, numbers in (
            ("spikefront_trials", "Trials by study and state.", found.trials),
            ("spikefront_open_leases", "Open leases by study: held, or expired and not taken over yet.", found.leases),
        ):
            family = GaugeMetricFamily(name, words, labels=["study", "state"])
            for labels, number in numbers.items():
                family.add_metric(list(labels), number)
            yield family

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing is counted when the server starts."""
        return []


class Measured:
    """ASGI middleware that times the API's calls until their answer begins.

    Args:
        app: The FastAPI application; it notes in the scope which route answered.
        metrics: Where the times go.
    """

    def __init__(self, app: Any, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request and note how long it took."""
        started = time.perf_counter()

        async def noting(message: Any) -> None:
            route = getattr(scope.get("route"), "path", "")
            if message["type"] == "http.response.start" and route.startswith("/v1/"):
                self._metrics.called(route, scope["method"], message["status"], time.perf_counter() - started)
            await send(message)

        await self._app(scope, receive, noting)
