"""Versions that decide whether two results can be compared bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version

DECISIVE = ("torch", "snntorch", "numba")


def installed() -> dict[str, str]:
    """Versions of the decisive packages here, without local parts such as `+cpu`."""
    return {name: _version(name) for name in DECISIVE}


@cache
def _version(name: str) -> str:
    return version(name).partition("+")[0]


def differing(study: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """The decisive packages whose versions differ, as `torch 2.12.0 instead of 2.13.0`."""
    return [
        f"{name} {here.get(name, 'unknown')} instead of {wanted}"
        for name, wanted in study.items()
        if here.get(name) != wanted
    ]
