"""Data sets by name; one module each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from objectives.data import digits, mnist
from objectives.data.dataset import Dataset, DatasetInfo, Split
from objectives.errors import DatasetError

if TYPE_CHECKING:
    from objectives.spec import DatasetSpec

__all__ = ["Dataset", "DatasetInfo", "Split", "describe", "load_dataset"]

_KNOWN = {"digits": digits.INFO, "mnist": mnist.INFO}


def describe(name: str) -> DatasetInfo:
    """Image shape and classes of a data set, without loading it.

    Raises:
        DatasetError: No data set has this name.
    """
    if name not in _KNOWN:
        raise DatasetError(f"dataset.name: unknown data set {name!r}; expected {' or '.join(_KNOWN)}")
    return _KNOWN[name]


def load_dataset(spec: DatasetSpec, folder: Path) -> Dataset:
    """Load and divide a data set; `mnist` is downloaded into `folder / "mnist"` where it is not there yet.

    Raises:
        DatasetError: Unknown, missing, corrupted, or too small for `limit` and `validation`.
    """
    describe(spec.name)
    return digits.load(spec) if spec.name == "digits" else mnist.load(spec, folder / "mnist")
