"""Choose from a Pareto front: the knee, what keeps given limits, the best of that in one objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from objectives.spec import OBJECTIVES
from service.errors import UsageError

Point = dict[str, Any]


def knee(points: Sequence[Point], objectives: Sequence[str]) -> Point | None:
    """The point nearest to the ideal corner, measured in ranks; None for an empty front."""
    if not points:
        return None
    distance = {point["trial"]: 0.0 for point in points}
    for key in objectives:
        ranked = sorted(points, key=lambda point: -_gain(point, key))
        for rank, point in enumerate(ranked):
            distance[point["trial"]] += (rank / len(points)) ** 2
    return min(points, key=lambda point: (distance[point["trial"]], point["trial"]))


def within(points: Sequence[Point], limits: Mapping[str, float]) -> list[Point]:
    """The points that keep every limit: at most of a cost, at least of what is to be maximised."""
    return [
        point
        for point in points
        if all(_sign(name) * (point["values"][name] - limit) >= 0 for name, limit in limits.items())
    ]


def best(points: Sequence[Point], objective: str) -> Point | None:
    """The point that is best in one objective; of several the oldest; None for no points."""
    return max(points, key=lambda point: (_gain(point, objective), -point["trial"]), default=None)


def chosen(document: Mapping[str, Any], limits: Mapping[str, float], wanted: str | None) -> dict[str, Any]:
    """A front's document with the points that keep the limits, the numbers of its knee and of the best in `wanted`.

    Raises:
        UsageError: A name is no objective of the study.
    """
    for name in (*limits, *([wanted] if wanted else [])):
        if name not in document["objectives"]:
            raise UsageError(
                f"{name} is no objective of {document['study']}; it has {', '.join(document['objectives'])}"
            )
    points = within(document["front"], limits)
    middle = knee(points, document["objectives"])
    found: dict[str, Any] = {**document, "front": points, "knee": middle and middle["trial"]}
    if limits:
        found["limits"] = dict(limits)
    if wanted:
        first = best(points, wanted)
        found["best"] = {"objective": wanted, "trial": first and first["trial"]}
    return found


def _gain(point: Point, name: str) -> float:
    """A value that is the better the larger it is."""
    return float(_sign(name) * point["values"][name])


def _sign(name: str) -> int:
    return 1 if OBJECTIVES[name] == "maximize" else -1
