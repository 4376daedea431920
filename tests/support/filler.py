"""Finished trials by the ten thousand, written straight by COPY: a database as a long search leaves it.

Of a study of ours every trial has its lease, result, learning curve and event; of another Optuna study it has what
Optuna writes. The search space must have no conditions: every trial has every parameter.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from sqlalchemy import Engine, text

from objectives.spec import Study
from service.samplers import Mirror, training_seed
from storage import studies

GENERATION = "NSGAIISampler:generation"
POPULATION = 50
"""Trials of one generation, as Optuna's NSGA-II has them by default."""

_BEGIN = datetime(2024, 1, 1)
_DIGEST = "0" * 64
_CHUNK = 5000


@dataclass(frozen=True)
class _Trials:
    """A chunk of trials to write."""

    ids: Sequence[int]
    first: int
    params: Mapping[str, np.ndarray]  # internal representations
    values: np.ndarray
    violations: np.ndarray


def fill(engine: Engine, study: Study, count: int, *, seed: int = 0) -> None:
    """Add `count` finished trials to a study of ours, with everything that workers would have left."""
    with engine.connect() as connection:
        row = studies.by_name(connection, study.study)
    assert row is not None, f"start the study {study.study!r} first"
    for trials in _write(engine, row.study_id, distributions_of(study), count, study.sampler.name == "nsga2", seed):
        _copy(engine, _our_tables(row.study_id, study, trials))


def fill_optuna(
    engine: Engine, study_id: int, distributions: Mapping[str, BaseDistribution], count: int, *,
    generations: bool = False, seed: int = 0,
) -> None:  # fmt: skip
    """Add `count` finished trials to a study that is Optuna's alone; the same as `fill` writes for the same seed."""
    for _ in _write(engine, study_id, distributions, count, generations, seed):
        pass


def distributions_of(study: Study) -> dict[str, BaseDistribution]:
    """Optuna's distributions of a study's search space, which has no conditions."""
    return dict(Mirror(study).suggest(0).distributions)


def scores(rng: np.random.Generator, count: int) -> np.ndarray:
    """Made-up accuracy, latency and FPS/W `(count, 3)`: better costs more, with noise."""
    effort, luck = rng.uniform(0.0, 1.0, (count, 2)), rng.normal(0.0, 0.05, (count, 3))
    accuracy = np.clip(0.5 + 0.4 * effort[:, 0] + luck[:, 0], 0.1, 1.0)
    latency = 0.2 + effort[:, 0] ** 2 + 0.5 * effort[:, 1] + np.abs(luck[:, 1])
    return np.stack([accuracy, latency, 900 - 400 * effort[:, 1] * effort[:, 0] + 500 * luck[:, 2]], axis=1)


def _write(
    engine: Engine,
    study_id: int,
    distributions: Mapping[str, BaseDistribution],
    count: int,
    generations: bool,
    seed: int,
) -> Iterator[_Trials]:
    """Write Optuna's part chunk by chunk, and give what else is to be said of each."""
    rng = np.random.default_rng(seed)
    for size in (min(_CHUNK, count - done) for done in range(0, count, _CHUNK)):
        values = scores(rng, size)
        violations = np.where(rng.uniform(size=size) < 0.1, 0.1, 0.2 - values[:, 0])
        params = {name: drawn(rng, distribution, size) for name, distribution in distributions.items()}
        trials = _Trials(*_reserved(engine, study_id, size), params, values, violations)
        _copy(engine, _optuna_tables(study_id, trials, distributions, generations))
        yield trials


def _reserved(engine: Engine, study_id: int, count: int) -> tuple[list[int], int]:
    """Ids for new trials, and the number of the first."""
    sequence = "nextval(pg_get_serial_sequence('public.trials', 'trial_id'))"
    with engine.begin() as connection:
        ids = list(connection.scalars(text(f"SELECT {sequence} FROM generate_series(1, :n)"), {"n": count}))
        first = connection.scalar(text("SELECT count(*) FROM public.trials WHERE study_id = :id"), {"id": study_id})
    return ids, int(first or 0)


