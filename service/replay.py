"""Train a finished trial again from its record, and say whether it comes out the same bit for bit."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from objectives.checkpoint import load_tensors
from objectives.data import load_dataset
from objectives.process import settle
from objectives.score import Score, score
from objectives.spec import Study
from objectives.train import Training
from service import versions
from service.errors import NotFound, UsageError
from service.record import Record
from service.studies import Studies
from storage.artifacts import Artifacts
from storage.errors import ArtifactError


@dataclass(frozen=True)
class Difference:
    """One figure that came out differently."""

    what: str
    stored: Any
    here: Any


@dataclass(frozen=True)
class ReplayedEpoch:
    """One epoch, as stored and as it came out here.

    Attributes:
        epoch: Its number, from 1.
        loss: Mean training loss, as stored and here; None where the epoch was never stored.
        accuracy: On the validation images, as stored and here; None as well.
    """

    epoch: int
    loss: tuple[float | None, float]
    accuracy: tuple[float | None, float]

    def differences(self) -> Iterator[Difference]:
        """What differs in this epoch; an epoch that was never stored differs in nothing."""
        for what, (stored, here) in (("loss", self.loss), ("accuracy", self.accuracy)):
            if stored is not None and stored != here:
                yield Difference(f"epoch {self.epoch}: {what}", stored, here)

    def line(self) -> str:
        """One line for people."""
        found = f"epoch {self.epoch}: loss {self.loss[1]:.6g}, accuracy {self.accuracy[1]:.2%}"
        if self.loss[0] is None or self.accuracy[0] is None:
            return f"{found}, not in the record"
        if not list(self.differences()):
            return f"{found}, equal"
        change, points = self.loss[1] - self.loss[0], (self.accuracy[1] - self.accuracy[0]) * 100
        return f"{found}, differs by {change:+.3g} and {points:+.3g} pt"


@dataclass(frozen=True)
class Replay:
    """How a trial came out again.

    Attributes:
        study: Name of its study.
        trial: Its number.
        epochs: Every epoch.
        weights: SHA-256 of the weights' file, stored and here.
        differences: All that differs, in the order in which it came to be; empty where the trial is bit-equal.
        versions: Where decisive packages differ: between here, and the study or the worker that trained the trial.
        place: What else decides the last bits: machine, threads, versions here.
    """

    study: str
    trial: int
    epochs: tuple[ReplayedEpoch, ...]
    weights: tuple[str, str]
    differences: tuple[Difference, ...]
    versions: tuple[str, ...]
    place: Mapping[str, Any]

    @property
    def is_bit_equal(self) -> bool:
        """Whether learning curve, weights, values and accelerators are all equal bit for bit."""
        return not self.differences

    def document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "study": self.study,
            "trial": self.trial,
            "bit_equal": self.is_bit_equal,
            "weights": {"stored": self.weights[0], "here": self.weights[1]},
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "differences": [asdict(difference) for difference in self.differences],
            "versions": list(self.versions),
            "place": dict(self.place),
        }

    def summary(self) -> str:
        """A few lines for people: the verdict; what differs first, and what may be the cause."""
        if self.is_bit_equal:
            verdict = f"trial {self.trial} of {self.study} is bit-equal: {len(self.epochs)} epochs, weights and values"
            return f"{verdict}\nSHA-256 of the weights: {self.weights[1]}"
        first, *others = self.differences
        place = ", ".join(f"{name} {value}" for name, value in self.place.items())
        return "\n".join(
            [
                f"trial {self.trial} of {self.study} is not bit-equal",
                f"first: {first.what}: {first.stored} in the record, {first.here} here",
                *(f"then: {other.what}" for other in others),
                *(self.versions or ["the decisive packages have the versions of the record"]),
                f"here: {place}",
                "the record does not say on which processor a trial was trained; another kind may round differently",
            ]
        )


@dataclass(frozen=True)
class _Recorded:
    """What is stored of a finished trial."""

    trial: Mapping[str, Any]
    spec: Study
    artifact: tuple[int, int, str]
    hardware_front: str | None
    versions: Mapping[str, str]

    @property
    def settings(self) -> Study:
        return self.spec.resolve(self.trial["params"])

    @property
    def seed(self) -> int:
        return int(self.trial["attributes"]["seed"])


def replay(
    record: Record, var: Path, data: Path, name: tuple[str, int], *, shown: Callable[[ReplayedEpoch], None]
) -> Replay:
    """Train a trial again with its parameters and its seed, in one go and on one thread, and compare.

    However often the trial was interrupted, it was trained to the same bits; so is its replay, where the decisive
    packages and the kind of processor are the same. A trial that ended by `train.max_minutes` ends after as many
    epochs. This process computes on one thread from here on.

    Args:
        record: The open database.
        var: Folder with the artifact store.
        data: Folder of the data sets.
        name: The study's name and the trial's number.
        shown: Called with every epoch as it is done.

    Raises:
        NotFound: There is no such study or trial, or it is not complete.
        UsageError: The trial was stored without its seed.
        DatasetError: The data set is missing or corrupted.
        TrainingError: The training does not stay finite here.
    """
    recorded = _recorded(Studies(record), *name)
    settle()  # as a worker trains: with other threads sums are taken in another order
    settings = recorded.settings
    images = load_dataset(settings.dataset, data)
    training = Training(settings, recorded.seed, images)
    epochs = tuple(_epochs(training, recorded, shown))
    baseline = recorded.spec.resolve(recorded.spec.baseline_params())
    valid = images.validation
    scored = score(settings, training.network, valid.images, valid.labels, seed=recorded.seed, baseline=baseline)
    weights = training.weights()
    digests = recorded.artifact[2], hashlib.sha256(weights).hexdigest()
    found = [
        *(difference for epoch in epochs for difference in epoch.differences()),
        *_weight_differences(Artifacts(var / "artifacts"), recorded.artifact, weights),
        *_score_differences(recorded, scored),
    ]
    return Replay(*name, epochs, digests, tuple(found), tuple(_versions(recorded)), _place())


def _recorded(studies: Studies, study: str, number: int) -> _Recorded:
    trial, artifact = studies.trial(study, number), studies.weights_of(study, number)
    if artifact is None or trial["details"] is None:
        raise NotFound(f"trial {number} of {study!r} is {trial['state']}; only a complete trial can be replayed")
    if "seed" not in trial["attributes"]:
        raise UsageError(f"trial {number} of {study!r} was stored without its seed; it cannot be replayed")
    front = studies.hardware_front_of(study, number)
    row = studies.row(study)
    return _Recorded(trial, studies.spec(study), artifact, None if front is None else front[2], row.versions)


def _epochs(training: Training, recorded: _Recorded, shown: Callable[[ReplayedEpoch], None]) -> Iterator[ReplayedEpoch]:
    """Train to the end; where time may have ended the trial, as many epochs as are stored."""
    curve = {point["epoch"]: point for point in recorded.trial["curve"]}
    last = training.epochs if recorded.settings.train.max_minutes is None else max(curve, default=training.epochs)
    while training.epoch < last:
        here = training.run_epoch(lambda: False)
        assert here is not None, "nobody stops a replay"
        stored = curve.get(here.epoch, {})
        one = ReplayedEpoch(here.epoch, (stored.get("loss"), here.loss), (stored.get("accuracy"), here.accuracy))
        shown(one)
        yield one


# --- what differs --------------------------------------------------------------------------------------------------


def _weight_differences(store: Artifacts, artifact: tuple[int, int, str], data: bytes) -> Iterator[Difference]:
    """The tensors that differ; where none does, or the stored ones cannot be read, the file's digest."""
    here = hashlib.sha256(data).hexdigest()
    if here == artifact[2]:
        return
    try:
        stored = load_tensors(store.read(*artifact))
    except ArtifactError as error:
        yield Difference(f"weights (those of the record cannot be compared: {error})", artifact[2], here)
        return
    mine = load_tensors(data)
    found = [name for name in stored.keys() | mine.keys() if not _same(stored.get(name), mine.get(name))]
    for name in sorted(found):
        yield Difference(f"weights: {name}", _digest(stored.get(name)), _digest(mine.get(name)))
    if not found:
        yield Difference("weights: the file around equal tensors", artifact[2], here)


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is not None and other is not None and _digest(one) == _digest(other)


