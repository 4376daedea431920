"""One Postgres for the folder, a fresh database for each test, and no process left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.desk import SHORT_S, Desk, opened
from tests.support.fixtures import empty_url, nothing_left, postgres, template, url

__all__ = ["empty_url", "nothing_left", "postgres", "template", "url"]


@pytest.fixture
def desk(url: str, tmp_path: Path) -> Iterator[Desk]:
    """A desk with leases that outlast the test."""
    with opened(url, tmp_path) as place:
        yield place


@pytest.fixture
def hasty(url: str, tmp_path: Path) -> Iterator[Desk]:
    """A desk whose leases expire soon."""
    with opened(url, tmp_path, lease_s=SHORT_S) as place:
        yield place
