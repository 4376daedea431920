"""What Prometheus is told: calls, leases, repeated ends, suggestion times, and what the database holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.record import open_record
from service.server import bind, serving
from service.settings import Settings
from tests.support.desk import SHORT_S, Desk, opened

Figures = dict[tuple[str, ...], float]
"""By name and the values of the labels, which Prometheus sorts by their names."""


@pytest.fixture
def figures(hasty: Desk) -> Figures:
    """After four trials were asked for, of which two are complete, one told twice and one taken over."""
    hasty.start(budget={"trials": 4})
    first, second = hasty.lease(), hasty.lease()
    message = hasty.complete(first)
    hasty.reports.complete(first.trial_id, message)
    hasty.complete(hasty.taken_over(second))
    hasty.lease()
    return read(hasty.handout._metrics.text().decode())


@pytest.fixture
def server(url: str, tmp_path: Path) -> Iterator[tuple[str, Desk]]:
    settings = Settings(var=tmp_path, admin_token="an-admin", worker_token="a-worker", viewer_token="a-viewer")
    with (
        open_record(url, tmp_path) as record,
        serving(record, settings, bind("127.0.0.1", 0)) as running,
        opened(url, tmp_path / "artifacts") as desk,
    ):
        yield running.url, desk


def read(text: str) -> Figures:
    families = text_string_to_metric_families(text)
    samples = [sample for family in families for sample in family.samples]
    return {(one.name, *(one.labels[name] for name in sorted(one.labels))): one.value for one in samples}


def test_trials_are_counted_by_state(figures: Figures) -> None:
    assert figures["spikefront_trials", "complete", "tiny"] == 2
    assert figures["spikefront_trials", "running", "tiny"] == 1
    assert figures["spikefront_open_leases", "held", "tiny"] == 1


def test_leases_and_repeated_ends_are_counted(figures: Figures) -> None:
    assert figures["spikefront_leases_total", "new"] == 3
    assert figures["spikefront_leases_total", "taken over"] == 1
    assert figures["spikefront_repeated_ends_total",] == 1


def test_suggestions_are_timed(figures: Figures) -> None:
    (name,) = (key[1] for key in figures if key[0] == "spikefront_suggestion_seconds_count")
    assert figures["spikefront_suggestion_seconds_count", name] == 3
    assert 0 < figures["spikefront_suggestion_seconds_sum", name] < SHORT_S * 100


def test_calls_are_timed_by_route_method_and_status(server: tuple[str, Desk]) -> None:
    url, desk = server
    desk.start()
    lease = desk.lease()
    with httpx.Client(base_url=url, headers={"Authorization": "Bearer a-worker"}) as worker:
        path = f"/v1/leases/{lease.trial_id}/renew"
        for fence in (1, 1, 7):
            worker.post(path, json={"fence": fence})
        found = read(worker.get("/metrics").text)

    route = "/v1/leases/{trial_id}/renew"
    calls = {key: value for key, value in found.items() if key[0] == "spikefront_call_seconds_count"}
    assert calls["spikefront_call_seconds_count", "POST", route, "200"] == 2
    assert calls["spikefront_call_seconds_count", "POST", route, "409"] == 1


def test_figures_are_for_those_who_may_look(server: tuple[str, Desk]) -> None:
    url, _ = server
    assert httpx.get(f"{url}/metrics").status_code == 401
    answer = httpx.get(f"{url}/metrics", headers={"Authorization": "Bearer a-viewer"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
