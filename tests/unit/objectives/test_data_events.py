"""Recordings of events; the readers are tried where the extra `events` is installed."""

from __future__ import annotations

import builtins
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from objectives.data import describe, events, load_dataset
from objectives.data.events import DVS_GESTURE, NMNIST, SHD, EventSet, binned
from objectives.data.files import Folder
from objectives.encoding import encode, generator
from objectives.errors import DatasetError
from objectives.score import score_test
from objectives.spec import DatasetSpec
from objectives.train import Training
from tests.unit.objectives.factory import make_study

FIELDS = np.dtype([("x", np.int64), ("y", np.int64), ("t", np.int64), ("p", np.int64)])


def recording(*rows: tuple[int, int, int, int]) -> NDArray[Any]:
    """Events (x, y, t, p)."""
    return np.array(list(rows), FIELDS)


# --- frames --------------------------------------------------------------------------------------------------------


def test_events_fall_into_frames_of_equal_length() -> None:
    frames = binned(
        recording((3, 1, 100, 1), (0, 0, 349, 0), (0, 0, 348, 0), (2, 1, 350, 1), (3, 1, 599, 1)), 2, (2, 2, 4)
    )
    assert (frames.shape, frames.dtype.name) == ((2, 2, 2, 4), "uint8")
    assert np.argwhere(frames).tolist() == [[0, 0, 0, 0], [0, 1, 1, 3], [1, 1, 1, 2], [1, 1, 1, 3]]


def test_no_events_and_one_instant() -> None:
    assert not binned(recording(), 4, (2, 3, 3)).any()
    assert np.argwhere(binned(recording((1, 2, 7, 0), (1, 2, 7, 0)), 4, (2, 3, 3))).tolist() == [[0, 0, 2, 1]]


