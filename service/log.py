"""Logging, set up once: a line an entry with its action, study, trial and worker."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

_FIELDS = ("action", "study", "trial", "worker")


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """The message, with what is known about where it belongs."""
        line = super().format(record)
        known = [f"{name}={getattr(record, name)}" for name in _FIELDS if hasattr(record, name)]
        return f"{line} [{' '.join(known)}]" if known else line


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is at the time, so that a live view on the terminal stays whole."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        """Today's standard error."""
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        raise AttributeError("the stream is always sys.stderr")


def set_up(level: int = logging.INFO) -> None:
    """Send log lines to stderr; libraries only from warnings on."""
    handler = _Stderr()
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("service", "objectives", "hwmodel", "storage", "__main__"):
        logging.getLogger(name).setLevel(level)
