"""Read Optuna's trials in bulk: one statement, where Optuna's storage sends six for a trial."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy import Connection, Row, Table, column, text

_trials: Table = models.TrialModel.__table__

_TRIALS = text("""
SELECT t.trial_id, t.number, t.state, t.datetime_start, t.datetime_complete,
  (SELECT json_agg(json_build_array(p.param_name, p.param_value, p.distribution_json) ORDER BY p.param_id)
     FROM trial_params p WHERE p.trial_id = t.trial_id) AS params,
  (SELECT json_agg(json_build_array(v.value, v.value_type) ORDER BY v.objective)
     FROM trial_values v WHERE v.trial_id = t.trial_id) AS objectives,
  (SELECT json_object_agg(u.key, u.value_json)
     FROM trial_user_attributes u WHERE u.trial_id = t.trial_id) AS user_attrs,
  (SELECT json_object_agg(s.key, s.value_json)
     FROM trial_system_attributes s WHERE s.trial_id = t.trial_id) AS system_attrs,
  (SELECT json_object_agg(i.step, json_build_array(i.intermediate_value, i.intermediate_value_type))
     FROM trial_intermediate_values i WHERE i.trial_id = t.trial_id) AS steps
FROM trials t WHERE t.trial_id = ANY(:trial_ids) ORDER BY t.number
""").columns(
    *(_trials.c[name] for name in ("trial_id", "number", "state", "datetime_start", "datetime_complete")),
    *map(column, ("params", "objectives", "user_attrs", "system_attrs", "steps")),
)

_SAMPLED = text("""
SELECT t.trial_id, t.number, t.state, t.datetime_start, t.datetime_complete, p.params, p.shape,
  v.objectives, v.kinds, s.keys, s.documents
FROM trials t
LEFT JOIN (SELECT trial_id, array_agg(param_value ORDER BY param_id) AS params,
             md5(string_agg(param_name || ' ' || distribution_json, ' ' ORDER BY param_id)) AS shape
           FROM trial_params WHERE trial_id = ANY(:trial_ids) GROUP BY trial_id) p USING (trial_id)
LEFT JOIN (SELECT trial_id, array_agg(value ORDER BY objective) AS objectives,
             array_agg(value_type::text ORDER BY objective) AS kinds
           FROM trial_values WHERE trial_id = ANY(:trial_ids) GROUP BY trial_id) v USING (trial_id)
LEFT JOIN (SELECT trial_id, array_agg(key ORDER BY trial_system_attribute_id) AS keys,
             array_agg(value_json ORDER BY trial_system_attribute_id) AS documents
           FROM trial_system_attributes WHERE trial_id = ANY(:trial_ids) GROUP BY trial_id) s USING (trial_id)
WHERE t.trial_id = ANY(:trial_ids) ORDER BY t.number
""").columns(state=models.TrialModel.__table__.c.state.type)

FEW = 50
"""Trials that are read whole, in one statement."""
CHUNK = 4000
"""Trials of one statement where very many are read."""

_SPECIAL = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}


def frozen_trials(connection: Connection, trial_ids: Sequence[int]) -> list[FrozenTrial]:
    """The given trials as Optuna's own storage reads them, in the order of their numbers; unknown ids are left out."""
    return [_frozen(row) for row in connection.execute(_TRIALS, {"trial_ids": list(trial_ids)})]


def sampled_trials(connection: Connection, trial_ids: Sequence[int]) -> Iterator[FrozenTrial]:
    """What a sampler reads of the given trials, in the order of their numbers; for studies of any length.

    Many are read some thousands at a time, so that a study is never in memory twice, and without user attributes and
    intermediate values. Their distributions, by far the longest part, are read once for all trials that share them.
    """
    if len(trial_ids) <= FEW:
        yield from frozen_trials(connection, trial_ids)
        return
    shapes: dict[str, dict[str, BaseDistribution]] = {}
    for first in range(0, len(trial_ids), CHUNK):
        ids = list(trial_ids[first : first + CHUNK])
        rows = connection.execute(_SAMPLED, {"trial_ids": ids}).all()
        examples = {row.shape: row.trial_id for row in rows if row.shape is not None and row.shape not in shapes}
        if examples:
            read = {
                trial._trial_id: trial.distributions for trial in frozen_trials(connection, list(examples.values()))
            }
            shapes |= {shape: read[trial_id] for shape, trial_id in examples.items()}
        yield from (_sampled(row, shapes.get(row.shape, {})) for row in rows)


def _sampled(row: Row[Any], domains: Mapping[str, BaseDistribution]) -> FrozenTrial:
    return FrozenTrial(
        number=row.number,
        state=row.state,
        value=None,
        values=[_number(*stored) for stored in zip(row.objectives, row.kinds, strict=True)] if row.kinds else None,
        datetime_start=row.datetime_start,
        datetime_complete=row.datetime_complete,
        params={
            name: domain.to_external_repr(float(value))
            for (name, domain), value in zip(domains.items(), row.params or (), strict=True)
        },
        distributions=dict(domains),
        user_attrs={},
        system_attrs={
            key: json.loads(document) for key, document in zip(row.keys or (), row.documents or (), strict=True)
        },
        intermediate_values={},
        trial_id=row.trial_id,
    )


def _frozen(row: Row[Any]) -> FrozenTrial:
    domains = {name: _distribution(document) for name, _, document in row.params or ()}
    return FrozenTrial(
        number=row.number,
        state=row.state,
        value=None,
        values=[_number(*stored) for stored in row.objectives] if row.objectives else None,
        datetime_start=row.datetime_start,
        datetime_complete=row.datetime_complete,
        params={name: domains[name].to_external_repr(float(value)) for name, value, _ in row.params or ()},
        distributions=domains,
        user_attrs=_attrs(row.user_attrs),
        system_attrs=_attrs(row.system_attrs),
        intermediate_values={int(step): _number(*stored) for step, stored in (row.steps or {}).items()},
        trial_id=row.trial_id,
    )


def _number(value: float | None, kind: str) -> float:
    return _SPECIAL[kind] if value is None else float(value)


def _attrs(stored: Mapping[str, str] | None) -> dict[str, Any]:
    return {key: json.loads(document) for key, document in (stored or {}).items()}


@lru_cache(maxsize=4096)
def _distribution(document: str) -> BaseDistribution:
    return json_to_distribution(document)