def test_a_single_polarity_and_a_line_of_channels() -> None:
    spikes = np.array([(0, 5, 1), (699, 9, 1)], np.dtype([("x", int), ("t", int), ("p", int)]))
    assert np.argwhere(binned(spikes, 2, (1, 1, 700))).tolist() == [[0, 0, 0, 0], [1, 0, 0, 699]]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([(4, 0, 0, 0)], "events with x from 4 to 4, expected 0 to 3"),
        ([(0, -1, 0, 0), (0, 1, 0, 0)], "events with y from -1 to 1, expected 0 to 1"),
        ([(0, 0, 0, 2)], "events with p from 2 to 2, expected 0 to 1"),
        ([(0, 0, 0, 0), (0, 0, 2**62, 0)], "times that are too far apart"),
        ([(0, 0, -(2**62), 0), (0, 0, 2**62 + 9, 0)], "times that are too far apart"),
    ],
)
def test_events_that_cannot_be(rows: list[tuple[int, int, int, int]], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        binned(recording(*rows), 2, (2, 2, 4))


times = st.lists(st.integers(0, 400_000), min_size=1, max_size=40)


@settings(deadline=None, derandomize=True)
@given(times, st.integers(1, 6), st.integers(1, 5))
def test_frames_of_a_divisor_are_the_frames_joined(when: list[int], steps: int, merged: int) -> None:
    rows = recording(*((index % 4, 0, time, 1) for index, time in enumerate(when)))
    fine, coarse = (binned(rows, count, (2, 1, 4)) for count in (steps * merged, steps))
    np.testing.assert_array_equal(fine.reshape(steps, merged, 2, 1, 4).max(1), coarse)
    assert torch.equal(
        encode(torch.from_numpy(fine)[None], "events", steps, generator(0))[:, 0], torch.from_numpy(coarse).float()
    )


@settings(deadline=None, derandomize=True)
@given(times, st.integers(1, 7))
def test_every_event_is_in_the_frame_of_its_time(when: list[int], count: int) -> None:
    first, last = min(when), max(when)
    frames = binned(recording(*((0, 0, time, 0) for time in when)), count, (2, 1, 1))
    expected = {next(f for f in range(count) if (time - first) * count < (f + 1) * (last - first + 1)) for time in when}
    assert set(np.flatnonzero(frames[:, 0, 0, 0])) == expected


# --- files ---------------------------------------------------------------------------------------------------------


def spec(name: str, **fields: Any) -> DatasetSpec:
    defaults = {"validation": 0.5, "root": "copy", "verify": False, "frames": 4}
    return DatasetSpec.model_validate({"name": name, **defaults, **fields})


def random_events(seed: int, count: int, image: tuple[int, int, int], span: int) -> NDArray[Any]:
    random = np.random.default_rng(seed)
    out = np.zeros(count, FIELDS)
    for field, size in zip("pyx", image, strict=True):
        out[field] = random.integers(0, size, count)
    out["t"] = np.sort(random.integers(0, span, count))
    return out


def nmnist_bytes(of: NDArray[Any]) -> bytes:
    """Five bytes an event: x, y, and 24 bits of polarity and microseconds (big-endian)."""
    rows = [bytes((x, y)) + (p << 23 | t).to_bytes(3, "big") for x, y, t, p in of.tolist()]
    return b"".join(rows)


def write_nmnist(copy: Path) -> None:
    for part in ("Train", "Test"):
        for digit in range(10):
            folder = copy / "NMNIST" / part / str(digit)
            folder.mkdir(parents=True)
            for number in range(2):
                content = nmnist_bytes(random_events(2 * digit + number, 40, (2, 34, 34), 300_000))
                (folder / f"{number:05d}.bin").write_bytes(content)


def write_gestures(copy: Path) -> None:
    """An array (events, 4) of x, y, polarity and milliseconds for each gesture of a user."""
    for part in ("ibmGestureTrain", "ibmGestureTest"):
        for user in ("user01_led", "user02_lab"):
            folder = copy / "DVSGesture" / part / user
            folder.mkdir(parents=True)
            for gesture in range(11):
                of = random_events(gesture + 11 * (user == "user02_lab"), 40, (2, 128, 128), 6_000)
                np.save(folder / f"{gesture}.npy", np.stack([of[name] for name in "xypt"], axis=1).astype(float))


def write_speech(copy: Path) -> None:
    """Seconds and channel numbers of each recording, as arrays of varying length in HDF5."""
    h5py = pytest.importorskip("h5py")
    (copy / "SHD").mkdir(parents=True)
    for part in ("train", "test"):
        with h5py.File(copy / "SHD" / f"shd_{part}.h5", "w") as file:
            file["labels"] = np.arange(40) % 20
            times_s = file.create_dataset("spikes/times", (40,), dtype=h5py.vlen_dtype(np.float16))
            units = file.create_dataset("spikes/units", (40,), dtype=h5py.vlen_dtype(np.uint16))
            for index in range(40):
                of = random_events(index, 30, (1, 1, 700), 1_000_000)
                times_s[index], units[index] = (of["t"] / 1e6).astype(np.float16), of["x"].astype(np.uint16)
            file["extra/keys"] = np.array([b"zero"] * 20)
            file["extra/speaker"] = np.zeros(40, np.int64)


WRITERS: dict[str, Callable[[Path], None]] = {
    "nmnist": write_nmnist,
    "dvs-gesture": write_gestures,
    "shd": write_speech,
}
COUNTS = {"nmnist": [10, 10, 20], "dvs-gesture": [11, 11, 22], "shd": [20, 20, 40]}


@pytest.fixture
def tonic() -> Any:
    return pytest.importorskip("tonic", reason="the extra `events` is not installed")


@pytest.mark.parametrize("name", WRITERS)
def test_recordings_become_frames(tonic: Any, tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / "copy")
    data = load_dataset(spec(name), tmp_path)
    info = describe(name)
    parts = (data.train, data.validation, data.test)
    assert [len(part.labels) for part in parts] == COUNTS[name]
    for part in parts:
        assert part.images.shape == (len(part.labels), 4, *info.image)
        assert (part.images.dtype, part.labels.dtype) == (torch.uint8, torch.int64)
        assert set(part.labels.tolist()) == set(range(info.classes))
        assert part.images.flatten(1).any(1).all()
    again = load_dataset(spec(name), tmp_path)
    assert torch.equal(data.train.images, again.train.images)


def test_recordings_keep_their_labels_and_their_events(tonic: Any, tmp_path: Path) -> None:
    write_nmnist(tmp_path / "copy")
    test = load_dataset(spec("nmnist"), tmp_path).test
    assert test.labels.tolist() == [digit for digit in range(10) for _ in range(2)]
    for index, frames in enumerate(test.images):
        np.testing.assert_array_equal(
            frames.numpy(), binned(random_events(index, 40, (2, 34, 34), 300_000), 4, (2, 34, 34))
        )


def test_gestures_are_in_the_order_of_their_paths(tonic: Any, tmp_path: Path) -> None:
    write_gestures(tmp_path / "copy")
    test = load_dataset(spec("dvs-gesture"), tmp_path).test
    names = sorted(f"{gesture}.npy" for gesture in range(11))
    order = [int(name.removesuffix(".npy")) for name in names]
    assert test.labels.tolist() == order * 2
    expected = [random_events(gesture, 40, (2, 128, 128), 6_000) for gesture in (*order, *(one + 11 for one in order))]
    for frames, of in zip(test.images, expected, strict=True):
        of["t"] *= 1000
        np.testing.assert_array_equal(frames.numpy(), binned(of, 4, (2, 128, 128)))


def test_frames_agree_with_those_of_tonic(tonic: Any) -> None:
    """Away from the ends of the frames; tonic leaves out the last event, whose pixel fired just before as well."""
    of = random_events(3, 200, (2, 34, 34), 100_000)
    of["t"] = np.sort(of["t"] // 25_000 * 25_000 + 5_000 + of["t"] % 15_000)
    of["t"][0], of[-1] = 0, of[-2]
    of["t"][-1] = 99_999
    theirs = tonic.transforms.ToFrame(sensor_size=(34, 34, 2), n_time_bins=4)(of.copy())
    assert theirs.sum() == 199
    np.testing.assert_array_equal(theirs > 0, binned(of, 4, (2, 34, 34)) > 0)


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        (
            "Train/3/00001.bin",
            bytes(204),
            r"00001\.bin: corrupted \(ValueError: 204 bytes, expected five for each event",
        ),
        ("Train/3/00001.bin", bytes((34, 0, 0, 0, 0)), r"00001\.bin: corrupted \(ValueError: events with x from 34"),
        ("Train/x/00000.bin", bytes(5), r"Train: corrupted \(ValueError: invalid literal"),
    ],
)
def test_recordings_of_nmnist_are_checked(tonic: Any, tmp_path: Path, file: str, content: bytes, problem: str) -> None:
    write_nmnist(tmp_path / "copy")
    path = tmp_path / "copy" / "NMNIST" / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=problem):
        load_dataset(spec("nmnist"), tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("4.npy", b"", r"4\.npy: corrupted \(EOFError"),
        ("4.npy", b"\x80\x04K\x01.", r"4\.npy: corrupted \(ValueError: .*pickled"),
        ("11.npy", b"", r"labels from 0 to 11 of 11 classes"),
    ],
)
def test_gestures_are_checked(tonic: Any, tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    write_gestures(tmp_path / "copy")
    (tmp_path / "copy" / "DVSGesture" / "ibmGestureTest" / "user01_led" / name).write_bytes(content)
    with pytest.raises(DatasetError, match=problem):
        load_dataset(spec("dvs-gesture"), tmp_path)


def test_gestures_cut_short(tonic: Any, tmp_path: Path) -> None:
    write_gestures(tmp_path / "copy")
    path = tmp_path / "copy" / "DVSGesture" / "ibmGestureTest" / "user01_led" / "7.npy"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DatasetError, match=r"7\.npy: corrupted \(ValueError"):
        load_dataset(spec("dvs-gesture"), tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.98])
