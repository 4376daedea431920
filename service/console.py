"""Where commands print: results on stdout, progress on stderr, JSON for programs."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated, Any

import typer
from rich.console import Console

PIPE_WIDTH = 160
"""Columns where no terminal says how wide it is."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def _console(is_error: bool) -> Console:
    is_known = (sys.stderr if is_error else sys.stdout).isatty() or "COLUMNS" in os.environ
    width = None if is_known else PIPE_WIDTH
    return Console(stderr=is_error, highlight=False, markup=False, emoji=False, width=width)


out = _console(is_error=False)
progress = _console(is_error=True)


def print_json(value: Any) -> None:
    """Print a value as indented JSON on stdout; times and paths as text."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")
