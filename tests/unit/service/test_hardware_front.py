"""The union of the trials' hardware fronts: against looking at every pair, and as people see it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from optuna.trial import FrozenTrial, create_trial
from rich.console import Console, RenderableType

from service.export import front_rows, front_text
from service.fronts import baseline_of, build_front, feasible_front
from service.hardwarefronts import Point, hardware_points, union
from service.routes.view import other_accelerators
from service.tables import HARDWARE_ROWS, front_table, trial_details
from tests.support.synthetic import FakeStudies, SyntheticStudy

NAMES = ("accuracy", "latency_ms", "fps_per_watt")


def trial_of(number: int, accuracy: float) -> FrozenTrial:
    """A complete trial; only its number and its accuracy matter here."""
    trial = create_trial(values=[accuracy, 9.0, 9.0])
    trial.number = number
    return trial


def built(cores: int, latency_ms: float, fps_per_watt: float) -> dict[str, Any]:
    """One accelerator of a trial's front."""
    return {
        "neural_cores": [cores, 5], "encoder_widths": [None, 64], "latency_ms": latency_ms,
        "fps_per_watt": fps_per_watt, "energy_uj": 1e6 / fps_per_watt, "luts": 100 * cores, "flip_flops": 50,
        "bram36": 1.5, "uram": 0, "dsp": 4,
    }  # fmt: skip


def details_of(*front: dict[str, Any], chosen: int = 0) -> dict[str, Any]:
    """A trial's details, with the accelerator it reported."""
    reported = {name: front[chosen][name] for name in ("neural_cores", "encoder_widths")}
    return {"accelerator_chosen": reported, "hardware_front": list(front)}


def points_of(*trials: tuple[int, float, list[dict[str, Any]]]) -> list[Point]:
    return [
        point
        for number, accuracy, front in trials
        for point in hardware_points(trial_of(number, accuracy), NAMES, details_of(*front))
    ]


def is_better(one: Point, other: Point) -> bool:
    """Whether one point dominates another, looked at objective by objective."""
    gains = [sign * (one["values"][name] - other["values"][name]) for sign, name in zip((1, -1, 1), NAMES, strict=True)]
    return all(gain >= 0 for gain in gains) and any(gain > 0 for gain in gains)


# --- points and their union --------------------------------------------------------------------------------------


def test_a_point_has_the_accuracy_of_its_trial_and_the_costs_of_its_accelerator() -> None:
    details = details_of(built(4, 1.0, 200.0), built(2, 2.0, 250.0), chosen=1)
    first, second = hardware_points(trial_of(3, 0.9), NAMES, details)
    assert first == {
        "trial": 3, "values": {"accuracy": 0.9, "latency_ms": 1.0, "fps_per_watt": 200.0}, "neural_cores": [4, 5],
        "encoder_widths": [None, 64], "luts": 400, "flip_flops": 50, "bram36": 1.5, "uram": 0, "dsp": 4,
        "chosen": False,
    }  # fmt: skip
    assert (second["values"]["latency_ms"], second["chosen"]) == (2.0, True)


def test_energy_is_a_value_where_it_is_an_objective() -> None:
    trial = create_trial(values=[0.9, 9.0])
    (point,) = hardware_points(trial, ("accuracy", "energy_uj"), details_of(built(4, 1.0, 200.0)))
    assert point["values"] == {"accuracy": 0.9, "energy_uj": 5000.0}


def test_a_trial_without_a_search_adds_no_points() -> None:
    assert list(hardware_points(trial_of(0, 0.9), NAMES, {"hardware": {}})) == []


def test_another_trials_accelerator_can_beat_a_reported_one() -> None:
    found = union(
        points_of((0, 0.9, [built(1, 2.0, 100.0)]), (1, 0.9, [built(2, 3.0, 120.0), built(4, 1.0, 110.0)])), NAMES
    )
    assert [(point["trial"], point["neural_cores"][0]) for point in found] == [(1, 4), (1, 2)]


@pytest.mark.parametrize("seed", range(6))
def test_the_union_is_what_no_point_beats(seed: int) -> None:
    random = np.random.default_rng(seed)
    trials = [
        (number, random.integers(5, 10) / 10,
         [built(cores, float(random.integers(1, 20)), float(random.integers(1, 20))) for cores in (1, 2, 4)])
        for number in range(25)
    ]  # fmt: skip
    points = points_of(*trials)
    found = union(points, NAMES)
    left = [point for point in points if not any(is_better(other, point) for other in points)]
    assert sorted(map(json.dumps, found)) == sorted(map(json.dumps, left))
    assert [point["values"]["accuracy"] for point in found] == sorted(
        (point["values"]["accuracy"] for point in found), reverse=True
    )


