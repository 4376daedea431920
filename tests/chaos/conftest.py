"""One Postgres for the folder, a fresh database for each test, and no process left behind."""

from __future__ import annotations

from tests.support.fixtures import empty_url, nothing_left, postgres, template, url

__all__ = ["empty_url", "nothing_left", "postgres", "template", "url"]
