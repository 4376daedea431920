"""CIFAR-10: 50,000 and 10,000 pictures of 32x32 RGB pixels, in its binary version."""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from objectives.data.dataset import Dataset, DatasetInfo, Labelled, divide
from objectives.data.files import Folder, Published

if TYPE_CHECKING:
    from objectives.spec import DatasetSpec

INFO = DatasetInfo(image=(3, 32, 32), classes=10, mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))

ARCHIVE = Published(
    "cifar-10-binary.tar.gz",
    (
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz",
    ),
    "c32a1d4ab5d03f1284b67883e8d87530",
)
"""Checksum as stated on https://www.cs.toronto.edu/~kriz/cifar.html."""

TRAINING = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST = "test_batch.bin"

_RECORD = 1 + 3 * 32 * 32
"""Bytes of an image: the label, then red, green and blue, each row by row."""


def load(spec: DatasetSpec, path: Path, archive: Published = ARCHIVE) -> Dataset:
    """Load and divide CIFAR-10.

    Under `verify: false` unpacked batches are read where there are any; some of the five suffice.

    Raises:
        DatasetError: A file is missing and cannot be downloaded, or is corrupted.

    Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009).
    """
    folder = Folder.of(spec, path)
    unpacked = [name for name in (*TRAINING, TEST) if (path / name).is_file()]
    if unpacked and spec.verify and folder.is_copy and not (path / archive.name).is_file():
        raise folder.missing(
            path / archive.name, "unpacked batches have no published checksum: verify: false reads them"
        )
    if unpacked and not spec.verify:
        training, test = _unpacked(folder, unpacked)
    else:
        training, test = _archived(folder, folder.file(archive))
    return divide(spec, INFO, training, test, brightest=255)


def _unpacked(folder: Folder, names: list[str]) -> tuple[Labelled, Labelled]:
    """The batches that are there, the test batch among them."""
    if TEST not in names or len(names) == 1:
        raise folder.missing(folder.path / (TRAINING[0] if TEST in names else TEST))
    parts = {name: _labelled(folder, folder.path / name, (folder.path / name).read_bytes()) for name in names}
    return _joined(parts)


def _archived(folder: Folder, path: Path) -> tuple[Labelled, Labelled]:
    """All batches, read out of the archive without unpacking it."""
    parts = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                content = archive.extractfile(member) if name in (*TRAINING, TEST) else None
                if content is not None:
                    parts[name] = _labelled(folder, path, content.read())
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise folder.broken(path, f"cannot be unpacked: {error}") from error
    if len(parts) != len(TRAINING) + 1:
        raise folder.broken(path, f"holds {', '.join(parts) or 'no batch'}, expected five batches and {TEST}")
    return _joined(parts)


def _joined(parts: dict[str, Labelled]) -> tuple[Labelled, Labelled]:
    batches = [parts[name] for name in TRAINING if name in parts]
    images, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    return (images, labels), parts[TEST]


def _labelled(folder: Folder, path: Path, content: bytes) -> Labelled:
    if not content or len(content) % _RECORD:
        raise folder.broken(path, f"a batch of {len(content)} bytes, expected records of {_RECORD}")
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    labels = records[:, 0].astype(np.int64)
    if labels.max() >= INFO.classes:
        raise folder.broken(path, f"label {labels.max()} of {INFO.classes} classes")
    return records[:, 1:].reshape(-1, *INFO.image), labels
