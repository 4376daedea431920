"""SVHN, cropped: 73,257 and 26,032 house-number digits of 32x32 RGB pixels, in MATLAB files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from objectives.data.dataset import Dataset, DatasetInfo, Labelled, divide
from objectives.data.files import Folder, Published
from objectives.data.matfile import read_arrays

if TYPE_CHECKING:
    from objectives.spec import DatasetSpec

INFO = DatasetInfo(
    image=(3, 32, 32),
    classes=10,
    mean=(0.4376821, 0.4437697, 0.47280442),
    std=(0.19803012, 0.20101562, 0.19703614),
)

_MIRRORS = ("https://ufldl.stanford.edu/housenumbers/", "http://ufldl.stanford.edu/housenumbers/")


def _published(name: str, md5: str) -> Published:
    return Published(name, tuple(mirror + name for mirror in _MIRRORS), md5)


FILES = (
    _published("train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
    _published("test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
)
"""Checksums as torchvision 0.29 states them."""


def load(spec: DatasetSpec, path: Path, files: Sequence[Published] = FILES) -> Dataset:
    """Load and divide SVHN; its extra set is not used. Labels are the digits themselves.

    Raises:
        DatasetError: A file is missing and cannot be downloaded, or is corrupted.

    Source: Netzer et al., Reading Digits in Natural Images (NIPS workshop 2011); for non-commercial use only.
    """
    folder = Folder.of(spec, path)
    training, test = (_labelled(folder, file) for file in files)
    return divide(spec, INFO, training, test, brightest=255)


def _labelled(folder: Folder, published: Published) -> Labelled:
    """`X` (32, 32, 3, N) and `y` (N, 1) of one file, where the digit 0 is label 10."""
    path = folder.file(published)
    images, labels = _variables(folder, path)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (32, 32, 3):
        raise folder.broken(path, f"X is {images.dtype} {images.shape}, expected uint8 (32, 32, 3, N)")
    if labels.shape != (images.shape[3], 1) or labels.dtype.kind not in "ui":
        raise folder.broken(path, f"y is {labels.dtype} {labels.shape}, expected a label for each of the images of X")
    if labels.size and (labels.min() < 1 or labels.max() > 10):
        raise folder.broken(path, f"labels from {labels.min()} to {labels.max()}, expected 1 to 10 (10 is the digit 0)")
    return np.ascontiguousarray(images.transpose(3, 2, 0, 1)), labels[:, 0].astype(np.int64) % 10


def _variables(folder: Folder, path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    try:
        found = read_arrays(path.read_bytes(), ("X", "y"))
    except ValueError as error:
        raise folder.broken(path, str(error)) from error
    if len(found) < 2:
        raise folder.broken(path, f"holds {' and '.join(found) or 'neither'} of X and y")
    return found["X"], found["y"]
