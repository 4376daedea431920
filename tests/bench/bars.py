"""What every benchmark prints: a readable table is its own affair, one JSON line a bar is common."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """A figure and the bar it is to reach; `at_least` false means that less is better.

    `value` is None where this machine cannot measure it, and `reason` says why: such a bar neither holds nor fails.
    """

    bench: str
    value: float | None
    bar: float
    unit: str
    at_least: bool = True
    reason: str = ""

    @property
    def holds(self) -> bool | None:
        if self.value is None:
            return None
        return self.value >= self.bar if self.at_least else self.value <= self.bar

    def line(self) -> str:
        """The bar as one line of JSON; `reason` stands in it only where there is no value."""
        line = {"bench": self.bench, "value": self.value, "bar": self.bar, "unit": self.unit, "holds": self.holds}
        return json.dumps(line if self.value is not None else {**line, "reason": self.reason})


def report(bars: list[Bar]) -> int:
    """Print a JSON line for each bar; the exit code is 1 where one that was measured does not hold."""
    for bar in bars:
        print(bar.line())
    return 1 if any(bar.holds is False for bar in bars) else 0
