"""Data sets in four idx files, as MNIST began it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from objectives.data.dataset import Dataset, DatasetInfo, Labelled, divide
from objectives.data.files import Folder, Published

if TYPE_CHECKING:
    from objectives.spec import DatasetSpec


def load_idx(spec: DatasetSpec, path: Path, files: Sequence[Published], info: DatasetInfo) -> Dataset:
    """Load and divide a data set of four `.gz` files.

    Args:
        spec: What to load.
        path: Folder of the files.
        files: Training images and labels, test images and labels.
        info: Shape and classes.

    Raises:
        DatasetError: A file is missing, altered or cut short, or a label is out of range.
    """
    folder = Folder.of(spec, path)
    training, test = (_labelled(folder, files[at], files[at + 1], info) for at in (0, 2))
    return divide(spec, info, training, test, brightest=255)


def parse_idx(content: bytes, dimensions: int) -> NDArray[np.uint8]:
    """Parse an idx file: two zero bytes, type 8 (unsigned byte), number of dimensions, sizes (big-endian), data.

    Raises:
        ValueError: The header or the length is not that of an idx file of so many dimensions.

    Source: LeCun, Cortes, Burges, The MNIST database of handwritten digits, "File formats".
    """
    start = 4 + 4 * dimensions
    if content[:4] != bytes((0, 0, 8, dimensions)) or len(content) < start:
        raise ValueError(f"no idx header of {dimensions} dimensions of bytes")
    shape = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4))
    if len(content) - start != math.prod(shape):
        raise ValueError(f"{len(content) - start} bytes of data, {math.prod(shape)} announced")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _labelled(folder: Folder, of_images: Published, of_labels: Published, info: DatasetInfo) -> Labelled:
    images, labels = _read(folder, of_images, 3), _read(folder, of_labels, 1)
    path = folder.path / of_labels.name
    if len(images) != len(labels) or images.shape[1:] != info.image[1:]:
        raise folder.broken(path, f"{len(labels)} labels for images {images.shape}")
    if labels.size and labels.max() >= info.classes:
        raise folder.broken(path, f"label {labels.max()} of {info.classes} classes")
    return images[:, np.newaxis], labels.astype(np.int64)


def _read(folder: Folder, published: Published, dimensions: int) -> NDArray[np.uint8]:
    try:
        return parse_idx(folder.unzipped(published), dimensions)
    except ValueError as error:
        raise folder.broken(folder.path / published.name, str(error)) from error