def test_speech_cut_short(tonic: Any, tmp_path: Path, share: float) -> None:
    write_speech(tmp_path / "copy")
    path = tmp_path / "copy" / "SHD" / "shd_train.h5"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DatasetError, match=r"shd_train\.h5: corrupted \(OSError"):
        load_dataset(spec("shd"), tmp_path)


def test_a_part_is_no_whole(tonic: Any, tmp_path: Path) -> None:
    write_nmnist(tmp_path / "copy")
    with pytest.raises(DatasetError, match=r"Train: corrupted \(20 recordings, 60,000 published\).*verify: false"):
        load_dataset(spec("nmnist", verify=True), tmp_path)
    with pytest.raises(DatasetError, match=r"ibmGestureTrain: missing; dataset\.root names a copy"):
        load_dataset(spec("dvs-gesture"), tmp_path)


def test_frames_must_fit_into_memory(tonic: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_nmnist(tmp_path / "copy")
    monkeypatch.setattr(events, "LARGEST_BYTES", 2 * 34 * 34 * 4 * 40 - 1)
    with pytest.raises(DatasetError, match=r"dataset\.frames: 4 frames of 40 recordings take .* GiB; use fewer frames"):
        load_dataset(spec("nmnist"), tmp_path)
    assert len(load_dataset(spec("nmnist", frames=2), tmp_path).test.labels) == 20


def test_frames_have_to_be_said(tonic: Any, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"dataset\.frames: is missing"):
        load_dataset(spec("nmnist", frames=None), tmp_path)


@pytest.mark.parametrize(("name", "network", "cores"), [("nmnist", "4C5-MP2-10", [4, 5]), ("shd", "40-20", [8, 5])])
def test_events_train_a_network_and_score_it(
    tonic: Any, tmp_path: Path, name: str, network: str, cores: list[int]
) -> None:
    WRITERS[name](tmp_path / "copy")
    of = spec(name).model_dump()
    study = make_study(
        dataset=of, network=network, encoding="events", time_steps=2, beta=0.9, threshold=0.1, loss="ce_rate",
        accelerator={"neural_cores": cores}, train={"epochs": 30, "batch": 10, "lr": 0.01},
    )  # fmt: skip
    data = load_dataset(study.dataset, tmp_path)
    training = Training(study, 0, data)
    losses = []
    while not training.finished:
        epoch = training.run_epoch(lambda: False)
        assert epoch is not None
        losses.append(epoch.loss)
    assert losses[-1] < 0.7 * losses[0]
    scored = score_test(study, training.weights(), data, 0)
    assert scored.details["images"] == COUNTS[name][2]
    assert scored.details["first_layer"]["core"] == "sparse"
    assert scored.values["latency_ms"] > 0


# --- without tonic -------------------------------------------------------------------------------------------------


def test_without_tonic_the_message_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("tonic"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DatasetError, match=r"not installed: pip install 'spikefront\[events\]'"):
        load_dataset(spec("nmnist", root=None), tmp_path)
    assert list(tmp_path.iterdir()) == []  # nothing was downloaded in vain


def archived(known: EventSet, content: str) -> bytes:
    out = io.BytesIO()
    if known.train.archive.name.endswith(".zip"):
        with zipfile.ZipFile(out, "w") as zipped:
            zipped.writestr(content, b"events")
    else:
        with tarfile.open(fileobj=out, mode="w:gz") as tarred:
            member = tarfile.TarInfo(content)
            member.size = 6
            tarred.addfile(member, io.BytesIO(b"events"))
    return out.getvalue()


@pytest.mark.parametrize(
    ("known", "content"),
    [(NMNIST, "Train/0/00001.bin"), (DVS_GESTURE, "ibmGestureTrain/user01_led/0.npy"), (SHD, "shd_train.h5")],
)
def test_archives_are_unpacked_once_and_whole(tmp_path: Path, known: EventSet, content: str) -> None:
    (tmp_path / known.train.archive.name).write_bytes(archived(known, content))
    folder = Folder(tmp_path, verify=False)
    place = events._unpacked(folder, known.train)
    assert (tmp_path / content).read_bytes() == b"events"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted((known.train.archive.name, place.name))
    (tmp_path / known.train.archive.name).unlink()
    assert events._unpacked(folder, known.train) == place


@pytest.mark.parametrize("known", [NMNIST, DVS_GESTURE])
def test_a_torn_archive_leaves_nothing(tmp_path: Path, known: EventSet) -> None:
    whole = archived(known, f"{known.train.content}/0/00001.bin")
    for content in (whole[: len(whole) // 2], archived(known, "Elsewhere/0.bin")):
        (tmp_path / known.train.archive.name).write_bytes(content)
        with pytest.raises(DatasetError, match=r"corrupted \(cannot be unpacked"):
            events._unpacked(Folder(tmp_path, verify=False), known.train)
        assert [path.name for path in tmp_path.iterdir()] == [known.train.archive.name]
