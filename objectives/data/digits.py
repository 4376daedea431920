"""The 1,797 handwritten digits of 8x8 pixels that come with scikit-learn; no download."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from objectives.data.dataset import Dataset, DatasetInfo, divide, stratified

if TYPE_CHECKING:
    from objectives.spec import DatasetSpec

INFO = DatasetInfo(image=(1, 8, 8), classes=10, mean=(0.3056,), std=(0.3765,))

_TEST_COUNT = 360
"""20 % of the images, the same ones in every study."""

_TEST_SEED = 0


def load(spec: DatasetSpec) -> Dataset:
    """Load and divide the digits.

    Raises:
        DatasetError: `limit` or `validation` cannot be met.

    Source: `sklearn.datasets.load_digits` (UCI Optical Recognition of Handwritten Digits, its test part).
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = bunch.images.astype(np.uint8)[:, np.newaxis]
    labels = bunch.target.astype(np.int64)
    test, training = stratified(labels, _TEST_COUNT, _TEST_SEED, "digits")
    return divide(spec, INFO, (images[training], labels[training]), (images[test], labels[test]), brightest=16)
