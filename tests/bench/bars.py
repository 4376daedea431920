"""What every benchmark prints: a readable table is its own affair, one JSON line a bar is common."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Bar:
    """A figure and the bar it is to reach; `at_least` false means that less is better."""

    bench: str
    value: float
    bar: float
    unit: str
    at_least: bool = True

    @property
    def holds(self) -> bool:
        return self.value >= self.bar if self.at_least else self.value <= self.bar


def report(bars: list[Bar]) -> int:
    """Print a JSON line for each bar; the exit code says whether all hold."""
    for bar in bars:
        line = {key: value for key, value in asdict(bar).items() if key != "at_least"}
        print(json.dumps({**line, "holds": bar.holds}))
    return 0 if all(bar.holds for bar in bars) else 1
