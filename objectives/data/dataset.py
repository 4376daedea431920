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
    """What is known of a data set before it is loaded.

    Attributes:
        image: Shape `(channels, height, width)` of an image; of events, polarities and sensor.
        classes: Number of classes.
        mean: Mean of each channel over the training set, of values from 0 to 1; empty for events.
        std: Standard deviation of each channel, likewise.
        is_events: Recordings of events instead of images.
    """

    image: tuple[int, int, int]
    classes: int
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    is_events: bool = False


@dataclass(frozen=True)
class Split:
    """Some samples of a data set.

    Attributes:
        images: `(N, C, H, W)` float32 from 0 to 1; of recordings, frames `(N, frames, C, H, W)` uint8 of 0 and 1.
        labels: `(N,)` int64.
    """

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
    train, validation = parted(spec, labels)
    return Dataset(
        spec.name,
        info,
        _split((images[train], labels[train]), brightest),
        _split((images[validation], labels[validation]), brightest),
        _split(test, brightest),
    )


def parted(spec: DatasetSpec, labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the training and of the validation samples among the `labels` of the training set.

    Raises:
        DatasetError: There are fewer than `limit`, or too few to be divided by class.
    """
    chosen = np.arange(len(labels))
    if spec.limit is not None and spec.limit != len(labels):
        chosen, _ = stratified(labels, spec.limit, spec.split_seed, f"dataset.limit: {spec.limit}")
    validation_count = round(len(chosen) * spec.validation)
    held, rest = stratified(
        labels[chosen], validation_count, spec.split_seed, f"dataset.validation: {spec.validation:g}"
    )
    return chosen[rest], chosen[held]


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
    scaled = torch.from_numpy(images.astype(np.float32)).div_(brightest)
    return Split(scaled, torch.from_numpy(labels.astype(np.int64)))
