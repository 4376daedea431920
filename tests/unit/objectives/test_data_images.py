from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import savemat

from objectives.data import cifar10, load_dataset, svhn
from objectives.data.files import Published
from objectives.errors import DatasetError
from objectives.spec import DatasetSpec

COUNTS = {"train": 40, "test": 20}


def pixels(count: int, seed: int) -> NDArray[np.uint8]:
    """Images (N, C, H, W)."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)


def spec(name: str, **fields: Any) -> DatasetSpec:
    return DatasetSpec.model_validate({"name": name, "validation": 0.25, "root": "copy", "verify": False, **fields})


# --- SVHN ----------------------------------------------------------------------------------------------------------


def write_svhn(copy: Path, part: str, **variables: Any) -> None:
    count = COUNTS[part]
    images = pixels(count, count).transpose(2, 3, 1, 0)
    labels = (np.arange(count) % 10 + 1).astype(np.uint8)[:, np.newaxis]
    savemat(copy / f"{part}_32x32.mat", {"X": images, "y": labels, **variables}, do_compression=True)


@pytest.fixture
def of_svhn(tmp_path: Path) -> Path:
    (tmp_path / "copy").mkdir()
    for part in COUNTS:
        write_svhn(tmp_path / "copy", part)
    return tmp_path / "copy"


def test_svhn_is_read_upright_with_ten_as_zero(of_svhn: Path) -> None:
    data = load_dataset(spec("svhn"), of_svhn.parent)
    assert [len(part.labels) for part in (data.train, data.validation, data.test)] == [30, 10, 20]
    np.testing.assert_array_equal(data.test.images.numpy(), pixels(20, 20).astype(np.float32) / 255)
    assert data.test.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0] * 2


def test_svhn_is_compared_with_its_checksums(of_svhn: Path) -> None:
    with pytest.raises(DatasetError, match=r"train_32x32\.mat: corrupted .*MD5"):
        load_dataset(spec("svhn", verify=True), of_svhn.parent)
    files = [
        Published(path.name, (), hashlib.md5(path.read_bytes()).hexdigest())
        for path in (of_svhn / "train_32x32.mat", of_svhn / "test_32x32.mat")
    ]
    assert len(svhn.load(spec("svhn", verify=True), of_svhn, files).test.labels) == 20


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"y": np.zeros((40, 1), np.uint8)}, "labels from 0 to 0, expected 1 to 10"),
        ({"y": np.full((40, 1), 11, np.uint8)}, "labels from 11 to 11, expected 1 to 10"),
        ({"y": np.ones((39, 1), np.uint8)}, r"y is uint8 \(39, 1\), expected a label for each"),
        ({"y": np.ones((40, 1))}, r"y is float64 \(40, 1\)"),
        ({"X": np.zeros((32, 32, 1, 40), np.uint8)}, r"X is uint8 \(32, 32, 1, 40\), expected uint8 \(32, 32, 3, N\)"),
        ({"X": np.zeros((32, 32, 3, 40))}, "X is float64"),
    ],
)
def test_variables_of_svhn_are_checked(of_svhn: Path, variables: dict[str, Any], problem: str) -> None:
    write_svhn(of_svhn, "train", **variables)
    with pytest.raises(DatasetError, match=rf"train_32x32\.mat: corrupted \({problem}"):
        load_dataset(spec("svhn"), of_svhn.parent)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_svhn_cut_short(of_svhn: Path, share: float) -> None:
    path = of_svhn / "test_32x32.mat"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DatasetError, match=r"test_32x32\.mat: corrupted \((no little-endian|cut short|holds)"):
        load_dataset(spec("svhn"), of_svhn.parent)


def test_svhn_without_labels(of_svhn: Path) -> None:
    savemat(of_svhn / "train_32x32.mat", {"X": pixels(4, 0).transpose(2, 3, 1, 0)})
    with pytest.raises(DatasetError, match=r"train_32x32\.mat: corrupted \(holds X of X and y\)"):
        load_dataset(spec("svhn"), of_svhn.parent)


# --- CIFAR-10 ------------------------------------------------------------------------------------------------------


def batch(count: int, seed: int) -> bytes:
    labels = (np.arange(count) % 10).astype(np.uint8)[:, np.newaxis]
    return np.concatenate((labels, pixels(count, seed).reshape(count, -1)), axis=1).tobytes()


BATCHES = {name: batch(20, seed) for seed, name in enumerate((*cifar10.TRAINING, cifar10.TEST))}


def packed(batches: dict[str, bytes]) -> bytes:
    """The archive as published: a folder, text and the batches."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in {"batches.meta.txt": b"airplane\n", **batches}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


