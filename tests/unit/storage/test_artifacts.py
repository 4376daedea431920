"""Artifacts are written whole or not at all, and read only as they were written."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from storage.artifacts import Artifacts, sha256
from storage.errors import ArtifactDiskError, ArtifactError

DATA = bytes(range(256)) * 40
DIGEST = sha256(DATA)


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_is_written_is_read(artifacts: Artifacts, tmp_path: Path) -> None:
    artifacts.write(7, 2, DATA, DIGEST)
    assert artifacts.read(7, 2, DIGEST) == DATA
    assert _files(tmp_path) == [f"artifacts/7/2-{DIGEST}.safetensors"]


def test_writing_again_changes_nothing(artifacts: Artifacts, tmp_path: Path) -> None:
    for _ in range(2):
        artifacts.write(7, 2, DATA, DIGEST)
    assert artifacts.read(7, 2, DIGEST) == DATA
    assert len(_files(tmp_path)) == 1


def test_attempts_and_trials_do_not_meet(artifacts: Artifacts) -> None:
    artifacts.write(7, 1, DATA, DIGEST)
    for trial, fence in ((7, 2), (8, 1)):
        with pytest.raises(ArtifactError, match="cannot be read: No such file"):
            artifacts.read(trial, fence, DIGEST)


def test_empty_bytes_are_bytes(artifacts: Artifacts) -> None:
    artifacts.write(1, 1, b"", sha256(b""))
    assert artifacts.read(1, 1, sha256(b"")) == b""


@pytest.mark.parametrize("size", [0, 1, len(DATA) // 2, len(DATA) - 1])
def test_a_torn_file_is_refused(artifacts: Artifacts, size: int) -> None:
    artifacts.write(1, 1, DATA, DIGEST)
    os.truncate(artifacts.path(1, 1, DIGEST), size)
    with pytest.raises(ArtifactError, match="torn or altered"):
        artifacts.read(1, 1, DIGEST)


@pytest.mark.parametrize("place", [0, 5000, len(DATA) - 1])
def test_a_flipped_bit_is_refused(artifacts: Artifacts, place: int) -> None:
    artifacts.write(1, 1, DATA, DIGEST)
    path = artifacts.path(1, 1, DIGEST)
    damaged = bytearray(DATA)
    damaged[place] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ArtifactError, match="torn or altered"):
        artifacts.read(1, 1, DIGEST)


def test_an_appended_byte_is_refused(artifacts: Artifacts) -> None:
    artifacts.write(1, 1, DATA, DIGEST)
    with artifacts.path(1, 1, DIGEST).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ArtifactError, match="torn or altered"):
        artifacts.read(1, 1, DIGEST)


def test_a_wrong_digest_writes_nothing(artifacts: Artifacts, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="do not hash to the digest"):
        artifacts.write(1, 1, DATA, sha256(b"other"))
    assert _files(tmp_path) == []


@pytest.mark.parametrize(
    "digest", ["", "../" * 21 + "x", "../../etc/passwd", DIGEST[:-1], DIGEST + "0", DIGEST.upper(), DIGEST[:-1] + "/",
               DIGEST[:-1] + "\n", DIGEST[:-1] + "\0", "g" * 64, "٠" * 64],
)  # fmt: skip
def test_a_digest_is_64_hexadecimal_digits(artifacts: Artifacts, digest: str) -> None:
    for use in (artifacts.path, artifacts.read, artifacts.remove):
        with pytest.raises(ArtifactError, match="64 hexadecimal digits"):
            use(1, 1, digest)


def test_every_path_lies_in_the_folder(artifacts: Artifacts, tmp_path: Path) -> None:
    assert artifacts.path(3, 4, DIGEST).resolve().is_relative_to(tmp_path / "artifacts" / "3")


def _full_disk(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["fsync", "open"])
def test_a_failed_write_leaves_nothing_behind(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    if call == "fsync":
        monkeypatch.setattr(os, "fsync", _full_disk)
    else:
        monkeypatch.setattr(Path, "open", _full_disk)
    with pytest.raises(ArtifactDiskError, match="cannot be written: No space left on device; free space"):
        artifacts.write(1, 1, DATA, DIGEST)
    monkeypatch.undo()
    assert _files(tmp_path) == []
    artifacts.write(1, 1, DATA, DIGEST)
    assert artifacts.read(1, 1, DIGEST) == DATA


def test_a_failed_write_spares_what_was_there(artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts.write(1, 1, DATA, DIGEST)
    monkeypatch.setattr(os, "fsync", _full_disk)
    with pytest.raises(ArtifactDiskError):
        artifacts.write(1, 1, DATA, DIGEST)
    assert artifacts.read(1, 1, DIGEST) == DATA


def test_a_file_where_the_folder_should_be_is_a_disk_error(artifacts: Artifacts, tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "1").write_text("in the way")
    with pytest.raises(ArtifactDiskError, match="cannot be written"):
        artifacts.write(1, 1, DATA, DIGEST)
    (tmp_path / "artifacts" / "1").unlink()
    (tmp_path / "artifacts").rmdir()
    (tmp_path / "artifacts").write_text("in the way")
    with pytest.raises(ArtifactDiskError, match="cannot be written"):
        artifacts.write(1, 1, DATA, DIGEST)


def test_two_writers_at_once_do_not_share_a_temporary_file(
    artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second writer comes while the first is at its fsync; the first must still end well."""
    real, inner = os.fsync, list[bool]()

    def fsync(descriptor: int) -> None:
        if not inner:
            inner.append(True)
            artifacts.write(1, 1, DATA, DIGEST)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    artifacts.write(1, 1, DATA, DIGEST)
    assert artifacts.read(1, 1, DIGEST) == DATA


def test_remove_is_safe_to_repeat(artifacts: Artifacts, tmp_path: Path) -> None:
    artifacts.write(1, 1, DATA, DIGEST)
    for _ in range(2):
        artifacts.remove(1, 1, DIGEST)
    assert _files(tmp_path) == []
