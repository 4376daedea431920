"""What a killed worker held is known to the next one of its name, and to nobody while it lives."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.holding import NOTE, Holding
from tests.unit.service.factory import make_lease


def left_behind(folder: Path) -> None:
    """Let a worker be killed: its note is there, and unlocked."""
    with Holding(folder) as holding:
        holding.note(make_lease(trial_id=7, fence=3))
        content = (folder / NOTE).read_bytes()
    folder.mkdir()
    (folder / NOTE).write_bytes(content)


def test_what_a_killed_worker_held_is_known_to_the_next_one_once(tmp_path: Path) -> None:
    left_behind(tmp_path / "w0")

    with Holding(tmp_path / "w0") as holding:
        assert holding.left == (7, 3)
        holding.clear()
        assert holding.left is None
        assert (tmp_path / "w0" / NOTE).read_bytes() == b""


def test_what_a_living_worker_holds_is_nobody_elses(tmp_path: Path) -> None:
    with Holding(tmp_path / "w0") as first:
        first.note(make_lease())
        before = (tmp_path / "w0" / NOTE).read_bytes()
        with Holding(tmp_path / "w0") as twin:
            twin.note(make_lease(trial_id=99))
            twin.clear()
            assert twin.left is None
        assert (tmp_path / "w0" / NOTE).read_bytes() == before


def test_a_worker_that_ends_well_leaves_nothing_but_its_results(tmp_path: Path) -> None:
    with Holding(tmp_path / "w0") as holding:
        holding.note(make_lease())
    assert list(tmp_path.iterdir()) == []
    with Holding(tmp_path / "w0"):
        (tmp_path / "w0" / "result.json").touch()
    assert [path.name for path in (tmp_path / "w0").iterdir()] == ["result.json"]


@pytest.mark.parametrize("content", [b"", b'{"trial_id": 7', b"[]", b'{"trial_id": "x", "fence": 1}'])
def test_a_torn_note_says_nothing(tmp_path: Path, content: bytes) -> None:
    left_behind(tmp_path / "w0")
    (tmp_path / "w0" / NOTE).write_bytes(content)

    with Holding(tmp_path / "w0") as holding:
        assert holding.left is None


def test_where_nothing_can_be_noted_the_work_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with Holding(tmp_path / "file" / "w0") as holding:
        holding.note(make_lease())
        holding.clear()

    assert holding.left is None
