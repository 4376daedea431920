"""Copy a whole study between databases: its rows, without the ids that only one database knows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from sqlalchemy import Connection, Table, insert, select

from storage.tables import epoch, event, lease, result, rung

TRIAL_TABLES = {"lease": lease, "curve": epoch, "rungs": rung, "result": result}
"""What our schema keeps of a trial and can be copied: all but checkpoints, whose bytes lie elsewhere."""

_studies: Table = models.StudyModel.__table__
_directions: Table = models.StudyDirectionModel.__table__
_trials: Table = models.TrialModel.__table__
_params: Table = models.TrialParamModel.__table__
_values: Table = models.TrialValueModel.__table__
_steps: Table = models.TrialIntermediateValueModel.__table__
_study_attrs: dict[str, Table] = {
    "user_attrs": models.StudyUserAttributeModel.__table__,
    "system_attrs": models.StudySystemAttributeModel.__table__,
}
_trial_attrs: dict[str, Table] = {
    "user_attrs": models.TrialUserAttributeModel.__table__,
    "system_attrs": models.TrialSystemAttributeModel.__table__,
}


def trial_ids(connection: Connection, study_id: int) -> list[int]:
    """Ids of a study's trials, in the order of their numbers."""
    query = select(_trials.c.trial_id).where(_trials.c.study_id == study_id)
    return list(connection.scalars(query.order_by(_trials.c.number)))


def trial_rows(connection: Connection, table: str, study_id: int) -> dict[int, list[dict[str, Any]]]:
    """Rows of one of `TRIAL_TABLES` by trial id, without the ids."""
    source = TRIAL_TABLES[table]
    query = select(source).where(source.c.trial_id.in_(select(_trials.c.trial_id).filter_by(study_id=study_id)))
    rows: dict[int, list[dict[str, Any]]] = {}
    for row in connection.execute(query.order_by(*source.primary_key.columns)):
        plain = {name: value for name, value in row._mapping.items() if name not in ("trial_id", "study_id")}
        rows.setdefault(row.trial_id, []).append(plain)
    return rows


def event_rows(connection: Connection, study_id: int) -> list[dict[str, Any]]:
    """All events of a study, oldest first, without their ids."""
    query = select(event.c.number, event.c.kind, event.c.message, event.c.at).where(event.c.study_id == study_id)
    return [dict(row._mapping) for row in connection.execute(query.order_by(event.c.event_id))]


def study_attrs(connection: Connection, study_id: int) -> dict[str, dict[str, Any]]:
    """Optuna's attributes of a study: `user_attrs` and `system_attrs`."""
    return {
        kind: {
            row.key: json.loads(row.value_json)
            for row in connection.execute(select(table.c.key, table.c.value_json).where(table.c.study_id == study_id))
        }
        for kind, table in _study_attrs.items()
    }


def is_taken(connection: Connection, name: str) -> bool:
    """Whether Optuna's tables have a study of this name, of ours or not."""
    return connection.scalar(select(_studies.c.study_id).where(_studies.c.study_name == name)) is not None


def add_optuna_study(
    connection: Connection, name: str, directions: Sequence[str], attrs: Mapping[str, Mapping[str, Any]]
) -> int:
    """Id of a new study without trials; `attrs` as `study_attrs` gives them."""
    study_id = connection.scalar(insert(_studies).values(study_name=name).returning(_studies.c.study_id))
    assert study_id is not None
    rows = [
        {"study_id": study_id, "objective": number, "direction": StudyDirection[direction.upper()]}
        for number, direction in enumerate(directions)
    ]
    connection.execute(insert(_directions), rows)
    for kind, table in _study_attrs.items():
        _insert(connection, table, [{"study_id": study_id, **row} for row in _attr_rows(attrs[kind])])
    return int(study_id)


def add_trials(connection: Connection, study_id: int, trials: Sequence[FrozenTrial]) -> list[int]:
    """Add trials as they are, whatever their states; their new ids in the same order."""
    if not trials:
        return []
    heads = [
        {
            "study_id": study_id,
            "number": trial.number,
            "state": trial.state,
            "datetime_start": trial.datetime_start,
            "datetime_complete": trial.datetime_complete,
        }
        for trial in trials
    ]
    ids = list(connection.scalars(insert(_trials).returning(_trials.c.trial_id, sort_by_parameter_order=True), heads))
    named = list(zip(ids, trials, strict=True))
    _insert(connection, _params, [row for trial_id, trial in named for row in _param_rows(trial_id, trial)])
    _insert(connection, _values, [row for trial_id, trial in named for row in _value_rows(trial_id, trial)])
    _insert(connection, _steps, [row for trial_id, trial in named for row in _step_rows(trial_id, trial)])
    for kind, table in _trial_attrs.items():
        rows = [{"trial_id": trial_id, **row} for trial_id, trial in named for row in _attr_rows(getattr(trial, kind))]
        _insert(connection, table, rows)
    return ids


def add_trial_rows(connection: Connection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows to one of `TRIAL_TABLES`, each with its ids."""
    _insert(connection, TRIAL_TABLES[table], rows)


def add_event_rows(connection: Connection, study_id: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add events, oldest first."""
    _insert(connection, event, [{"study_id": study_id, **row} for row in rows])


def _param_rows(trial_id: int, trial: FrozenTrial) -> list[dict[str, Any]]:
    return [
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": trial.distributions[name].to_internal_repr(value),
            "distribution_json": distribution_to_json(trial.distributions[name]),
        }
        for name, value in trial.params.items()
    ]


def _value_rows(trial_id: int, trial: FrozenTrial) -> list[dict[str, Any]]:
    stored = [models.TrialValueModel.value_to_stored_repr(value) for value in trial.values or ()]
    return [
        {"trial_id": trial_id, "objective": number, "value": value, "value_type": kind}
        for number, (value, kind) in enumerate(stored)
    ]


def _step_rows(trial_id: int, trial: FrozenTrial) -> list[dict[str, Any]]:
    to_stored = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr
    stored = {step: to_stored(value) for step, value in trial.intermediate_values.items()}
    return [
        {"trial_id": trial_id, "step": step, "intermediate_value": value, "intermediate_value_type": kind}
        for step, (value, kind) in stored.items()
    ]


def _attr_rows(attrs: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"key": key, "value_json": json.dumps(value)} for key, value in attrs.items()]


def _insert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), rows)