def _digest(tensor: Tensor | None) -> str | None:
    """SHA-256 of a tensor's kind, shape and bytes; None of none."""
    if tensor is None:
        return None
    head = f"{tensor.dtype} {tuple(tensor.shape)} ".encode()
    return hashlib.sha256(head + tensor.contiguous().numpy().tobytes()).hexdigest()


def _score_differences(recorded: _Recorded, scored: Score) -> Iterator[Difference]:
    trial, details = recorded.trial, recorded.trial["details"]
    yield from _differing("value", trial["values"], {name: scored.values[name] for name in trial["values"]})
    stored, here = trial["on_baseline_accelerator"] or {}, scored.on_baseline_accelerator or {}
    yield from _differing("on the baseline's accelerator", stored, here)
    chosen = (record.get("accelerator_chosen") for record in (details, scored.details))
    yield from _differing("accelerator chosen", *({"": one} for one in chosen))
    front = None if scored.hardware_front is None else hashlib.sha256(scored.hardware_front).hexdigest()
    yield from _differing("SHA-256 of the hardware front", {"": recorded.hardware_front}, {"": front})


def _differing(what: str, stored: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[Difference]:
    for name in [*stored, *(name for name in here if name not in stored)]:
        if stored.get(name) != here.get(name):
            yield Difference(f"{what} {name}".strip(), stored.get(name), here.get(name))


# --- what may be the cause -----------------------------------------------------------------------------------------


def _versions(recorded: _Recorded) -> Iterator[str]:
    here = versions.installed()
    for difference in versions.differing(recorded.versions, here):
        yield f"here is {difference}, which the study began with"
    worker = recorded.trial["attributes"].get("not bit-comparable")
    for difference in versions.differing(worker or here, here):
        yield f"here is {difference}, which the trial was trained with"


def _place() -> dict[str, Any]:
    return {
        "machine": platform.machine(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        **versions.installed(),
    }
