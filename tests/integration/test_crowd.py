"""Many workers at once: what they ask for waits its turn, and nothing else waits with it."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from service import versions, wire
from service.handout import Handout
from service.record import open_record
from service.server import bind, serving
from service.settings import Settings

CROWD = 60
"""More than the threads of a server."""


@pytest.fixture
def client(url: str, tmp_path: Path) -> Iterator[httpx.Client]:
    """An admin of a server without studies."""
    settings = Settings(var=tmp_path, token=SecretStr("an-admin"))
    with (
        open_record(url, tmp_path) as record,
        serving(record, settings, bind("127.0.0.1", 0)) as running,
        httpx.Client(base_url=running.url, headers={"Authorization": "Bearer an-admin"}) as client,
    ):
        yield client


def test_an_answer_on_an_open_connection_does_not_wait_for_an_acknowledgement(client: httpx.Client) -> None:
    """Head and body go in two pieces; with Nagle's algorithm the second waits 40 ms for the client's delayed ACK."""
    took = []
    for _ in range(30):
        started = time.perf_counter()
        client.get("/login.css")
        took.append(time.perf_counter() - started)

    assert statistics.median(took) < 0.03


def test_a_crowd_that_waits_for_work_holds_up_nobody_else(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed_out, told = threading.Event(), wire.Idle(retry_s=1.0, finished=False)

    def slowly(handout: Handout, request: wire.LeaseRequest) -> wire.Idle:
        assert handed_out.wait(30.0)
        return told

    monkeypatch.setattr(Handout, "lease", slowly)
    message = wire.LeaseRequest(worker="one-of-many", versions=versions.installed()).model_dump()

    def ask(number: int) -> httpx.Response:
        return client.post("/v1/leases", json=message, timeout=60.0)

    with ThreadPoolExecutor(CROWD) as pool:
        answers = [pool.submit(ask, number) for number in range(CROWD)]
        try:
            time.sleep(1.0)  # they are all on their way
            assert client.get("/healthz", timeout=10.0).is_success
            assert not any(answer.done() for answer in answers)
        finally:
            handed_out.set()
        works = [wire.Offer.model_validate_json(answer.result().content).work for answer in answers]

    assert works == [told] * CROWD