@pytest.fixture
def of_cifar(tmp_path: Path) -> Path:
    (tmp_path / "copy").mkdir()
    return tmp_path / "copy"


def test_cifar10_is_read_out_of_its_archive(of_cifar: Path) -> None:
    content = packed(BATCHES)
    (of_cifar / cifar10.ARCHIVE.name).write_bytes(content)
    archive = Published(cifar10.ARCHIVE.name, (), hashlib.md5(content).hexdigest())
    data = cifar10.load(spec("cifar10", verify=True), of_cifar, archive)
    assert [len(part.labels) for part in (data.train, data.validation, data.test)] == [75, 25, 20]
    np.testing.assert_array_equal(data.test.images.numpy(), pixels(20, 5).astype(np.float32) / 255)
    assert data.test.labels.tolist() == list(range(10)) * 2
    assert [path.name for path in of_cifar.iterdir()] == [cifar10.ARCHIVE.name]  # nothing is unpacked beside it


def test_unpacked_batches_of_a_part_of_cifar10(of_cifar: Path) -> None:
    for name in ("data_batch_1.bin", "data_batch_3.bin", "test_batch.bin"):
        (of_cifar / name).write_bytes(BATCHES[name])
    data = load_dataset(spec("cifar10"), of_cifar.parent)
    assert [len(part.labels) for part in (data.train, data.validation, data.test)] == [30, 10, 20]
    seen = {(image * 255).round().byte().numpy().tobytes() for image in data.train.images}
    assert seen < {image.tobytes() for seed in (0, 2) for image in pixels(20, seed)}
    with pytest.raises(DatasetError, match=r"binary\.tar\.gz: missing; .* verify: false reads them"):
        load_dataset(spec("cifar10", verify=True), of_cifar.parent)


@pytest.mark.parametrize(
    ("kept", "missing"), [("data_batch_1.bin", "test_batch.bin"), ("test_batch.bin", "data_batch_1")]
)
def test_batches_that_do_not_suffice(of_cifar: Path, kept: str, missing: str) -> None:
    (of_cifar / kept).write_bytes(BATCHES[kept])
    with pytest.raises(DatasetError, match=rf"{missing}.*: missing"):
        load_dataset(spec("cifar10"), of_cifar.parent)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (BATCHES["data_batch_1.bin"][:-1], "a batch of 61459 bytes, expected records of 3073"),
        (b"", "a batch of 0 bytes"),
        (b"\x0a" + BATCHES["data_batch_1.bin"][1:], "label 10 of 10 classes"),
    ],
)
@pytest.mark.parametrize("is_packed", [False, True])
def test_records_of_cifar10_are_checked(of_cifar: Path, content: bytes, problem: str, is_packed: bool) -> None:
    batches = {**BATCHES, "data_batch_1.bin": content}
    for name, one in {cifar10.ARCHIVE.name: packed(batches)}.items() if is_packed else batches.items():
        (of_cifar / name).write_bytes(one)
    with pytest.raises(DatasetError, match=rf"corrupted \({problem}"):
        load_dataset(spec("cifar10"), of_cifar.parent)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_an_archive_cut_short(of_cifar: Path, share: float) -> None:
    content = packed(BATCHES)
    (of_cifar / cifar10.ARCHIVE.name).write_bytes(content[: int(share * len(content))])
    with pytest.raises(DatasetError, match=r"binary\.tar\.gz: corrupted \((cannot be unpacked|holds)"):
        load_dataset(spec("cifar10"), of_cifar.parent)


def test_an_archive_without_a_batch(of_cifar: Path) -> None:
    batches = {name: content for name, content in BATCHES.items() if name != "data_batch_4.bin"}
    (of_cifar / cifar10.ARCHIVE.name).write_bytes(packed(batches))
    with pytest.raises(DatasetError, match=r"holds data_batch_1\.bin, .*, expected five batches and test_batch\.bin"):
        load_dataset(spec("cifar10"), of_cifar.parent)
