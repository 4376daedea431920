"""What training and evaluation add to the memory of an idle process: `python -m tests.support.memory`.

Each net trains a few batches, or is evaluated, in a process of its own; the figure is its peak resident
memory over what it held with the images loaded and one batch of digits trained, which brings torch's code into memory.
MB are 1e6 bytes. `NAME BATCHES IMAGES FIELDS` measures one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from objectives.activity import record
from objectives.data import Dataset, DatasetInfo, Split
from objectives.process import settle
from objectives.spec import Study
from objectives.train import Training
from tests.support.resident import forget_peak, peak, resident

ROOT = Path(__file__).parents[2]
MB = 1e6

_TWO = "32C3p1-MP2-32C3p1-MP2-256-10"
NETS: dict[str, tuple[str, tuple[int, int, int], int, int]] = {
    "digits": ("16C3p1-MP2-64-10", (1, 8, 8), 10, 64),
    "mnist": (_TWO, (1, 28, 28), 10, 128),
    "svhn": (_TWO, (3, 32, 32), 10, 64),
    "svhn25": (_TWO, (3, 32, 32), 25, 64),
}
"""Network, image, time steps and batch."""


def make_study(name: str, **fields: Any) -> Study:
    """The study of a net; `fields` replace its own, those of `train` key by key."""
    network, _, time_steps, batch = NETS[name]
    study: dict[str, Any] = {
        "study": name,
        "dataset": {"name": "digits"},  # never loaded: the images are random
        "network": network,
        "time_steps": time_steps,
        "loss": "ce_rate",
        "accelerator": {"neural_cores": [1] * 4},
        "search": {"beta": {"range": [0.0, 1.0]}},
        "budget": {"trials": 1},
        **fields,
        "train": {"epochs": 1, "batch": batch, **fields.get("train", {})},
    }
    return Study.model_validate_json(json.dumps(study))


def make_data(name: str, images: int) -> Dataset:
    """So many random images to train on and to evaluate."""
    shape = NETS[name][1]
    random = torch.Generator().manual_seed(0)
    split = Split(torch.rand(images, *shape, generator=random), torch.randint(10, (images,), generator=random))
    return Dataset(name, DatasetInfo(shape, 10), split, split, split)


def growth_mb(name: str, batches: int, images: int, fields: dict[str, Any]) -> float:
    """Peak of this process over what it held, by training so many batches; for 0, by evaluating all images [MB]."""
    settle()
    study, data = make_study(name, **fields), make_data(name, images)
    Training(make_study("digits"), 0, make_data("digits", 64)).run_epoch(lambda: False)
    forget_peak()
    idle = resident()
    training = Training(study, 0, data)
    if batches == 0:
        record(training.network, data.test.images, data.test.labels, encoding=study.encoding, seed=0)
    else:
        left = iter(range(batches - 1, -1, -1))
        training.run_epoch(lambda: next(left) == 0)
    return (peak() - idle) / MB


def measured_mb(name: str, *, batches: int, images: int, **fields: Any) -> float:
    """`growth_mb` in a new process [MB]."""
    command = [sys.executable, "-m", "tests.support.memory", name, str(batches), str(images), json.dumps(fields)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Print a line for each net."""
    for name, (_, _, _, batch) in NETS.items():
        trained = measured_mb(name, batches=6, images=8 * batch)
        few, many = (measured_mb(name, batches=0, images=images) for images in (256, 1024))
        print(f"{name:8}training {trained:6.1f} MB   evaluation of 256 {few:6.1f} MB, of 1,024 {many:6.1f} MB")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(growth_mb(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])))
    else:
        main()
