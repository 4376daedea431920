"""The hardware model on its own: its example runs, and it needs neither torch nor Optuna nor a database."""

from __future__ import annotations

import doctest
import subprocess
import sys

import hwmodel

ALONE = """
import sys
for name in "torch snntorch optuna sqlalchemy psycopg2 fastapi pydantic objectives service storage".split():
    sys.modules[name] = None  # importing it now fails
import doctest, hwmodel
sys.exit(doctest.testmod(hwmodel).failed)
"""


def test_the_example_runs() -> None:
    outcome = doctest.testmod(hwmodel)
    assert outcome.attempted > 5
    assert outcome.failed == 0


def test_the_example_runs_without_anything_else_installed() -> None:
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