def drawn(rng: np.random.Generator, distribution: BaseDistribution, count: int) -> np.ndarray:
    match distribution:
        case CategoricalDistribution():
            return rng.integers(len(distribution.choices), size=count).astype(float)
        case FloatDistribution(log=True):
            return np.exp(rng.uniform(np.log(distribution.low), np.log(distribution.high), count))
        case IntDistribution():
            points = (distribution.high - distribution.low) // distribution.step
            return distribution.low + distribution.step * rng.integers(points + 1, size=count).astype(float)
        case FloatDistribution(step=None):
            return rng.uniform(distribution.low, distribution.high, count)
    raise TypeError(f"no such distribution is drawn here: {distribution}")


Tables = Mapping[str, Iterable[tuple[Any, ...]]]


def _optuna_tables(
    study_id: int, trials: _Trials, distributions: Mapping[str, BaseDistribution], generations: bool
) -> Tables:
    numbered = list(zip(trials.ids, range(trials.first, trials.first + len(trials.ids)), strict=True))
    documents = {name: distribution_to_json(distribution) for name, distribution in distributions.items()}
    system = [(id_, "constraints:floor", float(v)) for id_, v in zip(trials.ids, trials.violations, strict=True)]
    system += [(id_, "constraints:fits_device", 0.0) for id_ in trials.ids]
    if generations:
        system += [(id_, GENERATION, number // POPULATION) for id_, number in numbered]
    return {
        "public.trials(trial_id, number, study_id, state, datetime_start, datetime_complete)": (
            (id_, number, study_id, "COMPLETE", _at(number), _at(number + 1)) for id_, number in numbered
        ),
        "public.trial_params(trial_id, param_name, param_value, distribution_json)": (
            (id_, name, value, documents[name])
            for name, column in trials.params.items()
            for id_, value in zip(trials.ids, column.tolist(), strict=True)
        ),
        "public.trial_values(trial_id, objective, value, value_type)": (
            (id_, objective, value, "FINITE")
            for id_, row in zip(trials.ids, trials.values.tolist(), strict=True)
            for objective, value in enumerate(row)
        ),
        "public.trial_system_attributes(trial_id, key, value_json)": (
            (id_, key, json.dumps(value)) for id_, key, value in system
        ),
    }


def _our_tables(study_id: int, study: Study, trials: _Trials) -> Tables:
    numbered = list(zip(trials.ids, range(trials.first, trials.first + len(trials.ids)), strict=True))
    epochs = study.train.epochs
    attrs = [(id_, "worker", json.dumps("filler")) for id_ in trials.ids]
    attrs += [(id_, "seed", training_seed(study, number)) for id_, number in numbered]
    attrs += [(id_, "attempts", 1) for id_ in trials.ids]
    return {
        "public.trial_user_attributes(trial_id, key, value_json)": attrs,
        "spikefront.lease(trial_id, study_id, task, worker, fence, seed, epochs, epoch, accuracy, leased_at, "
        "expires_at, ended_at)": (
            (id_, study_id, "train", "filler", 1, training_seed(study, number), epochs, epochs, 0.5,
             _at(number), _at(number + 2), _at(number + 1))
            for id_, number in numbered
        ),
        "spikefront.epoch(trial_id, epoch, loss, accuracy, seconds)": (
            (id_, epoch, 1.0 / epoch, 0.5, 0.1) for id_ in trials.ids for epoch in range(1, epochs + 1)
        ),
        "spikefront.result(trial_id, details, weights_sha256, weights_fence)": (
            (id_, '{"accuracy_standard_error": 0.01}', _DIGEST, 1) for id_ in trials.ids
        ),
        "spikefront.event(study_id, number, kind, message)": (
            (study_id, number, "trial complete", f"trial {number} complete: made up") for _, number in numbered
        ),
    }  # fmt: skip


def _copy(engine: Engine, tables: Tables) -> None:
    """Write rows in one transaction, table by table."""
    raw = engine.raw_connection()
    try:
        with raw.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
            for table, rows in tables.items():
                lines = io.StringIO("".join("\t".join(map(_field, row)) + "\n" for row in rows))
                cursor.copy_expert(f"COPY {table} FROM STDIN", lines)
            cursor.execute("RESET statement_timeout")
        raw.commit()
    finally:
        raw.close()


def _field(value: Any) -> str:
    """One value in COPY's text format."""
    return str(value).replace("\\", "\\\\")


def _at(second: int) -> datetime:
    return _BEGIN + timedelta(seconds=second)
