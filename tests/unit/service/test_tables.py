"""What the terminal shows: numbers, dashes, and text as it is."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console, RenderableType

from service import tables
from service.tables import (
    changed,
    front_table,
    live_view,
    number,
    shown,
    stopping_words,
    studies_table,
    trial_details,
    trials_table,
)  # fmt: skip

NAMES = ("accuracy", "latency_ms", "fps_per_watt")


def _render(what: RenderableType, width: int = 160) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _lines(what: RenderableType) -> list[list[str]]:
    return [line.split() for line in _render(what).splitlines() if line.strip()]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0"), (0.123456, "0.123"), (1.0, "1"), (12.345, "12.3"), (99.96, "100"), (123.456, "123"),
     (12345.6, "12346"), (0.0000123, "1.23e-05"), (-0.5, "-0.5")],
)  # fmt: skip
def test_number(value: float | None, text: str) -> None:
    assert number(value) == text


def test_shown_is_in_percent_for_accuracy() -> None:
    assert shown("accuracy", 0.9312) == "93.1"
    assert shown("latency_ms", 0.9312) == "0.931"
    assert shown("accuracy", None) == shown("latency_ms", None) == "–"


def test_changed_has_sign_and_unit() -> None:
    assert changed("accuracy", 3.04) == "+3.0 pt"
    assert changed("accuracy", -0.25) == "-0.2 pt"
    assert changed("latency_ms", -49.6) == "-50 %"
    assert changed("fps_per_watt", 150.4) == "+150 %"
    assert changed("latency_ms", None) == ""


@pytest.mark.parametrize(
    ("name", "change", "style"),
    [("accuracy", 1.0, "green"), ("accuracy", -1.0, "yellow"), ("latency_ms", -1.0, "green"),
     ("latency_ms", 1.0, "yellow"), ("accuracy", 0.0, "yellow"), ("latency_ms", 0.0, "yellow"),
     ("latency_ms", None,
         "yellow")],
)  # fmt: skip
def test_green_is_better_than_the_baseline(name: str, change: float | None, style: str) -> None:
    assert tables._coloured(name, change).style == style


def _point(trial: int, **fields: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "trial": trial, "values": {"accuracy": 0.9, "latency_ms": 2.0, "fps_per_watt": 10.0}, "test": None,
        "params": {"train.lr": 0.00123, "accelerator.neural_cores.10": 4, "accelerator.neural_cores.2": 8},
        "vs_baseline": {"accuracy": 1.0, "latency_ms": -50.0, "fps_per_watt": 100.0}, "on_baseline_accelerator": None,
    }  # fmt: skip
    return {**known, **fields}


def _document(*points: dict[str, Any], baseline: dict[str, Any] | None) -> dict[str, Any]:
    return {"study": "tiny", "objectives": list(NAMES), "baseline": baseline, "front": list(points)}


def test_the_front_begins_with_the_baseline() -> None:
    baseline = _point(0, vs_baseline=None, on_baseline_accelerator={"latency_ms": 2.0})
    point = _point(5, on_baseline_accelerator={"latency_ms": 1.0}, test={"accuracy": 0.85})
    lines = _lines(front_table(_document(point, baseline=baseline)))
    first = next(line for line in lines if line[0] == "baseline")
    found = next(line for line in lines if line[0] == "5")
    assert first[1:5] == ["90.0", "2", "10", "–"]
    assert " ".join(found).startswith("5 90.0 +1.0 pt 2 -50 % 10 +100 % 85.0 -50 % lr 0.00123, cores 3:8 11:4")


def test_a_front_without_baseline_or_test_has_dashes_and_no_column() -> None:
    text = _render(front_table(_document(_point(5, vs_baseline=None), baseline=None)))
    assert "test %" not in text
    assert "–" in text
    assert "baseline" not in text
    assert _render(front_table(_document(baseline=None)))


def _trial(**fields: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "trial": 3, "state": "failed", "params": {"beta": 0.5}, "values": None, "test": None, "feasible": None,
        "seconds": None, "attributes": {}, "curve": [], "details": None,
    }  # fmt: skip
    return {**known, **fields}


@pytest.mark.parametrize("text", ["x[i] = y[/i]", "[/nothing open]", "list[int]", "[bold]a[/bold]", ":smile:", "\\[a]"])
def test_a_traceback_is_shown_as_it_is(text: str) -> None:
    failure = {"class": "IndexError", "message": text, "traceback": f"line 1\n{text}"}
    shown_text = _render(trial_details(_trial(attributes={"failure": failure})))
    assert shown_text.count(text) == 2
    assert "IndexError: " in shown_text


def test_a_trial_that_was_stopped_says_why() -> None:
    text = _render(trial_details(_trial(state="stopped", attributes={"stopped": "place 9 of [9] at this rung"})))

    assert "place 9 of [9] at this rung" in text


def test_early_stopping_is_summed_up() -> None:
    trials = {**_status()["trials"], "stopped": 9, "created": 16}

    assert stopping_words(_status(trials={**trials, "stopped": 0})) == ""
    assert stopping_words(_status(trials=trials)) == "9 of 16 trials stopped early"
    assert stopping_words(_status(trials=trials, spared={"complete": 3, "on_front": 1})) == (
        "9 of 16 trials stopped early; of 3 losers trained to the end, 1 on the front"
    )


def test_trials_without_values_have_dashes() -> None:
    done = _trial(
        trial=4, state="complete", values=dict(zip(NAMES, (0.5, 1.0, 2.0), strict=True)), feasible=False, seconds=1.25
    )
    text = _render(trials_table([_trial(), done], NAMES))
    failed, infeasible = (line.split() for line in text.splitlines() if line.split()[:1] in (["3"], ["4"]))
    assert failed == ["3", "failed", "–", "–", "–", "–", "beta", "0.5"]
    assert infeasible[:7] == ["4", "complete", "(infeasible)", "50.0", "1", "2", "1.25"]


def _status(**fields: Any) -> dict[str, Any]:
    trials = {"asked": 10, "created": 5, "complete": 2, "failed": 1, "stopped": 1, "running": 1, "feasible": 2}
    known: dict[str, Any] = {
        "study": "tiny", "state": "running", "trials": trials, "front_size": 2, "hypervolume": 0.5, "eta_s": 3600.0,
        "running": [{"trial": 4, "task": "train", "epoch": 1, "epochs": 2, "accuracy": 0.5, "worker": "w-1",
                     "expired": False}], "reason": "", "spared": {"complete": 0, "on_front": 0},
    }  # fmt: skip
    return {**known, **fields}


def test_the_list_of_studies() -> None:
    text = _render(
        studies_table(
            [_status(), _status(study="open", trials={**_status()["trials"], "asked": None}, hypervolume=None)]
        )
    )
    assert "4/10" in text
    assert "4/–" in text


def test_the_live_view() -> None:
    text = _render(live_view(_status(), "http://127.0.0.1:8600/ui"))
    for words in (
        "tiny",
        "4/10 trials",
        "about 60 min left",
        "training",
        "1/2",
        "50.0",
        "w-1",
        "http://127.0.0.1:8600/ui",
    ):
        assert words in text
    expired = [{**_status()["running"][0], "expired": True, "accuracy": None}]
    assert "waiting for a worker" in _render(live_view(_status(running=expired, eta_s=None), ""))
    testing = [{**_status()["running"][0], "task": "test"}]
    assert "test set" in _render(live_view(_status(running=testing), ""))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (89.4, "89 s"), (90, "2 min"), (7140, "119 min"), (7200, "2.0 h")]
)
def test_spans(seconds: float, text: str) -> None:
    assert tables._span(seconds) == text
