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
from sqlalchemy import Connection, Table, func, select, text
from sqlalchemy.dialects.postgresql import insert

from storage.errors import TrialFinished
from storage.statement import Statement, Writes

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


@dataclass(frozen=True)
class Sighting:
    """What a mirror is to look at: a trial that is new to it, or one that was open when it last looked."""

    trial_id: int
    number: int
    state: TrialState
    started: datetime | None


@dataclass(frozen=True)
class Sightings:
    """What there is to look at, in the order of the numbers, at an instant of the database's clock.

    Attributes:
        next_expiry: When the first of the study's open leases runs out, or did; None without any.
    """

    trials: list[Sighting]
    now: datetime
    next_expiry: datetime | None


# Each is one statement, written out: a trial costs as few round trips as its locks allow, and no SQL is put together
# for it. A trial's parts may refer to a row of the same statement, for foreign keys are checked at its end.
_LOCK = text("SELECT study_id FROM public.studies WHERE study_id = :study_id FOR NO KEY UPDATE")

_SIGHTINGS = Statement("""
SELECT at.now, at.next_expiry, seen.trial_id, seen.number, seen.state, seen.datetime_start
FROM (SELECT clock_timestamp() AS now, (
    SELECT min(expires_at) FROM spikefront.lease WHERE study_id = :study_id AND ended_at IS NULL
  ) AS next_expiry) AS at
LEFT JOIN (
  SELECT trial_id, number, state, datetime_start FROM public.trials WHERE study_id = :study_id AND trial_id > :last_id
  UNION ALL
  SELECT trial_id, number, state, datetime_start FROM public.trials WHERE trial_id = ANY(CAST(:open_ids AS integer[]))
) AS seen ON true ORDER BY seen.number
""")

_PARTS = """
, params AS (
  INSERT INTO public.trial_params (trial_id, param_name, param_value, distribution_json)
  SELECT trial.trial_id, p.name, p.value, p.domain FROM trial, unnest(
    CAST(:names AS text[]), CAST(:reprs AS double precision[]), CAST(:domains AS text[])) AS p(name, value, domain)
), system_attrs AS (
  INSERT INTO public.trial_system_attributes (trial_id, key, value_json)
  SELECT trial.trial_id, a.key, a.document FROM trial, unnest(
    CAST(:system_keys AS text[]), CAST(:system_documents AS text[])) AS a(key, document)
  ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json
), user_attrs AS (
  INSERT INTO public.trial_user_attributes (trial_id, key, value_json)
  SELECT trial.trial_id, a.key, a.document FROM trial, unnest(
    CAST(:user_keys AS text[]), CAST(:user_documents AS text[])) AS a(key, document)
  ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json
)
SELECT trial_id FROM trial
"""

_CREATE = Statement(
    """
WITH trial AS (
  INSERT INTO public.trials (study_id, number, state, datetime_start) VALUES (:study_id, :number, 'RUNNING', :at)
  RETURNING trial_id
)"""
    + _PARTS
)

_START = Statement(
    """
WITH trial AS (
  UPDATE public.trials SET state = 'RUNNING', datetime_start = :at
  WHERE trial_id = :trial_id AND state = 'WAITING' RETURNING trial_id
)"""
    + _PARTS
)

_FINISH = Statement(
    """
WITH trial AS (
  UPDATE public.trials SET state = 'COMPLETE', datetime_complete = :at WHERE trial_id = :trial_id RETURNING trial_id
), objectives AS (
  INSERT INTO public.trial_values (trial_id, objective, value, value_type)
  SELECT trial.trial_id, v.place - 1, v.value, 'FINITE' FROM trial,
    unnest(CAST(:values AS double precision[])) WITH ORDINALITY AS v(value, place)
)"""
    + _PARTS
)

_STOP = Statement(
    """
WITH trial AS (
  UPDATE public.trials SET state = 'PRUNED', datetime_complete = :at WHERE trial_id = :trial_id RETURNING trial_id
)"""
    + _PARTS
)

_LOCK_TRIAL = Statement("SELECT state FROM public.trials WHERE trial_id = :trial_id FOR UPDATE")


def lock_study(connection: Connection, study_id: int) -> None:
    """Hold the study's row until the transaction ends: trials are created one after the other, as Optuna does."""
    connection.execute(_LOCK, {"study_id": study_id})


