"""Objective values by name, in a study's order."""

from __future__ import annotations

from collections.abc import Mapping

from objectives.spec import Study
from service.errors import UsageError


def in_order(study: Study, values: Mapping[str, float]) -> list[float]:
    """The values of the study's objectives.

    Raises:
        UsageError: One is missing.
    """
    missing = [name for name in study.objectives if name not in values]
    if missing:
        raise UsageError(
            f"values: {', '.join(missing)} missing; the study's objectives are {', '.join(study.objectives)}"
        )
    return [values[name] for name in study.objectives]
