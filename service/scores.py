"""Objective values by name: in a study's order, and by how much they miss what a feasible trial keeps."""

from __future__ import annotations

from collections.abc import Mapping

from objectives.spec import Ceiling, Study
from service import wire
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


def constraints_of(study: Study, floor: float, message: wire.Complete) -> dict[str, float]:
    """What a feasible trial keeps at 0 or below, by name.

    Raises:
        UsageError: A value is missing that the study limits.
    """
    constraints = {"floor": floor - message.values["accuracy"], **excess(study, message.values)}
    if study.constraints.fits_device:
        constraints["fits_device"] = 0.0 if message.fits_device else 1.0
    if study.accelerator.search is not None:
        constraints["fits_budget"] = 0.0 if message.fits_budget else 1.0
    if study.accelerator.mode != "ideal":
        constraints["hazards"] = float(message.hazards)
    return constraints


def excess(study: Study, values: Mapping[str, float]) -> dict[str, float]:
    """By what share of each ceiling a trial is above it; below 0 within it.

    Raises:
        UsageError: A value is missing that the study limits.
    """
    return {f"max_{name}": _figure(name, values) / limit - 1 for name, limit in study.constraints.at_most.items()}


def _figure(name: Ceiling, values: Mapping[str, float]) -> float:
    """Latency [ms], energy of an image [uJ], or power [W]: energy over latency, as of one image after the other."""
    try:
        return values["energy_uj"] / values["latency_ms"] * 1e-3 if name == "power_w" else values[name]
    except KeyError as missing:
        raise UsageError(f"values: {missing.args[0]} missing; the study limits {name}") from missing
