from __future__ import annotations

import gzip
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import pytest
import torch
from numpy.typing import NDArray

from objectives.data import describe, load_dataset, mnist
from objectives.errors import DatasetError
from objectives.spec import DatasetSpec

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


@pytest.fixture
def checksums(contents: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}


@pytest.fixture
def folder(tmp_path: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
    return tmp_path


def spec(**fields: Any) -> DatasetSpec:
    return DatasetSpec(**{"name": "mnist", "validation": 0.25, **fields})


def test_mnist_is_read_scaled_and_divided(folder: Path, contents: dict[str, bytes], checksums: dict[str, str]) -> None:
    data = mnist.load(spec(), folder, checksums)
    assert [len(part.labels) for part in (data.train, data.validation, data.test)] == [45, 15, TEST]
    assert data.train.images.shape == (45, 1, 28, 28)
    assert (data.train.images.dtype, data.train.labels.dtype) == (torch.float32, torch.int64)
    raw = np.frombuffer(contents["t10k-images-idx3-ubyte"], np.uint8, offset=16).reshape(TEST, 1, 28, 28)
    np.testing.assert_array_equal(data.test.images.numpy(), raw.astype(np.float32) / 255)
    assert data.test.labels.tolist() == [index % 10 for index in range(TEST)]


def test_images_keep_their_labels(folder: Path, contents: dict[str, bytes], checksums: dict[str, str]) -> None:
    raw = np.frombuffer(contents["train-images-idx3-ubyte"], np.uint8, offset=16).reshape(TRAIN, -1)
    labels = {image.tobytes(): index % 10 for index, image in enumerate(raw)}
    data = mnist.load(spec(), folder, checksums)
    seen = set()
    for part in (data.train, data.validation):
        for image, label in zip(part.images, part.labels, strict=True):
            key = (image * 255).round().to(torch.uint8).numpy().tobytes()
            assert labels[key] == int(label)
            seen.add(key)
    assert len(seen) == TRAIN  # train and validation share nothing and lose nothing


def test_limit_is_stratified_and_follows_the_split_seed(folder: Path, checksums: dict[str, str]) -> None:
    def drawn(seed: int) -> list[bytes]:
        data = mnist.load(spec(limit=40, split_seed=seed), folder, checksums)
        assert (len(data.train.labels), len(data.validation.labels)) == (30, 10)
        assert torch.cat((data.train.labels, data.validation.labels)).bincount().tolist() == [4] * 10
        return [image.numpy().tobytes() for image in torch.cat((data.train.images, data.validation.images))]

    assert drawn(1) == drawn(1)
    assert len(set(drawn(1))) == 40
    assert set(drawn(1)) != set(drawn(2))  # other images, not only another order


def test_limits_that_cannot_be_met(folder: Path, checksums: dict[str, str]) -> None:
    with pytest.raises(DatasetError, match=r"dataset\.limit: 61: cannot draw 61 of 60 images"):
        mnist.load(spec(limit=61), folder, checksums)
    with pytest.raises(DatasetError, match=r"dataset\.validation: 0\.1: cannot draw 2 of 20 images"):
        mnist.load(spec(limit=20, validation=0.1), folder, checksums)
    assert len(mnist.load(spec(limit=60), folder, checksums).train.labels) == 45


@pytest.mark.parametrize("how", ["truncated gzip", "flipped byte", "no gzip", "empty", "other content"])
def test_a_corrupted_file_is_named(folder: Path, checksums: dict[str, str], how: str) -> None:
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
        mnist.load(spec(), folder, checksums)


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
def test_headers_are_checked(folder: Path, checksums: dict[str, str], name: str, content: bytes, problem: str) -> None:
    (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    with pytest.raises(DatasetError, match=problem):
        mnist.load(spec(), folder, {**checksums, name: hashlib.md5(content).hexdigest()})


def test_missing_files_come_from_the_second_mirror_if_the_first_fails(
    tmp_path: Path, contents: dict[str, bytes], checksums: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def retrieve(url: str, known_hash: None, fname: str, path: Path) -> str:
        asked.append(url)
        if url.startswith(mnist.MIRRORS[0]):
            raise ConnectionError("unreachable")
        path.mkdir(parents=True, exist_ok=True)
        (path / fname).write_bytes(gzip.compress(contents[fname.removesuffix(".gz")]))
        return str(path / fname)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    data = mnist.load(spec(), tmp_path / "new" / "mnist", checksums)
    assert len(data.test.labels) == TEST
    assert asked == [mirror + f"{name}.gz" for name in contents for mirror in mnist.MIRRORS]
    mnist.load(spec(), tmp_path / "new" / "mnist", checksums)
    assert len(asked) == 8  # the second load reads the folder


def test_without_a_mirror_the_message_says_where_to_put_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def retrieve(*args: object, **kwargs: object) -> str:
        raise ConnectionError("unreachable")

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(
        DatasetError,
        match=r"train-images-idx3-ubyte\.gz: missing, and no mirror .*put MNIST's four \.gz files into",
    ):
        load_dataset(spec(), tmp_path)


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
    with pytest.raises(DatasetError, match="unknown data set 'svhn'; expected digits or mnist"):
        describe("svhn")


def test_describing_loads_neither_torch_nor_scikit_learn() -> None:
    code = (
        "import sys; from objectives.data import describe; describe('mnist')\n"
        "sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
