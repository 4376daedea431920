"""Standard output and error on a full disk: what is announced there is lost, the work is not; lost results are told."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.processes import FULL, Place, audit
from tests.support.studies import study_text


@pytest.fixture
def place(url: str, tmp_path: Path) -> Iterator[Place]:
    """A var folder, and a database without studies."""
    with Place(tmp_path / "var", url) as made:
        yield made


def test_a_server_comes_up_works_and_ends_without_anything_to_write_to(place: Place) -> None:
    server = place.start("serve", "--port", "0", out=FULL, err=FULL)

    assert httpx.get(f"{place.url()}/healthz").is_success
    server.process.send_signal(signal.SIGTERM)

    assert server.wait() == 130


def test_a_run_trains_to_its_end_and_says_by_its_exit_code_that_the_front_is_lost(place: Place, url: str) -> None:
    place.var.mkdir()
    file = place.var / "tiny.yaml"
    file.write_text(study_text(budget={"trials": 1}, train={"epochs": 1, "batch": 32, "lr": 5.0e-3}))

    run = place.run("run", str(file), "--workers", "1", "--port", "0", out=FULL, err=FULL)

    audit(url, "tiny", 1)
    assert run.process.returncode == 1


def test_a_result_that_cannot_be_written_is_one_line_and_no_success(place: Place) -> None:
    started = place.run("studies", "--json", out=FULL)

    assert started.stderr() == "spikefront: standard output cannot be written: No space left on device\n"
    assert started.process.returncode == 1
