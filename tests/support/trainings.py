"""Trainings to be compared bit by bit, and a process of its own that resumes saved ones.

    python -m tests.support.trainings FOLDER

resumes every `CASE@EPOCH.BATCH` in the folder and prints a JSON line for each: `{NAME: outcome}`.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from objectives.data import Dataset
from objectives.score import score
from objectives.spec import LossName, OptimizerName, ScheduleName, Study, SurrogateName, WeightBits
from objectives.train import Training
from tests.unit.objectives.factory import make_data, make_study

ROOT = Path(__file__).parents[2]
SEED = 11
EPOCHS, BATCHES = 3, 2
"""Of each case: 96 images in batches of 50."""

_BASE: dict[str, Any] = {"network": "4C3p1-MP2-10", "threshold": 0.4, "accelerator": {"neural_cores": [2, 2]}}
_TRAIN = {"epochs": EPOCHS, "batch": 50, "lr": 5e-3}
_CODINGS, _POOLS = ("direct", "rate", "latency"), ("before_lif", "after_lif")

_DATASETS: Sequence[dict[str, Any]] = (
    {"normalise": "standard", "augment": {"crop": 1, "flip": True}},
    {"augment": {"flip": True}},
    {"augment": {"crop": 2}},
)
"""One for each coding: direct coding alone takes normalised images."""

_FIELDS: dict[str, Sequence[Any]] = {
    "encoding": _CODINGS,
    "pool": _POOLS,
    "loss": get_args(LossName),
    "surrogate": get_args(SurrogateName),
    "weight_bits": get_args(WeightBits),
    "dataset": [{"name": "digits", **fields} for fields in _DATASETS],
    "neuron": ("lapicque", "lif"),
    "reset": ("subtract", "zero", "zero", "subtract"),
    "learn": ((), ("beta",), ("threshold",), ("beta", "threshold")),
}
_TRAIN_FIELDS: dict[str, Sequence[Any]] = {
    "optimizer": get_args(OptimizerName),
    "schedule": get_args(ScheduleName),
    "momentum": (0.9, 0.0),
    "weight_decay": (0.01, 0.0),
    "warmup_epochs": (0, 1, 2),
    "rate_penalty": (0.1, 0.0, 0.0),
    "micro_batch": (None, 16),
    "dropout": (0.0, 0.2, 0.5, 0.5),
}


def _mixed(number: int) -> dict[str, Any]:
    """Fields of one of the cases that together take every value."""
    fields = {name: values[number % len(values)] for name, values in _FIELDS.items()}
    return {
        **_BASE,
        **fields,
        "train": _TRAIN | {key: values[number % len(values)] for key, values in _TRAIN_FIELDS.items()},
    }


CASES: dict[str, dict[str, Any]] = {
    f"{encoding}-{optimizer}-{pool}": {
        **_BASE, "encoding": encoding, "pool": pool, "train": {**_TRAIN, "optimizer": optimizer},
    }
    for encoding in _CODINGS for optimizer in ("adam", "sgd") for pool in _POOLS
} | {f"mixed-{number}": _mixed(number) for number in range(len(get_args(OptimizerName)))}  # fmt: skip
"""Fields of a study by name: each coding, optimizer and order of pools; and each value of all others somewhere."""

Outcome = dict[str, Any]
"""What a training came to, JSON-ready and without times: `epochs`, `weights`, `score`."""


def never() -> bool:
    """Train on."""
    return False


def study_of(case: str) -> Study:
    """The study of a case."""
    return make_study(**CASES[case])


def _data() -> Dataset:
    """The images of all cases, with numbers to normalise them by."""
    data = make_data()
    return replace(data, info=replace(data.info, mean=(0.5,), std=(0.25,)))


def begin(case: str) -> Training:
    """A case's training, before its first batch."""
    return Training(study_of(case), SEED, _data())


def finish(training: Training, case: str, stop: Callable[[], bool] = never) -> Outcome:
    """Train to the end, however often `stop` interrupts, and score."""
    epochs = []
    while not training.finished:
        epoch = training.run_epoch(stop)
        if epoch is not None:
            epochs.append([epoch.epoch, epoch.loss, epoch.accuracy, epoch.firing_rate])
    valid = _data().validation
    scored = score(study_of(case), training.network, valid.images, valid.labels, seed=SEED, baseline=None)
    weights = hashlib.sha256(training.weights()).hexdigest()
    return {"epochs": epochs, "weights": weights, "score": [scored.values, scored.details]}


def states(case: str) -> dict[str, bytes]:
    """The state at the start, after every batch (also before the validation behind it) and epoch, as `EPOCH.BATCH`."""
    training, found = begin(case), dict[str, bytes]()

    def keep() -> bool:
        batch = sum(name.startswith(f"{training.epoch}.") for name in found)
        found[f"{training.epoch}.{batch}"] = training.state()
        return False

    keep()
    while not training.finished:
        training.run_epoch(keep)
        keep()
    return found


def scramble(seed: int) -> None:
    """Leave the global random states as if another program had run before."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # the global state is what is meant
    random.seed(seed)


def resume_elsewhere(folder: Path) -> dict[str, Outcome]:
    """The outcomes of all states in a folder, each resumed in a new process with a hash seed of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "4242"}
    command = [sys.executable, "-m", "tests.support.trainings", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {name: outcome for line in done.stdout.splitlines() for name, outcome in json.loads(line).items()}


def main() -> None:
    """Resume what lies in a folder; the global random states are others before each."""
    torch.set_num_threads(1)
    for number, path in enumerate(sorted(Path(sys.argv[1]).iterdir())):
        scramble(number)
        case = path.name.partition("@")[0]
        training = begin(case)
        training.restore(path.read_bytes())
        print(json.dumps({path.name: finish(training, case)}))


if __name__ == "__main__":
    main()
