"""MNIST: 60,000 and 10,000 handwritten digits of 28x28 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from objectives.data.dataset import Dataset, DatasetInfo
from objectives.data.files import Published
from objectives.data.idx import load_idx

if TYPE_CHECKING:
    from objectives.spec import DatasetSpec

INFO = DatasetInfo(image=(1, 28, 28), classes=10, mean=(0.1307,), std=(0.3081,))

_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


def _published(name: str, md5: str, content_md5: str) -> Published:
    return Published(name, tuple(mirror + name for mirror in _MIRRORS), md5, content_md5)


FILES = (
    _published("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
    _published("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
    _published("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
    _published("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
)
"""Checksums of the `.gz` files as torchvision 0.29 states them."""


def load(spec: DatasetSpec, path: Path, files: Sequence[Published] = FILES) -> Dataset:
    """Load and divide MNIST.

    Raises:
        DatasetError: A file is missing and cannot be downloaded, or is corrupted.

    Source: LeCun, Cortes, Burges, The MNIST database of handwritten digits.
    """
    return load_idx(spec, path, files, INFO)
