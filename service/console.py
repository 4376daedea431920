"""Where commands print: results on stdout, progress on stderr, JSON for programs.

A result that cannot be written is an error. News of work that goes on is not worth ending the work for.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any, TextIO, cast

import typer
from rich.console import Console

from service.errors import RunFailed

PIPE_WIDTH = 160
"""Columns where no terminal says how wide it is."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


class _Stream(io.TextIOBase):
    """What `sys.stdout` or `sys.stderr` is at the time."""

    def __init__(self, name: str, *, is_lossy: bool) -> None:
        self._name, self._is_lossy = name, is_lossy

    @property
    def _stream(self) -> TextIO:
        stream = getattr(sys, self._name)
        return cast(TextIO, getattr(stream, "rich_proxied_file", stream))  # past a live view, which prints through here

    @property
    def encoding(self) -> str:  # type: ignore[override]  # an attribute of the base that may be set; not here
        """As the stream's."""
        return self._stream.encoding

    def isatty(self) -> bool:
        """Whether a person looks on."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """As the stream's."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write; what cannot be written is lost, or raises `RunFailed`."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Send off what was written."""
        self._try(lambda: self._stream.flush())

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as error:
            if self._is_lossy:
                return
            if isinstance(error, BrokenPipeError):
                raise  # its reader has left, and knows
            raise RunFailed(unwritten(error)) from error


def _console(name: str, *, is_lossy: bool) -> Console:
    is_known = getattr(sys, name).isatty() or "COLUMNS" in os.environ
    return Console(
        file=cast(TextIO, _Stream(name, is_lossy=is_lossy)),
        highlight=False,
        markup=False,
        emoji=False,
        width=None if is_known else PIPE_WIDTH,
    )


out = _console("stdout", is_lossy=False)
news = _console("stdout", is_lossy=True)
"""Standard output for what a server says of itself while it works."""
progress = _console("stderr", is_lossy=True)


def write(text: str) -> None:
    """Print text on stdout as it is.

    Raises:
        RunFailed: It cannot be written.
    """
    _Stream("stdout", is_lossy=False).write(text)


def complain(words: str) -> None:
    """Print one line on stderr, where it can be written."""
    stream = _Stream("stderr", is_lossy=True)
    stream.write(f"spikefront: {words}\n")
    stream.flush()


def flushed() -> OSError | None:
    """Send off what was written to stdout; what it refuses is given up, and the reason returned."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter tries again at its end
        return error
    return None


def unwritten(error: OSError) -> str:
    """What to say of a stdout that takes nothing."""
    return f"standard output cannot be written: {error.strerror}"


def print_json(value: Any) -> None:
    """Print a value as indented JSON on stdout; times and paths as text."""
    write(json.dumps(value, indent=2, default=str) + "\n")
