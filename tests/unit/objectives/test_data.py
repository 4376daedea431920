from __future__ import annotations

import gzip
import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from objectives.data import describe, load_dataset, mnist
from objectives.data.files import Published
from objectives.errors import DatasetError
from objectives.spec import DatasetName, DatasetSpec

TRAIN, TEST = 60, 20


def idx(array: NDArray[np.uint8]) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


@pytest.fixture
def contents() -> dict[str, bytes]:
    random = np.random.default_rng(0)
    files = {}
    for part, count in (("train", TRAIN), ("t10k", TEST)):
        files[f"{part}-images-idx3-ubyte"] = idx(random.integers(0, 256, (count, 28, 28), dtype=np.uint8))
        files[f"{part}-labels-idx1-ubyte"] = idx((np.arange(count) % 10).astype(np.uint8))
    return files


def published(contents: dict[str, bytes]) -> list[Published]:
    """The four files with the checksums of these contents."""
    return [
        Published(f"{name}.gz", (), "of another packing", hashlib.md5(content).hexdigest())
        for name, content in contents.items()
    ]


@pytest.fixture
def files(contents: dict[str, bytes]) -> list[Published]:
    return published(contents)


@pytest.fixture
def folder(tmp_path: Path, contents: dict[str, bytes]) -> Path:
    part = tmp_path / "part"
    part.mkdir()
    for name, content in contents.items():
        (part / f"{name}.gz").write_bytes(gzip.compress(content))
    return part


def spec(**fields: Any) -> DatasetSpec:
    return DatasetSpec.model_validate({"name": "mnist", "validation": 0.25, **fields})


def test_mnist_is_read_scaled_and_divided(folder: Path, contents: dict[str, bytes], files: Sequence[Published]) -> None:
    data = mnist.load(spec(), folder, files)
    assert [len(part.labels) for part in (data.train, data.validation, data.test)] == [45, 15, TEST]
    assert data.train.images.shape == (45, 1, 28, 28)
    assert (data.train.images.dtype, data.train.labels.dtype) == (torch.float32, torch.int64)
    raw = np.frombuffer(contents["t10k-images-idx3-ubyte"], np.uint8, offset=16).reshape(TEST, 1, 28, 28)
    np.testing.assert_array_equal(data.test.images.numpy(), raw.astype(np.float32) / 255)
    assert data.test.labels.tolist() == [index % 10 for index in range(TEST)]


def test_images_keep_their_labels(folder: Path, contents: dict[str, bytes], files: Sequence[Published]) -> None:
    raw = np.frombuffer(contents["train-images-idx3-ubyte"], np.uint8, offset=16).reshape(TRAIN, -1)
    labels = {image.tobytes(): index % 10 for index, image in enumerate(raw)}
    data = mnist.load(spec(), folder, files)
    seen = set()
    for part in (data.train, data.validation):
        for image, label in zip(part.images, part.labels, strict=True):
            key = (image * 255).round().to(torch.uint8).numpy().tobytes()
            assert labels[key] == int(label)
            seen.add(key)
    assert len(seen) == TRAIN  # train and validation share nothing and lose nothing


def test_limit_is_stratified_and_follows_the_split_seed(folder: Path, files: Sequence[Published]) -> None:
    def drawn(seed: int) -> list[bytes]:
        data = mnist.load(spec(limit=40, split_seed=seed), folder, files)
        assert (len(data.train.labels), len(data.validation.labels)) == (30, 10)
        assert torch.cat((data.train.labels, data.validation.labels)).bincount().tolist() == [4] * 10
        return [image.numpy().tobytes() for image in torch.cat((data.train.images, data.validation.images))]

    assert drawn(1) == drawn(1)
    assert len(set(drawn(1))) == 40
    assert set(drawn(1)) != set(drawn(2))  # other images, not only another order


def test_limits_that_cannot_be_met(folder: Path, files: Sequence[Published]) -> None:
    with pytest.raises(DatasetError, match=r"dataset\.limit: 61: cannot draw 61 of 60 images"):
        mnist.load(spec(limit=61), folder, files)
    with pytest.raises(DatasetError, match=r"dataset\.validation: 0\.1: cannot draw 2 of 20 images"):
        mnist.load(spec(limit=20, validation=0.1), folder, files)
    assert len(mnist.load(spec(limit=60), folder, files).train.labels) == 45


