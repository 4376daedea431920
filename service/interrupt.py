"""Ctrl-C while a study is being started: held back until there is a study to resume."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any, Self


class HeldBack:
    """Holds the first SIGINT or SIGTERM back until `release`; a second one acts at once.

    A signal that is ignored here, as in a shell's background job, stays ignored. For the main thread only.
    """

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._came = False

    def __enter__(self) -> Self:
        """Begin to hold back."""
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._hold)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Hold nothing back any more."""
        self._restore()

    def release(self) -> None:
        """Hold nothing back any more.

        Raises:
            KeyboardInterrupt: A signal came meanwhile.
        """
        self._restore()
        if self._came:
            raise KeyboardInterrupt

    def _hold(self, number: int, frame: FrameType | None) -> None:
        if self._came:
            raise KeyboardInterrupt
        self._came = True

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
