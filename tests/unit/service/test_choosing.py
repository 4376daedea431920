"""The knee of a front, what keeps limits, and the best of that."""

from __future__ import annotations

from typing import Any

import pytest

from service.choosing import best, chosen, knee, within
from service.errors import UsageError

NAMES = ["accuracy", "latency_ms"]


def point(trial: int, accuracy: float, latency_ms: float) -> dict[str, Any]:
    return {"trial": trial, "values": {"accuracy": accuracy, "latency_ms": latency_ms}}


FRONT = [point(3, 0.99, 9.0), point(5, 0.97, 1.1), point(4, 0.96, 1.0), point(8, 0.70, 0.9), point(9, 0.60, 0.1)]
DOCUMENT = {"study": "tiny", "objectives": NAMES, "front": FRONT, "hypervolume": 0.5}


def numbers(points: list[dict[str, Any]]) -> list[int]:
    return [one["trial"] for one in points]


def test_the_knee_lies_in_the_middle_of_the_ranks() -> None:
    middle = knee(FRONT, NAMES)

    assert middle is not None
    assert middle["trial"] == 4
    assert knee([], NAMES) is None


def test_a_limit_is_a_ceiling_for_costs_and_a_floor_for_gains() -> None:
    assert numbers(within(FRONT, {"latency_ms": 1.0})) == [4, 8, 9]
    assert numbers(within(FRONT, {"accuracy": 0.97})) == [3, 5]
    assert numbers(within(FRONT, {"accuracy": 0.7, "latency_ms": 1.0})) == [4, 8]
    assert within(FRONT, {"latency_ms": 0.01}) == []


def test_the_best_under_a_ceiling() -> None:
    found = best(within(FRONT, {"latency_ms": 1.05}), "accuracy")

    assert found == FRONT[2]
    assert best([], "accuracy") is None
    assert best([point(7, 0.9, 1.0), point(2, 0.9, 1.0)], "latency_ms") == point(2, 0.9, 1.0), "the older of equals"


def test_a_document_says_what_was_chosen() -> None:
    document = chosen(DOCUMENT, {"latency_ms": 1.05}, "accuracy")

    assert numbers(document["front"]) == [4, 8, 9]
    assert document["knee"] == 8
    assert document["limits"] == {"latency_ms": 1.05}
    assert document["best"] == {"objective": "accuracy", "trial": 4}
    assert chosen(DOCUMENT, {"latency_ms": 0.0}, "accuracy")["best"]["trial"] is None
    assert chosen(DOCUMENT, {}, None) == {**DOCUMENT, "knee": 4}


def test_a_limit_or_wish_of_another_name_is_refused() -> None:
    words = "energy_uj is no objective of tiny; it has accuracy, latency_ms"
    for limits, wanted in (({"energy_uj": 1.0}, None), ({}, "energy_uj")):
        with pytest.raises(UsageError, match=words):
            chosen(DOCUMENT, limits, wanted)