@pytest.mark.parametrize("how", ["truncated gzip", "flipped byte", "no gzip", "empty", "other content"])
def test_a_corrupted_file_is_named(folder: Path, files: Sequence[Published], how: str) -> None:
    path = folder / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(
        {
            "truncated gzip": whole[:middle],
            "flipped byte": whole[:middle] + bytes([whole[middle] ^ 16]) + whole[middle + 1 :],
            "no gzip": b"<html>404</html>",
            "empty": b"",
            "other content": gzip.compress(idx(np.zeros((TRAIN, 28, 28), np.uint8))),
        }[how]
    )
    with pytest.raises(DatasetError, match=r"train-images-idx3-ubyte\.gz: corrupted .*; delete it and run again"):
        mnist.load(spec(), folder, files)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("t10k-images-idx3-ubyte", b"\0\0\x09\x03" + bytes(12), "no idx header of 3 dimensions"),
        ("t10k-images-idx3-ubyte", b"\0\0\x08\x03\0", "no idx header of 3 dimensions"),
        ("t10k-images-idx3-ubyte", idx(np.zeros((2, 28, 28), np.uint8))[:-1], "1567 bytes of data, 1568 announced"),
        ("t10k-images-idx3-ubyte", idx(np.zeros((TEST, 27, 28), np.uint8)), "labels for images"),
        ("t10k-labels-idx1-ubyte", idx(np.zeros(TEST - 1, np.uint8)), "19 labels for images"),
        ("t10k-labels-idx1-ubyte", idx(np.full(TEST, 10, np.uint8)), "label 10 of 10 classes"),
        ("t10k-labels-idx1-ubyte", idx(np.zeros((TEST, 1), np.uint8)), "no idx header of 1 dimension"),
    ],
)
def test_headers_are_checked(folder: Path, contents: dict[str, bytes], name: str, content: bytes, problem: str) -> None:
    (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    with pytest.raises(DatasetError, match=problem):
        mnist.load(spec(), folder, published({**contents, name: content}))


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_partial_copies_are_read_unverified(folder: Path, name: str) -> None:
    data = load_dataset(spec(name=name, root=folder.name, verify=False), folder.parent)
    assert (data.name, len(data.train.labels), len(data.test.labels)) == (name, 45, TEST)
    with pytest.raises(
        DatasetError, match=r"ubyte\.gz: corrupted .*MD5.*; put a whole copy there, or set dataset\.verify"
    ):
        load_dataset(spec(name=name, root=folder.name), folder.parent)


def test_digits() -> None:
    data = load_dataset(DatasetSpec(name="digits"), Path("unused"))
    assert [len(part.labels) for part in (data.train, data.validation, data.test)] == [1150, 287, 360]
    assert data.info == describe("digits")
    assert data.train.images.shape[1:] == data.info.image
    assert (float(data.train.images.min()), float(data.train.images.max())) == (0.0, 1.0)
    for part in (data.train, data.validation, data.test):
        shares = part.labels.bincount() / len(part.labels)
        assert float(shares.min()) > 0.08


def test_digits_test_set_is_the_same_under_every_split_seed() -> None:
    one, other = (load_dataset(DatasetSpec(name="digits", split_seed=seed), Path("unused")) for seed in (0, 1))
    assert torch.equal(one.test.images, other.test.images)
    assert not torch.equal(one.validation.images, other.validation.images)


def test_unknown_data_set() -> None:
    with pytest.raises(DatasetError, match="unknown data set 'omniglot'; expected digits or mnist or"):
        describe("omniglot")


def test_every_name_of_a_study_is_known() -> None:
    infos = {name: describe(name) for name in get_args(DatasetName)}
    assert {info.classes for info in infos.values()} == {10, 11, 20}
    for info in infos.values():
        assert len(info.mean) == len(info.std) == (0 if info.is_events else info.image[0])


def test_figures_of_the_digits_are_those_of_their_training_set() -> None:
    data = load_dataset(DatasetSpec(name="digits"), Path("unused"))
    pixels = torch.cat((data.train.images, data.validation.images))
    assert round(float(pixels.mean()), 4) == data.info.mean[0]
    assert round(float(pixels.std(correction=0)), 4) == data.info.std[0]


def test_describing_loads_neither_torch_nor_scikit_learn() -> None:
    code = (
        "import sys; from objectives.data import describe; describe('mnist'), describe('shd')\n"
        "sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
