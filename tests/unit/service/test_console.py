"""Where commands print: wide pipes, text as it is, two streams."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from service import console
from service.errors import RunFailed
from tests.support.processes import FULL


@pytest.fixture(autouse=True)
def no_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


def test_brackets_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    console.out.print("trial 3 failed: x[i] [/red]")
    assert capsys.readouterr().out == "trial 3 failed: x[i] [/red]\n"


def test_a_pipe_is_wide(capsys: pytest.CaptureFixture[str]) -> None:
    console._console("stdout", is_lossy=False).print("x" * (console.PIPE_WIDTH - 1))
    assert capsys.readouterr().out.count("\n") == 1


def test_progress_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    console.progress.print("12 of 64")
    assert capsys.readouterr() == ("", "12 of 64\n")


def test_json_takes_paths(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_json({"file": Path("a/b")})
    assert json.loads(capsys.readouterr().out) == {"file": "a/b"}


def test_news_that_a_full_disk_does_not_take_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    with FULL.open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        monkeypatch.setattr("sys.stderr", full)
        console.news.print("study server at http://127.0.0.1:8600")
        console.progress.print("12 of 64")
        console.complain("trial 3 failed")
        with pytest.raises(RunFailed, match=r"^standard output cannot be written: No space left on device$"):
            console.out.print("the front")
        assert console.flushed() is not None
