"""Fashion-MNIST: 60,000 and 10,000 pictures of clothes of 28x28 pixels, in MNIST's format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from objectives.data.dataset import Dataset, DatasetInfo
from objectives.data.files import Published
from objectives.data.idx import load_idx

if TYPE_CHECKING:
    from objectives.spec import DatasetSpec

INFO = DatasetInfo(image=(1, 28, 28), classes=10, mean=(0.2860,), std=(0.3530,))

_MIRRORS = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
)


def _published(name: str, md5: str) -> Published:
    return Published(name, tuple(mirror + name for mirror in _MIRRORS), md5)


FILES = (
    _published("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
    _published("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
    _published("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
    _published("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
)
"""Checksums as torchvision 0.29 states them."""


def load(spec: DatasetSpec, path: Path, files: Sequence[Published] = FILES) -> Dataset:
    """Load and divide Fashion-MNIST.

    Raises:
        DatasetError: A file is missing and cannot be downloaded, or is corrupted.

    Source: Xiao, Rasul, Vollgraf, Fashion-MNIST (arXiv 1708.07747).
    """
    return load_idx(spec, path, files, INFO)