def sightings(connection: Connection, study_id: int, last_id: int, open_ids: Sequence[int]) -> Sightings:
    """The trials after `last_id` and those of `open_ids`, and when the next of the study's leases runs out.

    Ids grow with the numbers, for both are given under the study's lock; so this costs as much in a long study as in
    a short one.
    """
    values = {"study_id": study_id, "last_id": last_id, "open_ids": list(open_ids)}
    found = _SIGHTINGS.rows(connection, values)
    now, next_expiry, *_ = found[0]
    seen = [
        Sighting(trial_id, number, TrialState[state], started)
        for _, _, trial_id, number, state, started in found
        if trial_id is not None
    ]
    return Sightings(seen, now, next_expiry)


def count(connection: Connection, study_id: int, *states: TrialState) -> int:
    """Number of trials of a study, of all states unless some are named."""
    query = select(func.count()).select_from(_trials).where(_trials.c.study_id == study_id)
    if states:
        query = query.where(_trials.c.state.in_(states))
    return int(connection.scalar(query) or 0)


def create(
    connection: Connection, study_id: int, number: int, suggestion: Suggestion, user_attrs: Mapping[str, Any]
) -> TrialKey:
    """Create a running trial with its parameters; `number` counts the trials before it, with the study's row locked."""
    parts = _parts(suggestion, user_attrs)
    ((trial_id,),) = _CREATE.rows(connection, {"study_id": study_id, "number": number, "at": _utc_now(), **parts})
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


def start_waiting(connection: Connection, key: TrialKey, suggestion: Suggestion, user_attrs: Mapping[str, Any]) -> bool:
    """Turn an enqueued trial into a running one, with its fixed and its suggested parameters.

    Returns:
        False when it is not waiting any more; nothing was written.
    """
    parts = _parts(suggestion, user_attrs)
    return bool(_START.rows(connection, {"trial_id": key.trial_id, "at": _utc_now(), **parts}))


def lock_running(connection: Connection, trial_id: int) -> None:
    """Hold the row of a running trial until the transaction ends.

    Raises:
        TrialFinished: The trial is not running any more.
    """
    found = _LOCK_TRIAL.rows(connection, {"trial_id": trial_id})
    if found != [("RUNNING",)]:
        raise TrialFinished(f"trial {trial_id} is {found[0][0] if found else 'gone'}, not running")


def finish(
    connection: Writes,
    trial_id: int,
    values: Sequence[float],
    constraints: Mapping[str, float],
    user_attrs: Mapping[str, Any],
) -> None:
    """Write values, constraints, attributes and the state COMPLETE of a trial that is locked by `lock_running`."""
    limits = {CONSTRAINT + name: value for name, value in constraints.items()}
    parts = _parts(Suggestion({}, {}, limits), user_attrs)
    scores = [float(value) for value in values]
    _FINISH.write(connection, {"trial_id": trial_id, "at": _utc_now(), "values": scores, **parts})


def stop(connection: Writes, trial_id: int, constraints: Mapping[str, float], user_attrs: Mapping[str, Any]) -> None:
    """Write constraints, attributes and the state PRUNED of a trial that is locked by `lock_running`.

    No value, and no intermediate one: with several objectives Optuna's TPE cannot read those.
    """
    limits = {CONSTRAINT + name: value for name, value in constraints.items()}
    parts = _parts(Suggestion({}, {}, limits), user_attrs)
    _STOP.write(connection, {"trial_id": trial_id, "at": _utc_now(), **parts})


def fail(connection: Connection, trial_id: int, user_attrs: Mapping[str, Any]) -> None:
    """Write attributes that say why, and the state FAIL.

    Raises:
        TrialFinished: The trial is not running any more; nothing was written.
    """
    lock_running(connection, trial_id)
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


def _parts(suggestion: Suggestion, user_attrs: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What `_PARTS` writes, column by column."""
    domains = [suggestion.distributions[name] for name in suggestion.params]
    values = suggestion.params.values()
    return {
        "names": list(suggestion.params),
        "reprs": [float(domain.to_internal_repr(value)) for domain, value in zip(domains, values, strict=True)],
        "domains": [distribution_to_json(domain) for domain in domains],
        "system_keys": list(suggestion.system_attrs),
        "system_documents": [json.dumps(value) for value in suggestion.system_attrs.values()],
        "user_keys": list(user_attrs),
        "user_documents": [json.dumps(value) for value in user_attrs.values()],
    }


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


def _end(connection: Connection, trial_id: int, state: TrialState, user_attrs: Mapping[str, Any]) -> None:
    _write_attrs(connection, _user_attrs, trial_id, user_attrs)
    connection.execute(
        _trials.update().where(_trials.c.trial_id == trial_id).values(state=state, datetime_complete=_utc_now())
    )


def _utc_now() -> datetime:
    """Naive UTC, as Optuna stores times."""
    return datetime.now(UTC).replace(tzinfo=None)
