"""How long workers wait that were told there is nothing to do: all together they are to ask so and so often."""

from __future__ import annotations

LEAST_S, MOST_S = 0.5, 15.0
CALLS_PER_S = 100.0
WINDOW_S = 1.0


class Pacing:
    """Sets the wait from the calls of the last second: a few workers ask twice a second, thousands more seldom."""

    def __init__(self) -> None:
        self._wait_s = LEAST_S
        self._calls, self._since = 0, -1e9

    def wait_s(self, now: float) -> float:
        """Seconds until a worker that asked at `now`, on any clock that never goes back, is to ask again."""
        passed_s = now - self._since
        if passed_s >= WINDOW_S:
            workers = self._calls / passed_s * self._wait_s
            self._wait_s = min(MOST_S, max(LEAST_S, workers / CALLS_PER_S))
            self._calls, self._since = 0, now
        self._calls += 1
        return self._wait_s
