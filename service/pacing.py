"""How long workers wait that were told there is nothing to do: all together they are to ask so and so often."""

from __future__ import annotations

import math

LEAST_S, MOST_S = 0.5, 15.0
CALLS_PER_S = 100.0
WINDOW_S = 1.0
MARGIN_S = 0.01
"""Behind the expiry of a lease, so that it has expired when it is asked for."""


class Pacing:
    """Sets the wait from the calls of the last second: a few workers ask twice a second, thousands more seldom."""

    def __init__(self) -> None:
        self._wait_s = LEAST_S
        self._calls, self._since = 0, -math.inf

    def wait_s(self, now: float, next_expiry: float = math.inf) -> float:
        """Seconds until a worker is to ask again.

        Args:
            now: When it asked [s], on any clock that never goes back.
            next_expiry: When the next lease runs out, on that clock. A few workers are told to come just then, so that
                a dead worker's trial lies no longer than its lease; of many somebody asks soon enough.
        """
        passed_s = now - self._since
        if passed_s >= WINDOW_S:
            workers = self._calls / passed_s * self._wait_s
            self._wait_s = min(MOST_S, max(LEAST_S, workers / CALLS_PER_S))
            self._calls, self._since = 0, now
        self._calls += 1
        until_s = next_expiry - now + MARGIN_S
        return until_s if MARGIN_S < until_s < self._wait_s == LEAST_S else self._wait_s
