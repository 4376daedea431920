"""The only writer of Optuna's tables: create, finish and fail a trial, each inside the caller's transaction.

Optuna's public API writes one trial in a dozen transactions of its own, so a trial could exist without its lease,
or its values without its state. These functions write the same rows through Optuna's own SQLAlchemy models; the
schema revisions they know are checked when a database is opened (`storage.schema`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import Connection, Table, func, select
from sqlalchemy.dialects.postgresql import insert

from storage.errors import TrialFinished

_studies: Table = models.StudyModel.__table__
_trials: Table = models.TrialModel.__table__
_params: Table = models.TrialParamModel.__table__
_values: Table = models.TrialValueModel.__table__
_user_attrs: Table = models.TrialUserAttributeModel.__table__
_system_attrs: Table = models.TrialSystemAttributeModel.__table__

CONSTRAINT = "constraints:"
"""Prefix of Optuna 5's system attributes for constraints; feasible means all are <= 0."""


@dataclass(frozen=True)
class Suggestion:
    """What a sampler proposes for one trial."""

    params: Mapping[str, Any]
    distributions: Mapping[str, BaseDistribution]
    system_attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialKey:
    """A trial by Optuna's id and by its number in the study."""

    trial_id: int
    number: int


def lock_study(connection: Connection, study_id: int) -> None:
    """Hold the study's row until the transaction ends: trials are created one after the other, as Optuna does."""
    connection.execute(select(_studies.c.study_id).where(_studies.c.study_id == study_id).with_for_update())


def count(connection: Connection, study_id: int, *states: TrialState) -> int:
    """Number of trials of a study, of all states unless some are named."""
    query = select(func.count()).select_from(_trials).where(_trials.c.study_id == study_id)
    if states:
        query = query.where(_trials.c.state.in_(states))
    return int(connection.scalar(query) or 0)


def create(connection: Connection, study_id: int, suggestion: Suggestion, user_attrs: Mapping[str, Any]) -> TrialKey:
    """Create a running trial with its parameters; the study's row must be locked."""
    number = count(connection, study_id)
    trial_id = connection.scalar(
        insert(_trials)
        .values(study_id=study_id, number=number, state=TrialState.RUNNING, datetime_start=_utc_now())
        .returning(_trials.c.trial_id)
    )
    assert trial_id is not None
    _write_suggestion(connection, trial_id, suggestion, user_attrs)
    return TrialKey(trial_id, number)


def enqueue(connection: Connection, study_id: int, fixed: Mapping[str, Any]) -> TrialKey:
    """Create a waiting trial whose parameters are fixed, as `optuna.Study.enqueue_trial` does."""
    lock_study(connection, study_id)
    number = count(connection, study_id)
    trial_id = connection.scalar(
        insert(_trials).values(study_id=study_id, number=number, state=TrialState.WAITING).returning(_trials.c.trial_id)
    )
    assert trial_id is not None
    _write_attrs(connection, _system_attrs, trial_id, {"fixed_params": dict(fixed)})
    return TrialKey(trial_id, number)


def first_waiting(connection: Connection, study_id: int) -> tuple[TrialKey, dict[str, Any]] | None:
    """The oldest enqueued trial and the parameters it fixes; the study's row must be locked."""
    row = connection.execute(
        select(_trials.c.trial_id, _trials.c.number)
        .where(_trials.c.study_id == study_id, _trials.c.state == TrialState.WAITING)
        .order_by(_trials.c.number)
        .limit(1)
        .with_for_update()
    ).one_or_none()
    if row is None:
        return None
    fixed = connection.scalar(
        select(_system_attrs.c.value_json).where(
            _system_attrs.c.trial_id == row.trial_id, _system_attrs.c.key == "fixed_params"
        )
    )
    return TrialKey(row.trial_id, row.number), json.loads(fixed) if fixed else {}


def start_waiting(connection: Connection, key: TrialKey, suggestion: Suggestion, user_attrs: Mapping[str, Any]) -> None:
    """Turn an enqueued trial into a running one, with its fixed and its suggested parameters."""
    connection.execute(
        _trials.update()
        .where(_trials.c.trial_id == key.trial_id)
        .values(state=TrialState.RUNNING, datetime_start=_utc_now())
    )
    _write_suggestion(connection, key.trial_id, suggestion, user_attrs)


def finish(
    connection: Connection,
    trial_id: int,
    values: Sequence[float],
    constraints: Mapping[str, float],
    user_attrs: Mapping[str, Any],
) -> None:
    """Write values, constraints, attributes and the state COMPLETE.

    Raises:
        TrialFinished: The trial is not running any more; nothing was written.
    """
    _lock_running(connection, trial_id)
    rows = [
        {"trial_id": trial_id, "objective": objective, "value": float(value), "value_type": "FINITE"}
        for objective, value in enumerate(values)
    ]
    connection.execute(insert(_values), rows)
    _write_attrs(connection, _system_attrs, trial_id, {CONSTRAINT + name: value for name, value in constraints.items()})
    _end(connection, trial_id, TrialState.COMPLETE, user_attrs)