@pytest.mark.parametrize("parts", [1, 3, 25])
def test_the_union_does_not_depend_on_how_it_is_put_together(parts: int) -> None:
    random = np.random.default_rng(4)
    whole = points_of(*[(n, float(random.random()), [built(1, *random.random(2) + 0.1)]) for n in range(25)])
    grown: list[Point] = []
    for part in np.array_split(np.arange(25), parts):
        grown = union([*grown, *(whole[index] for index in part)], NAMES)
    assert grown == union(whole, NAMES)


def test_no_points_no_union() -> None:
    assert union([], NAMES) == []


# --- as people see it --------------------------------------------------------------------------------------------


def document_of(points: Sequence[Point]) -> dict[str, Any]:
    front = build_front("s", NAMES, [], None, {}, None)
    return {**front.document(), "hardware_front": list(points)}


def rendered(what: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=160, color_system=None)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_front_without_a_search_has_no_hardware_front() -> None:
    document = build_front("s", NAMES, [], None, {}, None).document()
    assert "hardware_front" not in document
    assert "other accelerators" not in rendered(front_table(document))


def test_the_table_of_the_other_accelerators_stands_before_the_front() -> None:
    details = details_of(built(4, 1.0, 200.0), built(2, 2.0, 250.0), chosen=1)
    text = rendered(front_table(document_of(list(hardware_points(trial_of(3, 0.9), NAMES, details)))))
    assert "With each trial's other accelerators: 2 points " in text
    lines = [line.split() for line in text.splitlines() if line.split()[:1] == ["3"]]
    assert lines[0] == ["3", "90.0", "1", "200", "400", "1.5", "4", "cores", "1:4", "2:5"]
    assert lines[1][-1] == "(reported)"
    assert text.index("other accelerators") < text.index("Pareto front of s")


def test_a_long_table_is_cut_to_points_over_the_whole_range() -> None:
    points = points_of(*[(number, number / 100, [built(1, 1.0 + number, 1.0)]) for number in range(100)])
    text = rendered(front_table(document_of(points)))
    numbers = [int(line.split()[0]) for line in text.splitlines() if line.split() and line.split()[0].isdigit()]
    assert len(numbers) == HARDWARE_ROWS
    assert (numbers[0], numbers[-1]) == (0, 99)
    assert f"100 points, {HARDWARE_ROWS} shown" in text


def test_a_trial_tells_out_of_how_many_it_chose() -> None:
    details: dict[str, Any] = {
        "accelerator_chosen": {"neural_cores": [4, 5], "encoder_widths": [None, 64]},
        "hardware_search": {"report": "min_latency", "accelerators": 8400, "shortage": None},
        "hardware": {"layers": []},
    }
    trial = {
        "trial": 3, "state": "complete", "params": {}, "values": None, "test": None, "attributes": {}, "curve": [],
        "details": details,
    }  # fmt: skip
    assert "cores 1:4 2:5: min_latency of 8,400 accelerators" in rendered(trial_details(trial))
    short = {**details["hardware_search"], "shortage": "none of 8,400 accelerators fits"}
    text = rendered(trial_details({**trial, "details": {**details, "hardware_search": short}}))
    assert "cores 1:4 2:5, which needs least: none of 8,400 accelerators fits" in text


def test_the_front_names_what_each_trial_chose() -> None:
    trials = [trial_of(0, 0.9)]
    results = {trials[0]._trial_id: {"details": details_of(built(4, 1.0, 200.0))}}
    front = build_front("s", NAMES, feasible_front(trials, NAMES), baseline_of(trials), results, None)
    assert front.points[0]["accelerator_chosen"] == {"neural_cores": [4, 5], "encoder_widths": [None, 64]}
    (row,) = front_rows(front)
    assert (row["accelerator.neural_cores.0"], row["accelerator.encoder_widths.1"]) == (4, 64)
    (told,) = csv.DictReader(io.StringIO(front_text(front, "csv")))
    assert told["accelerator.encoder_widths.0"] == ""
    assert "cores 1:4 2:5" in rendered(front_table(front.document()))


def test_the_page_counts_the_accelerators_that_no_trial_reported() -> None:
    study = SyntheticStudy("svhn", 30, has_hardware_search=True)
    points = FakeStudies(study).hardware_front("svhn")
    assert points is not None
    assert 0 < other_accelerators(points) < len(points)  # type: ignore[operator]
    assert other_accelerators(None) is None
