"""What running a study will cost: facts from its file, and a measurement of a few batches."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from objectives.data import describe
from objectives.hardware import searched_space
from objectives.space import dimensions, grid_size
from objectives.spec import Study

MEASURE_S = 3.0


def describe_study(study: Study) -> dict[str, Any]:
    """Facts about a valid study, in the words that `check` prints."""
    names = list(dict.fromkeys(name for name, _, _ in dimensions(study.search)))
    size = grid_size(study.search)
    facts = {
        "study": study.study,
        "dimensions": f"{len(names)}: {', '.join(names)}",
        "points": "continuous" if size is None else size,
        "objectives": ", ".join(
            f"{name} ({direction})" for name, direction in zip(study.objectives, study.directions, strict=True)
        ),
        "floor": f"accuracy {study.floor(describe(study.dataset.name).classes):.3g}",
        "baseline": ", ".join(f"{name} {value}" for name, value in study.baseline_params().items()),
    }
    return facts if study.accelerator.search is None else {**facts, "accelerators": _accelerators(study)}


def _accelerators(study: Study) -> str:
    """What each trial searches, and what it reports."""
    hardware = study.accelerator
    limits = hardware.budget.limits() if hardware.budget else {}
    budget = ", ".join(f"{limit:,g} {part}" for part, limit in limits.items()) or f"all of {hardware.device}"
    return f"{searched_space(study).size:,} for each trial, within {budget}; it reports {hardware.report}"


def estimate_cost(study: Study, data: Path, workers: int) -> dict[str, Any]:
    """Train the baseline for some seconds, score it once, and reckon the whole study from that.

    Raises:
        DatasetError: The data set is missing or corrupted.
    """
    from objectives.data import load_dataset
    from objectives.process import settle
    from objectives.score import score
    from objectives.train import Training

    settle()
    settings = study.resolve(study.baseline_params())
    images = load_dataset(settings.dataset, data)
    training = Training(settings, 0, images)
    batches, started = 0, 0.0

    def enough() -> bool:
        nonlocal batches, started
        batches += 1
        if batches == 3:  # the first ones warm caches up
            started = time.process_time()
        return batches > 4 and time.process_time() - started > MEASURE_S

    while not training.finished and training.run_epoch(enough) is not None:
        pass
    per_batch = (time.process_time() - started) / max(1, batches - 3)
    steps = -(-len(images.train.labels) // settings.train.batch)
    valid = images.validation
    score(settings, training.network, valid.images, valid.labels, seed=0, baseline=None)
    started = time.process_time()
    score(settings, training.network, valid.images, valid.labels, seed=0, baseline=None)
    per_score = time.process_time() - started
    trial_s = settings.train.epochs * (per_batch * steps + per_score)
    facts: dict[str, Any] = {
        "images": f"{len(images.train.labels)} train, {len(valid.labels)} validation, {len(images.test.labels)} test",
        "weights": sum(parameter.numel() for parameter in training.network.parameters()),
        "seconds_a_trial": round(trial_s, 1),
    }
    if study.budget.trials is not None:
        facts["minutes_in_all"] = f"{study.budget.trials * trial_s / max(1, workers) / 60:.1f} with {workers} workers"
    return facts
