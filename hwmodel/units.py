"""Units at the boundary: watts, which mypy keeps apart from bare numbers."""

from __future__ import annotations

from typing import NewType

Watts = NewType("Watts", float)
