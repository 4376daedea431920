"""Recordings of events read through tonic, each cut into frames: N-MNIST, DVS128 Gesture, Spiking Heidelberg Digits.

tonic (GPL-3.0-only) is an optional extra and is loaded only here, with such a data set.
"""

from __future__ import annotations

import os
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from objectives.data.dataset import Dataset, DatasetInfo, Split, parted
from objectives.data.files import Folder, Published
from objectives.errors import DatasetError

if TYPE_CHECKING:
    from objectives.spec import DatasetSpec

LARGEST_BYTES = 4 * 2**30
"""Most memory for the frames of a data set, at a byte a pixel."""

_LONGEST_US = 10**12
"""Longest recording, in microseconds (11 days); what is longer has times that are none."""


@dataclass(frozen=True)
class Part:
    """Training or test part of an event data set.

    Attributes:
        archive: As published.
        content: The folder or file that the archive unpacks to.
        count: Recordings in it.
    """

    archive: Published
    content: str
    count: int


@dataclass(frozen=True)
class EventSet:
    """An event data set.

    Attributes:
        reader: Its class in `tonic.datasets`, and the folder that tonic keeps it in.
        info: Polarities, sensor, classes.
        train: Training part.
        test: Test part.
    """

    reader: Literal["NMNIST", "DVSGesture", "SHD"]
    info: DatasetInfo
    train: Part
    test: Part


def _part(archive: str, url: str, md5: str, content: str, count: int) -> Part:
    return Part(Published(archive, (url,), md5), content, count)


_MENDELEY = "https://data.mendeley.com/public-files/datasets/468j46mzdv/files/"

NMNIST = EventSet(
    "NMNIST",
    DatasetInfo(image=(2, 34, 34), classes=10, is_events=True),
    _part("train.zip", f"{_MENDELEY}39c25547-014b-4137-a934-9d29fa53c7a0/file_downloaded",
          "20959b8e626244a1b502305a9e6e2031", "Train", 60_000),
    _part("test.zip", f"{_MENDELEY}05a4d654-7e03-4c15-bdfa-9bb2bcbea494/file_downloaded",
          "69ca8762b2fe404d9b9bad1103e97832", "Test", 10_000),
)  # fmt: skip
"""Orchard et al., Converting static image datasets to spiking neuromorphic datasets using saccades (2015)."""

DVS_GESTURE = EventSet(
    "DVSGesture",
    DatasetInfo(image=(2, 128, 128), classes=11, is_events=True),
    _part("ibmGestureTrain.tar.gz", "https://figshare.com/ndownloader/files/38022171",
          "3a8f0d4120a166bac7591f77409cb105", "ibmGestureTrain", 1_077),
    _part("ibmGestureTest.tar.gz", "https://figshare.com/ndownloader/files/38020584",
          "56070e45dadaa85fff82e0fbfbc06de5", "ibmGestureTest", 264),
)  # fmt: skip
"""Amir et al., A low power, fully event-based gesture recognition system (CVPR 2017), as cut into gestures by tonic."""

SHD = EventSet(
    "SHD",
    DatasetInfo(image=(1, 1, 700), classes=20, is_events=True),
    _part("shd_train.h5.zip", "https://zenkelab.org/datasets/shd_train.h5.zip",
          "f3252aeb598ac776c1b526422d90eecb", "shd_train.h5", 8_156),
    _part("shd_test.h5.zip", "https://zenkelab.org/datasets/shd_test.h5.zip",
          "1503a5064faa34311c398fb0a1ed0a6f", "shd_test.h5", 2_264),
)  # fmt: skip
"""Cramer et al., The Heidelberg spiking data sets (2020): spoken digits as spikes of 700 cochlear channels."""

SETS = {"nmnist": NMNIST, "dvs-gesture": DVS_GESTURE, "shd": SHD}
"""Event data sets by name; addresses and checksums as tonic 1.7.0 states them."""


def load(spec: DatasetSpec, path: Path) -> Dataset:
    """Load and divide an event data set; every recording becomes `spec.frames` frames of 0 and 1.

    Args:
        spec: What to load.
        path: Folder of the data sets of tonic, its `save_to`.

    Raises:
        DatasetError: tonic or `frames` is missing, a file is missing or corrupted, or the frames are too large.
    """
    known = SETS[spec.name]
    if spec.frames is None:
        raise DatasetError(f"dataset.frames: is missing; say how many frames a recording of {spec.name} is cut into")
    reader = _reader(known)  # before a download that could not be read
    training = _Recordings(reader, known, known.train, spec, path)
    test = _Recordings(reader, known, known.test, spec, path)
    train, validation = parted(spec, training.labels)
    _check_memory(known.info, spec.frames, len(train) + len(validation) + len(test.labels))
    return Dataset(
        spec.name,
        known.info,
        training.frames(train, spec.frames),
        training.frames(validation, spec.frames),
        test.frames(np.arange(len(test.labels)), spec.frames),
    )


