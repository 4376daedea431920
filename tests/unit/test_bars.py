"""What a benchmark prints and how it exits."""

from __future__ import annotations

import json

import pytest

from tests.bench.bars import Bar, report
from tests.bench.training_statistics import Difference
from tests.bench.training_turns import Timings


@pytest.mark.parametrize(
    ("value", "at_least", "holds"), [(5.0, True, True), (4.9, True, False), (5.0, False, True), (5.1, False, False)]
)
def test_a_bar_holds_where_its_value_reaches_it(value: float, at_least: bool, holds: bool) -> None:
    assert Bar("speed", value, 5.0, "x", at_least=at_least).holds is holds


def test_what_was_not_measured_says_why_and_fails_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    code = report([Bar("speed", 2.0, 1.0, "x"), Bar("gpu", None, 10.0, "x", reason="no GPU")])

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    assert lines == [
        {"bench": "speed", "value": 2.0, "bar": 1.0, "unit": "x", "holds": True},
        {"bench": "gpu", "value": None, "bar": 10.0, "unit": "x", "holds": None, "reason": "no GPU"},
    ]


def test_one_bar_that_does_not_hold_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert report([Bar("speed", 2.0, 1.0, "x"), Bar("memory", 130.0, 120.0, "MB", at_least=False)]) == 1
    assert json.loads(capsys.readouterr().out.splitlines()[1])["holds"] is False


def test_a_ratio_is_the_median_of_the_rounds_ratios_not_of_their_times() -> None:
    timings = Timings({"slow": [2.0, 40.0, 6.0], "fast": [1.0, 10.0, 2.0]})

    assert timings.ratio("slow", "fast") == 3.0
    assert timings.median_s("slow") == 6.0


def test_differences_of_pairs_are_weighed_by_their_standard_error() -> None:
    assert Difference([1.0, 3.0]).standard_error == pytest.approx(1.0)
    assert Difference([1.0, 3.0]).in_standard_errors == pytest.approx(2.0)
    assert Difference([0.0, 0.0]).in_standard_errors == 0.0
    assert Difference([0.5, 0.5]).in_standard_errors == float("inf")
