from __future__ import annotations

import hashlib
from pathlib import Path

import pooch
import pytest

from objectives.data import cifar10, fashion, load_dataset, mnist, svhn
from objectives.data.events import SETS
from objectives.data.files import Folder, Published
from objectives.errors import DatasetError
from objectives.spec import DatasetSpec

CONTENT = b"as published"
FILE = Published("pixels.bin", ("https://one/pixels", "https://two/pixels"), hashlib.md5(CONTENT).hexdigest())


class Mirrors:
    """Stands in for HTTP alone: pooch itself writes, compares and moves."""

    def __init__(self, **answers: bytes | Exception) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, url: str, output: str, _: object) -> None:
        self.asked.append(url)
        answer = self.answers[url.split("/")[2]]
        if isinstance(answer, Exception):
            Path(output).write_bytes(CONTENT[:3])
            raise answer
        Path(output).write_bytes(answer)


def reached(mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch) -> Mirrors:
    monkeypatch.setattr(pooch.core, "choose_downloader", lambda *_, **__: mirrors)
    return mirrors


@pytest.mark.parametrize("failure", [ConnectionError("reset"), b"an error page"])
def test_the_second_mirror_is_asked_if_the_first_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: bytes | Exception
) -> None:
    mirrors = reached(Mirrors(one=failure, two=CONTENT), monkeypatch)
    folder = Folder(tmp_path / "new")
    assert folder.file(FILE).read_bytes() == CONTENT
    assert mirrors.asked == list(FILE.urls)
    folder.file(FILE)
    assert len(mirrors.asked) == 2  # what is there is not downloaded again


def test_without_a_mirror_nothing_is_left_and_the_message_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached(Mirrors(one=ConnectionError("unreachable"), two=CONTENT + b"!"), monkeypatch)
    with pytest.raises(
        DatasetError,
        match=r"pixels\.bin: missing, and cannot be downloaded \(https://one/pixels: ConnectionError; "
        r"https://two/pixels: another checksum\); download pixels\.bin elsewhere and put it into .*",
    ):
        Folder(tmp_path).file(FILE)
    assert list(tmp_path.iterdir()) == []


def test_a_copy_is_never_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirrors = reached(Mirrors(one=CONTENT), monkeypatch)
    with pytest.raises(DatasetError, match=r"pixels\.bin: missing; dataset\.root names a copy, which is only read"):
        Folder(tmp_path / "copy", is_copy=True).file(FILE)
    assert mirrors.asked == []
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    ("folder", "hint"),
    [
        (Folder(Path()), "delete it and run again"),
        (Folder(Path(), is_copy=True), r"put a whole copy there, or set dataset\.verify: false"),
    ],
)
def test_an_altered_file_is_refused(tmp_path: Path, folder: Folder, hint: str) -> None:
    (tmp_path / FILE.name).write_bytes(CONTENT.upper())
    with pytest.raises(DatasetError, match=rf"pixels\.bin: corrupted \(its MD5 is not the published one\); {hint}"):
        Folder(tmp_path, folder.is_copy).file(FILE)
    assert Folder(tmp_path, folder.is_copy, verify=False).file(FILE).read_bytes() == CONTENT.upper()


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "svhn", "cifar10"])
def test_every_data_set_asks_its_mirrors_and_is_cached_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    asked: list[str] = []

    def refuse(url: str, *_: object) -> None:
        asked.append(url)
        raise ConnectionError

    monkeypatch.setattr(pooch.core, "choose_downloader", lambda *_, **__: refuse)
    with pytest.raises(DatasetError, match=rf"put it into .*{name}$"):
        load_dataset(DatasetSpec.model_validate({"name": name}), tmp_path)
    assert len(asked) > 1


def test_checksums_are_whole() -> None:
    parts = [part for known in SETS.values() for part in (known.train, known.test)]
    files = [*mnist.FILES, *fashion.FILES, *svhn.FILES, cifar10.ARCHIVE, *(part.archive for part in parts)]
    sums = [file.md5 for file in files] + [file.content_md5 for file in files if file.content_md5]
    assert len(set(sums)) == len(sums) == 21
    assert all(len(bytes.fromhex(one)) == 16 for one in sums)
