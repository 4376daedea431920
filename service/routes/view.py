"""What the pages show, worked out of the API's documents before the templates put it into words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from typing import Any

from objectives.pareto import change
from service.choosing import knee
from service.routes.words import OBJECTIVES, Objective
from service.studies import Studies

EVENTS_SHOWN = 10
EVENTS_READ = 50
FINISHED = ("complete", "stopped", "failed")
BASELINE_MISSING = "known once trial 0, the baseline, is complete: its values set the reference point"


@dataclass(frozen=True)
class Wanted:
    """What the address asks for; anything unknown in it is ignored.

    Attributes:
        pair: Index of the pair of objectives drawn.
        selected: Trial number, or None for the knee of the front.
        sort: Objective, parameter or `trial`; empty for the first objective.
        ascending: Direction of the sort; None for best first.
    """

    pair: int = 0
    selected: int | None = None
    sort: str = ""
    ascending: bool | None = None


def wanted(query: Mapping[str, str]) -> Wanted:
    """Read an address's query."""
    pair, selected = query.get("pair", ""), query.get("sel", "")
    direction = query.get("dir", "")
    return Wanted(
        pair=int(pair) if _is_small(pair) else 0,
        selected=int(selected) if _is_small(selected) else None,
        sort=query.get("sort", ""),
        ascending={"asc": True, "desc": False}.get(direction),
    )


def study_page(studies: Studies, name: str, asked: Wanted) -> dict[str, Any]:
    """Everything the page of one study shows.

    Raises:
        NotFound: There is no such study.
    """
    found = studies.status(name)
    status, front = found.document(), found.front.document()
    objectives = [OBJECTIVES[key] for key in front["objectives"]]
    pairs = [axes(*pair) for pair in combinations(objectives, 2)]
    parameters = sorted({key for point in front["front"] for key in point["params"]})
    sort = asked.sort if asked.sort in ("trial", *front["objectives"], *parameters) else objectives[0].key
    ascending = asked.ascending if asked.ascending is not None else _best_first(sort)
    return {
        "status": status,
        "front": front,
        "objectives": objectives,
        "pairs": pairs,
        "pair": asked.pair if asked.pair < len(pairs) else 0,
        "parameters": parameters,
        "sort": sort,
        "ascending": ascending,
        "points": in_order(front["front"], sort, ascending),
        "others": other_accelerators(studies.hardware_front(name)),
        "selected": _selected(studies, name, front, asked.selected),
        "nearest": _nearest(studies, name, status),
        "events": studies.events(name, 0, EVENTS_READ)[-EVENTS_SHOWN:][::-1],
        "workers": workers(status["running"]),
        "created": datetime.fromisoformat(status["created_at"]),
    }


def studies_page(studies: Studies) -> list[dict[str, Any]]:
    """One row per study, the one with the newest event first."""
    rows = [_row(studies, name) for name in studies.names()]
    return sorted(rows, key=lambda row: row["status"]["last_event"], reverse=True)


def other_accelerators(points: Sequence[Mapping[str, Any]] | None) -> int | None:
    """How many points of the trials' hardware fronts no trial reported; None where trials search no accelerators."""
    return None if points is None else sum(not point["chosen"] for point in points)


def axes(first: Objective, second: Objective) -> dict[str, Objective]:
    """Which of two objectives goes on which axis: accuracy always up."""
    x, y = (second, first) if first.key == "accuracy" else (first, second)
    return {"first": first, "second": second, "x": x, "y": y}


def in_order(points: Sequence[dict[str, Any]], sort: str, ascending: bool) -> list[dict[str, Any]]:
    """Points sorted by an objective, a parameter or the trial number; those without a value come last."""

    def value(point: dict[str, Any]) -> Any:
        return point["trial"] if sort == "trial" else {**point["params"], **point["values"]}.get(sort)

    known = [point for point in points if value(point) is not None]
    known.sort(key=lambda point: point["trial"])
    known.sort(key=lambda point: (isinstance(value(point), str), value(point)), reverse=not ascending)
    return known + [point for point in points if value(point) is None]


def workers(running: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Workers with a valid lease, and what the leases are about."""
    alive = [lease for lease in running if not lease["expired"]]
    return {
        "alive": len({lease["worker"] for lease in alive}),
        "training": sum(lease["task"] == "train" for lease in alive),
        "testing": sum(lease["task"] == "test" for lease in alive),
        "expired": len(running) - len(alive),
    }


def spark(steps: Sequence[tuple[int, float]], width: float = 120.0, height: float = 26.0) -> dict[str, str] | None:
    """SVG paths of the hypervolume's steps: `line` and the area `below` it; None below two steps."""
    if len(steps) < 2:
        return None
    last_x, low, high = steps[-1][0], steps[0][1], steps[-1][1]
    rise = (high - low) or 1.0
    path = ""
    for finished, volume in steps:
        x, y = width * finished / last_x, height - 2 - (height - 5) * (volume - low) / rise
        path += f"H{x:.1f}V{y:.1f}" if path else f"M{x:.1f} {y:.1f}"
    return {"line": path, "below": f"{path}V{height:g}H{width * steps[0][0] / last_x:.1f}Z"}


def _selected(studies: Studies, name: str, front: Mapping[str, Any], trial: int | None) -> dict[str, Any] | None:
    on_front = {point["trial"]: {**point, "tag": "on the front"} for point in front["front"]}
    if trial is None:
        best = knee(front["front"], front["objectives"])
        return on_front[best["trial"]] if best else None
    if trial in on_front:
        return on_front[trial]
    trials = studies.trials(name)
    return _beside(trials[trial], front) if trial < len(trials) and trials[trial]["values"] else None


def _beside(trial: Mapping[str, Any], front: Mapping[str, Any]) -> dict[str, Any]:
    baseline = front["baseline"] and front["baseline"]["values"]
    values = trial["values"]
    return {
        **trial,
        "test": None,
        "on_baseline_accelerator": None,
        "vs_baseline": baseline and {key: change(key, values[key], baseline[key]) for key in front["objectives"]},
        "tag": "dominated" if trial["feasible"] else "breaks a constraint",
    }


def _nearest(studies: Studies, name: str, status: Mapping[str, Any]) -> dict[str, Any] | None:
    """Where no complete trial is feasible: the one that misses by the least, and the constraint that costs most."""
    if status["trials"]["feasible"] or not status["trials"]["complete"]:
        return None
    complete = [trial for trial in studies.trials(name) if trial["state"] == "complete"]
    best = min(complete, key=lambda trial: sum(max(0.0, value) for value in trial["constraints"].values()))
    broken = [key for trial in complete for key, value in trial["constraints"].items() if value > 0]
    worst = max(sorted(set(broken)), key=broken.count)
    return {"trial": best["trial"], "worst": worst, "count": broken.count(worst), "complete": len(complete)}


def _row(studies: Studies, name: str) -> dict[str, Any]:
    found = studies.status(name)
    status, front = found.document(), found.front.document()
    latest = studies.events(name, 0, 1)
    return {
        "status": status,
        "best": max((point["values"]["accuracy"] for point in front["front"]), default=None),
        "workers": workers(status["running"]),
        "latest": latest[-1] if latest else None,
    }


def _best_first(sort: str) -> bool:
    return OBJECTIVES[sort].sign < 0 if sort in OBJECTIVES else True


def _is_small(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10
