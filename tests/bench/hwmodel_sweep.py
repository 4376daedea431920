"""The sweep of `make bench-hwmodel`: millions of accelerators for a trained network of four layers, 1,000 images.

The network `32C3p1-MP2-32C3p1-MP2-256-10` is trained, rate-coded, on scikit-learn's scans of digits (8x8, T = 10),
and its activity on 1,000 of them is recorded: held-back images first, then as many of the training set as are
missing. The activity is real. The maps are small, which changes nothing: a sweep's time does not depend on their size.

Training has a process of its own, and so has each sweep, which is given the counts alone: memory and time are the
sweep's (a process's peak memory starts at its parent's, so no parent may load torch). It takes one thread. Time is
that of the call, kernels loaded from numba's cache included, the slowest of three processes.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from hwmodel.accelerator import Accelerator, build_accelerator
from hwmodel.cores import LayerShape
from hwmodel.sweep import full_space, sweep
from tests.bench.bars import Bar, report

STUDY = """
study: sweep
dataset: {name: digits}
network: 32C3p1-MP2-32C3p1-MP2-256-10
encoding: rate
time_steps: 10
train: {epochs: 12, batch: 32, lr: 1.0e-2}
accelerator: {preset: event-driven-2023, neural_cores: [4, 4, 8, 5], clock_mhz: 100, device: xcku115}
search: {beta: {range: [0.05, 0.95]}}
budget: {trials: 1}
"""
SHAPES = (
    LayerShape("conv1", "conv", in_channels=1, in_frame=64, out_channels=32, out_frame=64, kernel=3),
    LayerShape("conv2", "conv", in_channels=32, in_frame=16, out_channels=32, out_frame=16, kernel=3),
    LayerShape("fc1", "fc", in_channels=32, in_frame=4, out_channels=256, out_frame=1, kernel=0),
    LayerShape("fc2", "fc", in_channels=1, in_frame=256, out_channels=10, out_frame=1, kernel=0),
)
ENCODER_DIVISORS = (1, 2, 3, 4, 6, 8, 12, 16, 32)
IMAGES, ACCELERATORS, MEMORY_MB = 1_000, 1_000_000, 1_000
PROCESSES = 3


def accelerator() -> Accelerator:
    """The accelerator the sweep varies."""
    return build_accelerator(SHAPES, [4, 4, 8, 5], dense_first=False, time_steps=10, device="xcku115")


def record_counts(file: Path) -> None:
    """Train the network and save its activity; prints its accuracy on the test set."""
    import torch  # here, for the reason above

    from objectives.activity import record
    from objectives.architecture import layer_shapes
    from objectives.data import load_dataset
    from objectives.studyfile import parse_study
    from objectives.train import Training

    torch.set_num_threads(1)  # as workers do: more are slower where others work too
    study = parse_study(STUDY)
    data = load_dataset(study.dataset, Path())
    assert tuple(layer_shapes(study.network, data.info.image)) == SHAPES
    training = Training(study, 0, data)
    while not training.finished:
        training.run_epoch(lambda: False)
    tested = record(training.network, data.test.images, data.test.labels, encoding=study.encoding, seed=0)
    splits = (data.test, data.validation, data.train)
    images = torch.cat([split.images for split in splits])[:IMAGES]
    labels = torch.cat([split.labels for split in splits])[:IMAGES]
    seen = record(training.network, images, labels, encoding=study.encoding, seed=0)
    np.savez(file, *seen.counts)
    rates = ", ".join(f"{name} {rate:.3f}" for name, rate in seen.firing_rates.items())
    print(f"sweep      {study.network}: test accuracy {tested.accuracy:.3f}, spikes per neuron and step {rates}")


def measure(file: Path) -> None:
    """Sweep once in this process; prints JSON."""
    with np.load(file) as saved:
        activity = [saved[name] for name in saved.files]
    assert {len(layer) for layer in activity} == {IMAGES}
    varied = accelerator()
    space = full_space(varied, encoder_divisors=ENCODER_DIVISORS)
    started, cpu = time.perf_counter(), time.process_time()
    front = sweep(varied, activity, space)
    figures = {
        "accelerators": front.swept,
        "points": len(front),
        "wall_s": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(figures))


def sweep_bar() -> Bar:
    """Seconds of the sweep; ends the benchmark if it looks at too few accelerators or needs too much memory."""
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts.npz"
        print(_child("record", counts), end="")
        runs = [json.loads(_child("measure", counts)) for _ in range(1 + PROCESSES)][1:]  # the first compiles
    for run in runs:
        print(
            f"sweep      {run['accelerators']:,} accelerators, {IMAGES:,} images, front of {run['points']:,}: "
            f"{run['wall_s']:.3f} s wall, {run['cpu_s']:.3f} s CPU, peak {run['peak_mb']:.0f} MB"
        )
    peak_mb, accelerators = max(run["peak_mb"] for run in runs), min(run["accelerators"] for run in runs)
    if peak_mb > MEMORY_MB or accelerators < ACCELERATORS:
        sys.exit(f"sweep: {peak_mb:.0f} MB of {MEMORY_MB}, {accelerators:,} accelerators of {ACCELERATORS:,}")
    return Bar("hwmodel/sweep", max(run["wall_s"] for run in runs), 5.0, "s", at_least=False)


def _child(task: str, file: Path) -> str:
    command = [sys.executable, "-m", "tests.bench.hwmodel_sweep", task, str(file)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> int:
    if len(sys.argv) == 3:
        {"record": record_counts, "measure": measure}[sys.argv[1]](Path(sys.argv[2]))
        return 0
    return report([sweep_bar()])


if __name__ == "__main__":
    sys.exit(main())