def binned(events: NDArray[Any], frames: int, image: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Frames `(T, polarities, H, W)` of 0 and 1: 1 where a pixel had one event or more in that part of the time.

    A recording from its first event to its last is cut into `frames` parts of equal length: event t falls into
    floor((t - first) * frames / (last - first + 1)), times in whole microseconds. So the frames for a divisor of
    `frames` are these, joined by groups. No events give zeros.

    Args:
        events: Structured array with fields `x`, `t`, `p` and perhaps `y`; `p` is ignored for a single polarity.
        frames: Number T of frames.
        image: Polarities and sensor `(polarities, H, W)`.

    Raises:
        ValueError: An event lies outside the sensor, or times are none.
    """
    out = np.zeros((frames, *image), np.uint8)
    if not len(events):
        return out
    x, since = events["x"].astype(np.int64), events["t"].astype(np.int64)
    y = events["y"].astype(np.int64) if "y" in (events.dtype.names or ()) else np.zeros_like(x)
    p = events["p"].astype(np.int64) if image[0] > 1 else np.zeros_like(x)
    for name, values, size in zip("pyx", (p, y, x), image, strict=True):
        if values.min() < 0 or values.max() >= size:
            raise ValueError(f"events with {name} from {values.min()} to {values.max()}, expected 0 to {size - 1}")
    since -= since.min()
    if since.min() < 0 or since.max() > _LONGEST_US:  # negative: wrapped around
        raise ValueError("times that are too far apart")
    out[since * frames // (since.max() + 1), p, y, x] = 1
    return out


class _Recordings:
    """The recordings of one part in the order of their paths; each is read when its frames are asked for.

    Attributes:
        labels: Class of each recording, int64.
    """

    def __init__(self, reader: Any, known: EventSet, part: Part, spec: DatasetSpec, path: Path) -> None:
        self._info = known.info
        self._folder = Folder.of(spec, path / known.reader)
        self._place = _unpacked(self._folder, part)
        with self._broken(self._place):
            self._reader = reader(save_to=str(path), train=part is known.train)
            labels = np.asarray(self._labels(), np.int64)
        self._check(part, labels)
        self._order = self._sorted()
        self.labels = labels[self._order]

    def frames(self, chosen: NDArray[np.int64], frames: int) -> Split:
        """Frames and labels of the chosen recordings."""
        import torch

        images = np.zeros((len(chosen), frames, *self._info.image), np.uint8)
        for at, index in enumerate(self._order[chosen]):
            with self._broken(self._path(index)):
                self._check_length(index)
                events, _ = self._reader[index]
                images[at] = binned(events, frames, self._info.image)
        return Split(torch.from_numpy(images), torch.from_numpy(self.labels[chosen]))

    def _labels(self) -> Any:
        if self._place.is_dir():
            return self._reader.targets
        import h5py

        with h5py.File(self._place, "r") as file:
            return file["labels"][:]

    def _sorted(self) -> NDArray[np.int64]:
        """Order of the recordings, which tonic takes as the file system gives them."""
        return np.argsort(self._reader.data, kind="stable") if self._reader.data else np.arange(len(self._reader))

    def _path(self, index: int) -> Path:
        return Path(self._reader.data[index]) if self._reader.data else self._place

    def _check(self, part: Part, labels: NDArray[np.int64]) -> None:
        if self._folder.verify and len(labels) != part.count:
            raise self._folder.broken(self._place, f"{len(labels):,} recordings, {part.count:,} published")
        if not len(labels):
            raise self._folder.broken(self._place, "no recordings")
        if labels.min() < 0 or labels.max() >= self._info.classes:
            raise self._folder.broken(
                self._place, f"labels from {labels.min()} to {labels.max()} of {self._info.classes} classes"
            )

    def _check_length(self, index: int) -> None:
        """N-MNIST's events take five bytes each; tonic would misread a rest."""
        path = self._path(index)
        if path.suffix == ".bin" and (size := path.stat().st_size) % 5:
            raise ValueError(f"{size} bytes, expected five for each event")

    @contextmanager
    def _broken(self, path: Path) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError, ValueError, TypeError, KeyError, IndexError) as error:  # of tonic, numpy and h5py
            raise self._folder.broken(path, f"{type(error).__name__}: {error}") from error


def _reader(known: EventSet) -> Any:
    """Class of tonic that reads files that are there already: it neither downloads nor asks for the archive."""
    try:
        import tonic.datasets
    except ImportError as error:
        raise DatasetError(
            f"{known.reader} is read through tonic, which is not installed: pip install 'spikefront[events]' "
            f"(tonic's licence is GPL-3.0-only)"
        ) from error
    published = getattr(tonic.datasets, known.reader)
    return type(known.reader, (published,), {"_check_exists": lambda self: True})


def _unpacked(folder: Folder, part: Part) -> Path:
    """The part's folder or file, unpacked from its archive where it is not there yet; whole or not at all."""
    place = folder.path / part.content
    if place.exists():
        return place
    if folder.is_copy:
        raise folder.missing(place)
    archive = folder.file(part.archive)
    with tempfile.TemporaryDirectory(dir=folder.path, prefix="unpacking-") as temporary:
        try:
            _extract(archive, temporary)
            os.replace(Path(temporary) / part.content, place)
        except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
            if not place.exists():  # else another process was faster
                raise folder.broken(archive, f"cannot be unpacked: {error}") from error
    return place


def _extract(archive: Path, into: str) -> None:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(into)
    else:
        with tarfile.open(archive) as tarred:
            tarred.extractall(into, filter="data")


def _check_memory(info: DatasetInfo, frames: int, recordings: int) -> None:
    needed = recordings * frames * info.image[0] * info.image[1] * info.image[2]
    if needed > LARGEST_BYTES:
        raise DatasetError(
            f"dataset.frames: {frames} frames of {recordings:,} recordings take {needed / 2**30:.1f} GiB, "
            f"more than {LARGEST_BYTES / 2**30:g} GiB; use fewer frames, or a limit"
        )
