"""Data sets by name; one module each, and one for all recordings of events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from objectives.data import cifar10, digits, events, fashion, mnist, svhn
from objectives.data.dataset import Dataset, DatasetInfo, Split
from objectives.errors import DatasetError

if TYPE_CHECKING:
    from objectives.spec import DatasetSpec

__all__ = ["Dataset", "DatasetInfo", "Split", "describe", "load_dataset"]

_LOADERS: Mapping[str, Callable[[DatasetSpec, Path], Dataset]] = {
    "digits": lambda spec, _: digits.load(spec),
    "mnist": mnist.load,
    "fashion-mnist": fashion.load,
    "svhn": svhn.load,
    "cifar10": cifar10.load,
    **dict.fromkeys(events.SETS, events.load),
}

_KNOWN = {
    "digits": digits.INFO,
    "mnist": mnist.INFO,
    "fashion-mnist": fashion.INFO,
    "svhn": svhn.INFO,
    "cifar10": cifar10.INFO,
    **{name: known.info for name, known in events.SETS.items()},
}


def describe(name: str) -> DatasetInfo:
    """Image shape and classes of a data set, without loading it.

    Raises:
        DatasetError: No data set has this name.
    """
    if name not in _KNOWN:
        raise DatasetError(f"dataset.name: unknown data set {name!r}; expected {' or '.join(_KNOWN)}")
    return _KNOWN[name]


def load_dataset(spec: DatasetSpec, folder: Path) -> Dataset:
    """Load and divide a data set.

    Its files lie in `folder / name` and are downloaded where they are not there yet; with `spec.root` they lie in
    `folder / root`, which is only read.

    Raises:
        DatasetError: Unknown, missing, corrupted, or too small for `limit` and `validation`.
    """
    describe(spec.name)
    return _LOADERS[spec.name](spec, folder / (spec.root or spec.name))