def fail(connection: Connection, trial_id: int, user_attrs: Mapping[str, Any]) -> None:
    """Write attributes that say why, and the state FAIL.

    Raises:
        TrialFinished: The trial is not running any more; nothing was written.
    """
    _lock_running(connection, trial_id)
    _end(connection, trial_id, TrialState.FAIL, user_attrs)


def number_of(connection: Connection, trial_id: int) -> int:
    """Number of a stored trial in its study."""
    number = connection.scalar(select(_trials.c.number).where(_trials.c.trial_id == trial_id))
    assert number is not None
    return int(number)


def state_of(connection: Connection, trial_id: int) -> TrialState | None:
    """State of a trial; None when there is no such trial."""
    state = connection.scalar(select(_trials.c.state).where(_trials.c.trial_id == trial_id))
    return None if state is None else TrialState(state)


def values_of(connection: Connection, trial_id: int) -> list[float]:
    """The stored objective values, in the study's order; empty when there are none."""
    query = select(_values.c.value).where(_values.c.trial_id == trial_id).order_by(_values.c.objective)
    return [float(value) for value in connection.scalars(query)]


def running(connection: Connection, study_id: int) -> list[tuple[TrialKey, datetime | None]]:
    """The running trials of a study with the time they started (UTC)."""
    rows = connection.execute(
        select(_trials.c.trial_id, _trials.c.number, _trials.c.datetime_start).where(
            _trials.c.study_id == study_id, _trials.c.state == TrialState.RUNNING
        )
    )
    return [
        (TrialKey(row.trial_id, row.number), row.datetime_start.replace(tzinfo=UTC) if row.datetime_start else None)
        for row in rows
    ]


def changed(connection: Connection, study_id: int, known: int, open_ids: Sequence[int]) -> list[int]:
    """Ids of the trials that a mirror with `known` trials, `open_ids` of them unfinished, has not seen as they are."""
    finished = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    is_new = _trials.c.number >= known
    is_done = _trials.c.trial_id.in_(open_ids) & _trials.c.state.in_(finished)
    query = select(_trials.c.trial_id).where(_trials.c.study_id == study_id, is_new | is_done)
    return list(connection.scalars(query.order_by(_trials.c.number)))


def last_failures(connection: Connection, study_id: int, limit: int) -> list[str | None]:
    """Failure messages of the `limit` trials that ended last, newest first; None for one that did not fail."""
    ended = (
        select(_trials.c.trial_id, _trials.c.state)
        .where(_trials.c.study_id == study_id, _trials.c.datetime_complete.is_not(None))
        .order_by(_trials.c.datetime_complete.desc())
        .limit(limit)
        .subquery()
    )
    message = (_user_attrs.c.trial_id == ended.c.trial_id) & (_user_attrs.c.key == "failure")
    rows = connection.execute(
        select(ended.c.state, _user_attrs.c.value_json).select_from(ended.outerjoin(_user_attrs, message))
    )
    return [
        json.loads(row.value_json)["message"] if row.state == TrialState.FAIL and row.value_json else None
        for row in rows
    ]


def _write_suggestion(
    connection: Connection, trial_id: int, suggestion: Suggestion, user_attrs: Mapping[str, Any]
) -> None:
    rows = [
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": suggestion.distributions[name].to_internal_repr(value),
            "distribution_json": distribution_to_json(suggestion.distributions[name]),
        }
        for name, value in suggestion.params.items()
    ]
    if rows:
        connection.execute(insert(_params), rows)
    _write_attrs(connection, _system_attrs, trial_id, suggestion.system_attrs)
    _write_attrs(connection, _user_attrs, trial_id, user_attrs)


def _write_attrs(connection: Connection, table: Table, trial_id: int, attrs: Mapping[str, Any]) -> None:
    rows = [{"trial_id": trial_id, "key": key, "value_json": json.dumps(value)} for key, value in attrs.items()]
    if rows:
        statement = insert(table)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["trial_id", "key"], set_={"value_json": statement.excluded.value_json}
            ),
            rows,
        )


def _lock_running(connection: Connection, trial_id: int) -> None:
    query = select(_trials.c.state).where(_trials.c.trial_id == trial_id).with_for_update()
    state = connection.scalar(query)
    if state != TrialState.RUNNING:
        raise TrialFinished(f"trial {trial_id} is {'gone' if state is None else state.name}, not running")


def _end(connection: Connection, trial_id: int, state: TrialState, user_attrs: Mapping[str, Any]) -> None:
    _write_attrs(connection, _user_attrs, trial_id, user_attrs)
    connection.execute(
        _trials.update().where(_trials.c.trial_id == trial_id).values(state=state, datetime_complete=_utc_now())
    )


def _utc_now() -> datetime:
    """Naive UTC, as Optuna stores times."""
    return datetime.now(UTC).replace(tzinfo=None)
