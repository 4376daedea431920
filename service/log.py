"""Logging, set up once: a line an entry with its action, study, trial and worker."""

from __future__ import annotations

import logging
import sys

_FIELDS = ("action", "study", "trial", "worker")


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """The message, with what is known about where it belongs."""
        line = super().format(record)
        known = [f"{name}={getattr(record, name)}" for name in _FIELDS if hasattr(record, name)]
        return f"{line} [{' '.join(known)}]" if known else line


def set_up(level: int = logging.INFO) -> None:
    """Send log lines to stderr; libraries only from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("service", "objectives", "hwmodel", "storage", "__main__"):
        logging.getLogger(name).setLevel(level)
    logging.getLogger("optuna").handlers.clear()
    logging.getLogger("optuna").setLevel(logging.WARNING)
