"""Versions that decide whether two results can be compared bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

DECISIVE = ("torch", "snntorch", "numba")


def installed() -> dict[str, str]:
    """Versions of the decisive packages here, without local parts such as `+cpu`."""
    return {name: version(name).partition("+")[0] for name in DECISIVE}


def differing(study: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """The decisive packages whose versions differ, as `torch 2.12.0 instead of 2.13.0`."""
    return [
        f"{name} {here.get(name, 'unknown')} instead of {wanted}"
        for name, wanted in study.items()
        if here.get(name) != wanted
    ]
