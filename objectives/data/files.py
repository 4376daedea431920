"""The files of a data set: found in a folder, or downloaded into it; compared with their published checksums."""

from __future__ import annotations

import gzip
import hashlib
import logging
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from objectives.errors import DatasetError

if TYPE_CHECKING:
    from objectives.spec import DatasetSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """A file as its authors published it.

    Attributes:
        name: Its name in the folder.
        urls: Where it can be had; the first that answers with the right content is taken.
        md5: Of the published file.
        content_md5: Of its *uncompressed* content, where that is known; then a re-packed copy is as good.
    """

    name: str
    urls: tuple[str, ...]
    md5: str
    content_md5: str | None = None


@dataclass(frozen=True)
class Folder:
    """A folder of published files; a copy (`dataset.root`) is only read, the data set's own is filled by downloads."""

    path: Path
    is_copy: bool = False
    verify: bool = True

    @classmethod
    def of(cls, spec: DatasetSpec, path: Path) -> Folder:
        """The folder at `path`, used as the study says."""
        return cls(path, is_copy=spec.root is not None, verify=spec.verify)

    def file(self, published: Published) -> Path:
        """Path of a file that is there now and, under `verify`, is the published one.

        Raises:
            DatasetError: Missing and not to be had, or altered.
        """
        path = self.present(published)
        if self.verify and published.content_md5 is None and _md5(path) != published.md5:
            raise self.broken(path, "its MD5 is not the published one")
        return path

    def unzipped(self, published: Published) -> bytes:
        """Content of a `.gz` file, checked like `file`.

        Raises:
            DatasetError: As `file`; or it cannot be unpacked.
        """
        path = self.file(published)
        try:
            content = gzip.decompress(path.read_bytes())
        except (OSError, EOFError, zlib.error) as error:
            raise self.broken(path, f"cannot be unpacked: {error}") from error
        if self.verify and published.content_md5 not in (None, hashlib.md5(content, usedforsecurity=False).hexdigest()):
            raise self.broken(path, "its content has another MD5 than the published one")
        return content

    def present(self, published: Published) -> Path:
        """Path of a file that is there now, unchecked where it was there before.

        Raises:
            DatasetError: Missing, and in a copy or not to be had.
        """
        path = self.path / published.name
        if not path.is_file():
            if self.is_copy:
                raise self.missing(path)
            _download(path, published)
        return path

    def missing(self, path: Path, hint: str = "") -> DatasetError:
        """What to say of a file that a copy lacks."""
        why = "dataset.root names a copy, which is only read: put the file there"
        return DatasetError(f"{path}: missing; {why}{f' ({hint})' if hint else ''}")

    def broken(self, path: Path, problem: str) -> DatasetError:
        """What to say of a file that is not what it should be."""
        hint = (
            "put a whole copy there, or set dataset.verify: false for a partial or altered one"
            if self.is_copy and self.verify
            else "put a whole copy there"
            if self.is_copy
            else "delete it and run again to download it anew"
        )
        return DatasetError(f"{path}: corrupted ({problem}); {hint}")


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _download(path: Path, published: Published) -> None:
    """Fetch one file; it appears whole and with the published checksum, or not at all."""
    import pooch

    pooch.get_logger().setLevel("WARNING")
    failures = []
    for url in published.urls:
        log.info("downloading %s", url, extra={"action": "download"})
        try:
            pooch.retrieve(
                url,
                known_hash=f"md5:{published.md5}",
                fname=path.name,
                path=path.parent,
                progressbar=sys.stderr.isatty(),
            )
            return
        except (OSError, ValueError) as error:  # requests' errors are OSErrors, pooch's about a checksum ValueErrors
            failures.append(f"{url}: {'another checksum' if isinstance(error, ValueError) else type(error).__name__}")
    raise DatasetError(
        f"{path}: missing, and cannot be downloaded ({'; '.join(failures)}); "
        f"download {path.name} elsewhere and put it into {path.parent}"
    )
