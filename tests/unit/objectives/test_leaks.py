"""A process that trains, records and evaluates for long holds no more than one that began: measured in fresh processes.

Imports warm up, so the first trials do not count; after them nothing may grow with the trials.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.endurance import EXPLODING, Snapshot, run

WARM, TRIALS = 40, 200
MB = 1e6
OBJECTS = (TRIALS - WARM) // 8
"""Growth of a type of object that is still noise: what one trial in eight leaves behind is a leak."""


RESIDENT = 64e3 * (TRIALS - WARM)
"""Growth of resident memory that is still noise: a process that trains keeps freed memory; its heap settles late."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A worker after 200 trials."""
    return run("train", tmp_path_factory.mktemp("worker"), WARM, TRIALS)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The recorder of snnTorch networks after 200 recordings."""
    return run("record", tmp_path_factory.mktemp("recorder"), WARM, TRIALS)


def assert_nothing_grew(snapshots: list[Snapshot]) -> None:
    early, late = snapshots
    grown = {name: count - early["objects"].get(name, 0) for name, count in late["objects"].items()}
    assert {name: more for name, more in grown.items() if more > OBJECTS} == {}
    assert late["blocks"] - early["blocks"] < 50 * (TRIALS - WARM)
    assert late["rss"] - early["rss"] < RESIDENT
    assert (late["threads"], late["files"], late["neurons"]) == (early["threads"], early["files"], early["neurons"])


def test_a_worker_holds_as_much_after_200_trials_as_after_40(trained: dict[str, Any]) -> None:
    assert_nothing_grew(trained["snapshots"])


def test_the_engine_makes_no_neurons_of_snntorch_whose_list_of_all_never_shrinks(trained: dict[str, Any]) -> None:
    assert [snapshot["neurons"] for snapshot in trained["snapshots"]] == [0, 0]


def test_a_trial_that_explodes_fails_by_name_and_the_worker_trains_the_others(trained: dict[str, Any]) -> None:
    exploding = [number for number in range(TRIALS) if number % EXPLODING == 1]
    assert [int(number) for number in trained["failed"]] == exploding
    assert sorted([*trained["completed"], *exploding]) == list(range(TRIALS))
    for message in trained["failed"].values():
        assert "not finite" in message
        assert "lower train.lr" in message


def test_the_recorder_holds_as_much_after_200_networks_as_after_40(recorded: dict[str, Any]) -> None:
    assert_nothing_grew(recorded["snapshots"])


def test_an_evaluation_keeps_of_its_images_the_counts_alone(tmp_path: Path) -> None:
    """Twice while they are joined, and twice in the hardware model; their spikes would be 16 times as much."""
    few, many = 500, 8_000
    for encoding, measured in run("evaluate", tmp_path, few, many).items():
        assert 0 < measured["many"] - measured["few"] < 4 * measured["counts"] + 4 * MB, encoding
