"""What a data set is, and how its training part is divided. Torch is loaded only with a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from objectives.errors import DatasetError

if TYPE_CHECKING:
    from torch import Tensor

    from objectives.spec import DatasetSpec

Labelled = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Raw pixels `(N, C, H, W)` and classes `(N,)`."""


@dataclass(frozen=True)
class DatasetInfo:
    """Shape `(channels, height, width)` of an image and number of classes."""

    image: tuple[int, int, int]
    classes: int


@dataclass(frozen=True)
class Split:
    """Images `(N, C, H, W)` float32 from 0 to 1 and labels `(N,)` int64."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Dataset:
    """A data set divided: the search sees `train` and `validation`; `test` is held back."""

    name: str
    info: DatasetInfo
    train: Split
    validation: Split
    test: Split


def divide(spec: DatasetSpec, info: DatasetInfo, training: Labelled, test: Labelled, *, brightest: int) -> Dataset:
    """Draw `limit` images of the training set, part them into train and validation, both stratified by `split_seed`.

    Args:
        spec: Name, limit, validation share and seed.
        info: Shape and classes.
        training: The training set, of which the validation set is taken.
        test: The held-back set, used as it is.
        brightest: Pixel value that becomes 1.0.

    Raises:
        DatasetError: The training set is smaller than `limit`, or too small to be divided by class.
    """
    images, labels = training
    chosen = np.arange(len(labels))
    if spec.limit is not None and spec.limit != len(labels):
        chosen, _ = stratified(labels, spec.limit, spec.split_seed, f"dataset.limit: {spec.limit}")
    validation_count = round(len(chosen) * spec.validation)
    held, rest = stratified(
        labels[chosen], validation_count, spec.split_seed, f"dataset.validation: {spec.validation:g}"
    )
    train, validation = chosen[rest], chosen[held]
    return Dataset(
        spec.name,
        info,
        _split((images[train], labels[train]), brightest),
        _split((images[validation], labels[validation]), brightest),
        _split(test, brightest),
    )


def stratified(
    labels: NDArray[np.int64], count: int, seed: int, setting: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of `count` samples in the proportions of the classes, shuffled by `seed`, and of the others.

    Raises:
        DatasetError: The samples do not suffice; the message starts with `setting`.
    """
    from sklearn.model_selection import train_test_split

    try:
        chosen, others = train_test_split(np.arange(len(labels)), train_size=count, random_state=seed, stratify=labels)
    except ValueError as error:
        raise DatasetError(
            f"{setting}: cannot draw {count} of {len(labels)} images with every class among them; change it"
        ) from error
    return chosen, others


def _split(labelled: Labelled, brightest: int) -> Split:
    import torch

    images, labels = labelled
    return Split(torch.from_numpy(images.astype(np.float32)) / brightest, torch.from_numpy(labels.astype(np.int64)))
