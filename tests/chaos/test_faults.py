"""Every fault, and seeded sequences of them: each trial is there once and right, and nothing died of itself."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from storage.embedded import EmbeddedPostgres
from tests.support.faults import FAULTS, SHORT
from tests.support.scene import SEED, Scene

ASKED, MANY, ASKED_OF_THE_SHORT = 24, 60, 48
SEEDS = range(10 * SEED, 10 * SEED + 10)
FAULTS_IN_A_SEQUENCE = 8
METHODS = ("none", "moasha", "median-front", "skyband")
"""Of stopping trials early, in turns."""

TELLING = (
    "kill -9 of two workers",
    "result taken, reply lost",
    "commit done, reply lost",
    "Postgres restarted immediately",
    "kill -9 of the server",
    "SIGSTOP of two workers past their lease",
)
"""The short form, one after the other."""


@pytest.mark.full
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_costs_nothing_that_was_acknowledged(
    postgres: EmbeddedPostgres, url: str, tmp_path: Path, name: str, record_property: Callable[[str, object], None]
) -> None:
    record_property("fault", name)
    with Scene(tmp_path / "scene", postgres, url, ASKED) as scene:
        scene.begin()
        scene.wait_for_trials(2)
        before = scene.harm

        FAULTS[name](scene)

        assert scene.harm > before, "the fault met nothing"
        scene.settle()
        assert scene.audit() == []


@pytest.mark.full
@pytest.mark.parametrize("seed", SEEDS)
def test_a_sequence_of_faults_costs_nothing_either(
    postgres: EmbeddedPostgres, url: str, tmp_path: Path, seed: int, record_property: Callable[[str, object], None]
) -> None:
    record_property("fault", f"{FAULTS_IN_A_SEQUENCE} faults drawn with seed {seed}")
    chance = random.Random(seed)
    names = chance.choices(list(SHORT), k=FAULTS_IN_A_SEQUENCE)
    stopping = METHODS[seed % len(METHODS)]
    run_sequence(Scene(tmp_path / "scene", postgres, url, MANY, random=chance, stopping=stopping), names)


def test_the_most_telling_faults_one_after_the_other_cost_nothing(
    postgres: EmbeddedPostgres, url: str, tmp_path: Path
) -> None:
    scene = Scene(tmp_path / "scene", postgres, url, ASKED_OF_THE_SHORT, stopping="median-front")
    run_sequence(scene, TELLING, is_over=False)


def run_sequence(made: Scene, names: Sequence[str], *, is_over: bool = True) -> None:
    """Do faults with short pauses, let them settle, and audit; may the study be over before the last of them?"""
    with made as scene:
        scene.begin()
        scene.wait_for_trials(1)
        for name in names:
            before = scene.harm
            (SHORT | FAULTS)[name](scene)
            assert is_over or scene.harm > before, f"{name}: the fault met nothing"
            scene.pause(scene.random.uniform(0.1, 1.0))
        scene.settle()
        assert scene.audit() == [], names
