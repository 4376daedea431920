"""MNIST from its four idx files: read from a folder, else downloaded into it; always checked."""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from objectives.data.dataset import Dataset, DatasetInfo, Labelled, divide
from objectives.errors import DatasetError

if TYPE_CHECKING:
    from objectives.spec import DatasetSpec

INFO = DatasetInfo(image=(1, 28, 28), classes=10)

CHECKSUMS = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
"""MD5 of each file's *uncompressed* content, so that a re-packed `.gz` is as good as the original."""

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


def load(spec: DatasetSpec, folder: Path, checksums: Mapping[str, str] = CHECKSUMS) -> Dataset:
    """Load and divide MNIST.

    Raises:
        DatasetError: A file is missing and cannot be downloaded, or is corrupted.

    Source: LeCun, Cortes, Burges, The MNIST database of handwritten digits.
    """
    training = _labelled(folder, "train", checksums)
    test = _labelled(folder, "t10k", checksums)
    return divide(spec, INFO, training, test, brightest=255)


def parse_idx(content: bytes, path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Parse an idx file: two zero bytes, type 8 (unsigned byte), number of dimensions, sizes (big-endian), data.

    Raises:
        DatasetError: The header or the length is not that of an idx file of so many dimensions.
    """
    start = 4 + 4 * dimensions
    if content[:4] != bytes((0, 0, 8, dimensions)) or len(content) < start:
        raise _corrupted(path, f"no idx header of {dimensions} dimensions of bytes")
    shape = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4))
    if len(content) - start != math.prod(shape):
        raise _corrupted(path, f"{len(content) - start} bytes of data, {math.prod(shape)} announced")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _labelled(folder: Path, part: str, checksums: Mapping[str, str]) -> Labelled:
    images = _read(folder, f"{part}-images-idx3-ubyte", 3, checksums)
    labels = _read(folder, f"{part}-labels-idx1-ubyte", 1, checksums)
    path = folder / f"{part}-labels-idx1-ubyte.gz"
    if len(images) != len(labels) or images.shape[1:] != INFO.image[1:]:
        raise _corrupted(path, f"{len(labels)} labels for images {images.shape}")
    if labels.size and labels.max() >= INFO.classes:
        raise _corrupted(path, f"label {labels.max()} of {INFO.classes} classes")
    return images[:, np.newaxis], labels.astype(np.int64)


def _read(folder: Path, name: str, dimensions: int, checksums: Mapping[str, str]) -> NDArray[np.uint8]:
    path = folder / f"{name}.gz"
    if not path.exists():
        _download(path)
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise _corrupted(path, f"cannot be unpacked: {error}") from error
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != checksums[name]:
        raise _corrupted(path, "its content has another MD5 than MNIST's")
    return parse_idx(content, path, dimensions)


def _download(path: Path) -> None:
    """Fetch one file, from the first mirror that has it; it appears whole or not at all."""
    import pooch

    pooch.get_logger().setLevel("WARNING")
    failures = []
    for mirror in MIRRORS:
        try:
            pooch.retrieve(mirror + path.name, known_hash=None, fname=path.name, path=path.parent)
            return
        except (OSError, ValueError) as error:  # requests' errors are OSErrors
            failures.append(f"{mirror}: {type(error).__name__}")
    raise DatasetError(
        f"{path}: missing, and no mirror could be reached ({'; '.join(failures)}); "
        f"put MNIST's four .gz files into {path.parent}"
    )


def _corrupted(path: Path, problem: str) -> DatasetError:
    return DatasetError(f"{path}: corrupted ({problem}); delete it and run again to download it anew")
