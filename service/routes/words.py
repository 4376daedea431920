"""How numbers, changes and times read on the pages; `static/words.js` says the same things in the browser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

UNKNOWN = "–"
MINUS = "−"
NARROW_SPACE = "\u202f"
NO_BREAK_SPACE = "\u00a0"


@dataclass(frozen=True)
class Objective:
    """The words for one objective.

    Attributes:
        key: Its name in the study file and the API.
        name: Heading.
        unit: Behind a shown value; empty for none.
        axis: What an axis says: quantity and unit.
        sign: 1 where more is better, -1 where less is.
        scale: Shown value over stored value: 100 turns a share into per cent.
        points: Whether a change is told in percentage points instead of per cent.
    """

    key: str
    name: str
    unit: str
    axis: str
    sign: int
    scale: float = 1.0
    points: bool = False


OBJECTIVES: Mapping[str, Objective] = {
    "accuracy": Objective("accuracy", "Accuracy", "%", "validation accuracy (%)", 1, 100.0, points=True),
    "latency_ms": Objective("latency_ms", "Latency", "ms", "latency per image (ms)", -1),
    "fps_per_watt": Objective("fps_per_watt", "FPS/W", "", "frames per second per watt", 1),
    "energy_uj": Objective("energy_uj", "Energy", "µJ", "energy per image (µJ)", -1),
}


@dataclass(frozen=True)
class Change:
    """A change against the baseline: what is shown, the ratio where it is large, and what a screen reader adds."""

    text: str
    times: str
    kind: str  # good | bad | same
    spoken: str


def number(value: Any) -> str:
    """Three significant digits, thousands apart, a true minus; whole numbers and words as they are.

    None reads "–".
    """
    if value is None:
        return UNKNOWN
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if value == int(value):
        return _apart(f"{int(value):,}")
    exponent = int(f"{value:.2e}".partition("e")[2])
    if exponent < -4:
        mantissa = f"{value:.2e}".partition("e")[0]
        return f"{mantissa}e{exponent}".replace("-", MINUS)
    return _apart(f"{value:,.{max(0, 2 - exponent)}f}")


def amount(objective: Objective, value: float | None) -> str:
    """An objective's value as shown, without its unit; always with three significant digits."""
    if value is None:
        return UNKNOWN
    shown = value * objective.scale
    if shown == 0:
        return "0"
    return _apart(f"{shown:,.{max(0, 2 - int(f'{shown:.2e}'.partition('e')[2]))}f}")


def change(objective: Objective, delta: float | None) -> Change | None:
    """Words for a change against the baseline; None where there is nothing to compare with.

    Args:
        objective: Whose value changed.
        delta: Percentage points for accuracy, per cent for everything else, as the API gives them.
    """
    if delta is None:
        return None
    unit = "pt" if objective.points else "%"
    if abs(delta) < 0.05:
        return Change(f"■ ±0{NO_BREAK_SPACE}{unit}", "", "same", "as the baseline")
    digits = 0 if abs(delta) >= 9.95 and not objective.points else 1
    times = f"{1 + delta / 100:.1f}×" if delta > 200 and not objective.points else ""
    arrow, sign = ("▲", "+") if delta > 0 else ("▼", MINUS)
    is_better = delta * objective.sign > 0
    text = f"{arrow} {sign}{_apart(f'{abs(delta):,.{digits}f}')}{NO_BREAK_SPACE}{unit}"
    return Change(
        text,
        times,
        "good" if is_better else "bad",
        "better than the baseline" if is_better else "worse than the baseline",
    )


def duration(seconds: float | None) -> str:
    """A duration in its two largest units."""
    if seconds is None:
        return UNKNOWN
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 90:
        return f"{round(seconds)} s"
    if minutes < 60:
        return f"{minutes} min"
    if hours < 48:
        return f"{minutes // 60} h {minutes % 60:02d}"
    return f"{hours // 24} d {hours % 24} h"


def clock(at: datetime) -> str:
    """Hour and minute in UTC; the browser puts its own time zone in."""
    return f"{at:%H:%M}"


def parameter(name: str) -> str:
    """A parameter's heading: its dotted path without the part that every reader knows."""
    for known in ("accelerator.", "train."):
        name = name.removeprefix(known)
    return name.replace("neural_cores", "cores").replace("_", " ").replace(".", " ")


def for_script(objectives: list[Objective]) -> list[dict[str, Any]]:
    """The objectives' words as the scripts read them."""
    return [asdict(objective) for objective in objectives]


def _apart(text: str) -> str:
    return text.replace(",", NARROW_SPACE).replace("-", MINUS)
