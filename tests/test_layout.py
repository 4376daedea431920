"""The four literal import names belong to this project alone, and every test folder is a package."""

from __future__ import annotations

import importlib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["service", "objectives", "hwmodel", "storage"])
def test_a_package_is_ours(name: str) -> None:
    module = importlib.import_module(name)
    assert Path(str(module.__file__)).parent == ROOT / name
    assert (ROOT / name / "py.typed").exists()
    assert set(packages_distributions().get(name, [])) <= {"spikefront"}


def test_every_test_folder_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "tests").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []
