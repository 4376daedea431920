"""How people call this program where they are, for the commands that messages suggest."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def program() -> str:
    """`spikefront` where the shell finds it, else the path of the one that runs, such as `.venv/bin/spikefront`."""
    own = Path(sys.argv[0])
    if own.name != "spikefront" or shutil.which("spikefront"):
        return "spikefront"
    return os.path.relpath(own)
