"""The table that searches are replayed on: every configuration trained to its end, with its objectives at each rung.

    .venv/bin/python -m tests.bench.search_table digits --var table

It is four studies of spikefront's own, one for each surrogate and seed, that go through their grid without stopping;
they may be interrupted and called again. What they recorded is then packed into `tests/bench/tables/NAME.npz`. MNIST
wants its files in SPIKEFRONT_DATA.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from storage.embedded import EmbeddedPostgres
from storage.engine import create_engine

TABLES = Path(__file__).parent / "tables"
SURROGATES = {"fast_sigmoid": "slope", "atan": "alpha"}
"""With the knob that scales each."""

AXES: dict[str, tuple[float, ...]] = {
    "scale": (1.0, 2.0, 4.0, 8.0, 16.0, 32.0),
    "beta": (0.05, 0.25, 0.5, 0.7, 0.85, 0.95),
    "threshold": (0.25, 0.5, 1.0, 1.5, 2.0, 2.5),
}
SEEDS = (1, 2)
OBJECTIVES = ("accuracy", "latency_ms", "fps_per_watt")
REDUCTION = 2


@dataclass(frozen=True)
class Recorded:
    """A data set's part of the table.

    Attributes:
        epochs: Of each training.
        fields: Of the study file.
    """

    epochs: int
    fields: dict[str, Any]

    @property
    def rungs(self) -> list[int]:
        """Epochs at which all objectives are recorded; the last is the end."""
        below = itertools.takewhile(lambda epoch: epoch < self.epochs, (REDUCTION**k for k in itertools.count()))
        return [*below, self.epochs]


DATA_SETS = {
    "digits": Recorded(
        27,
        {
            "dataset": {"name": "digits"},
            "network": "16C3p1-MP2-16C3p1-MP2-64-10",
            "time_steps": 6,
            "accelerator": {"neural_cores": [4, 4, 8, 5], "clock_mhz": 100, "device": "xc7z045"},
            "train": {"epochs": 27, "batch": 32, "lr": 2.0e-2, "schedule": "cosine", "seed": "fixed"},
        },
    ),
    "mnist": Recorded(
        9,
        {
            "dataset": {"name": "mnist", "limit": 4000, "validation": 0.25},
            "network": "16C3p1-MP2-64-10",
            "time_steps": 6,
            "accelerator": {"neural_cores": [4, 8, 5], "clock_mhz": 100, "device": "xc7z045"},
            "train": {"epochs": 9, "batch": 64, "lr": 1.0e-2, "schedule": "cosine", "seed": "fixed"},
        },
    ),
}


def study_of(name: str, surrogate: str, seed: int) -> dict[str, Any]:
    """The study file of one surrogate and seed: a grid without stopping."""
    knob = SURROGATES[surrogate]
    axes = {knob: AXES["scale"], "beta": AXES["beta"], "threshold": AXES["threshold"]}
    return {
        "study": f"{name}-{surrogate.replace('_', '-')}-{seed}",
        **DATA_SETS[name].fields,
        "encoding": "direct",
        "loss": "mse_count",
        "surrogate": surrogate,
        "search": {axis: {"choice": list(values)} for axis, values in axes.items()},
        "objectives": list(OBJECTIVES),
        "constraints": {"floor": {"accuracy": 0.7}, "fits_device": True},
        "sampler": {"name": "grid", "seed": seed},
        "stopping": {"name": "none", "reduction": REDUCTION, "grace_epochs": 1},
        "budget": {"trials": 1 + len(list(itertools.product(*axes.values())))},
        "baseline": {knob: 2.0, "beta": 0.25, "threshold": 1.0},
    }


def record(name: str, var: Path, workers: int) -> None:
    """Run the studies of a data set, or go on with them."""
    var.mkdir(parents=True, exist_ok=True)
    for surrogate, seed in itertools.product(SURROGATES, SEEDS):
        study = study_of(name, surrogate, seed)
        file = var / f"{study['study']}.yaml"
        file.write_text(yaml.safe_dump(study, sort_keys=False))
        command = [sys.executable, "-m", "service.cli", "run", str(file), "--workers", str(workers), "--port", "0"]
        subprocess.run(command, env={**os.environ, "SPIKEFRONT_VAR": str(var)}, check=True)


def packed(name: str, var: Path) -> dict[str, NDArray[Any]]:
    """What the studies recorded: `vectors` (surrogate, scale, beta, threshold, seed, rung, objective) and `seconds`.

    `seconds` (surrogate, scale, beta, threshold, seed) is what an epoch took, with its part of the scoring left out.
    """
    shape = (len(SURROGATES), *map(len, AXES.values()), len(SEEDS))
    rungs = DATA_SETS[name].rungs
    vectors, seconds = np.full((*shape, len(rungs), len(OBJECTIVES)), np.nan), np.full(shape, np.nan)
    with EmbeddedPostgres(var / "postgres") as server:
        engine = create_engine(server.start())
        with engine.connect() as connection:
            for (s, surrogate), (k, seed) in itertools.product(enumerate(SURROGATES), enumerate(SEEDS)):
                study = study_of(name, surrogate, seed)["study"]
                for place, trial in _trials(connection, study, SURROGATES[surrogate]):
                    vectors[(s, *place, k)] = _vectors(connection, trial, rungs)
                    seconds[(s, *place, k)] = _seconds(connection, trial)
        engine.dispose()
    assert np.isfinite(vectors).all(), f"{int(np.isnan(vectors[..., 0, 0]).sum())} configurations are missing"
    return {"vectors": vectors, "seconds": seconds, "rungs": np.array(rungs)}


def _trials(connection: Connection, study: str, knob: str) -> Iterator[tuple[tuple[int, ...], int]]:
    """Complete trials with their places on the axes; the baseline, which is on the grid too, last."""
    rows = connection.execute(
        text(
            "SELECT t.trial_id, json_object_agg(p.param_name, p.distribution_json) AS domains, "
            "json_object_agg(p.param_name, p.param_value) AS params FROM public.trials t "
            "JOIN public.trial_params p USING (trial_id) JOIN spikefront.study s USING (study_id) "
            "WHERE s.name = :name AND t.state = 'COMPLETE' GROUP BY t.trial_id, t.number ORDER BY t.number DESC"
        ),
        {"name": study},
    )
    for row in rows:  # choices are stored by their places
        yield tuple(int(row.params[axis]) for axis in (knob, "beta", "threshold")), row.trial_id


def _vectors(connection: Connection, trial_id: int, rungs: Sequence[int]) -> NDArray[np.float64]:
    below = {
        row.epoch: [row.values[name] for name in OBJECTIVES]
        for row in connection.execute(
            text('SELECT epoch, "values" FROM spikefront.rung WHERE trial_id = :id'), {"id": trial_id}
        )
    }
    end = connection.scalars(
        text("SELECT value FROM public.trial_values WHERE trial_id = :id ORDER BY objective"), {"id": trial_id}
    ).all()
    return np.array([*(below[epoch] for epoch in rungs[:-1]), end], dtype=np.float64)


def _seconds(connection: Connection, trial_id: int) -> float:
    mean = connection.scalar(text("SELECT avg(seconds) FROM spikefront.epoch WHERE trial_id = :id"), {"id": trial_id})
    return float(mean)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.search_table", description="Record a table.")
    parser.add_argument("name", choices=DATA_SETS)
    parser.add_argument("--var", type=Path, required=True, help="folder of the studies, to go on with later")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    record(asked.name, asked.var, asked.workers)
    TABLES.mkdir(exist_ok=True)
    np.savez_compressed(TABLES / f"{asked.name}.npz", **packed(asked.name, asked.var))


if __name__ == "__main__":
    main()
