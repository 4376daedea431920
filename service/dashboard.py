"""Optuna's dashboard behind our login, with Optuna 5's constraints shown and a fast front of feasible trials.

optuna-dashboard 0.21 reads constraints in the form of Optuna 4 only, counts infeasible trials into the front and
computes it in pure Python at every request. Both functions are replaced where its modules look them up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import moocore
import numpy as np
import optuna_dashboard
import optuna_dashboard._app as dashboard_routes
import optuna_dashboard._serializer as dashboard_serializer
from a2wsgi import WSGIMiddleware
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from service.fronts import is_feasible

_serialize_trial = dashboard_serializer.serialize_frozen_trial


def dashboard_app(storage: BaseStorage) -> WSGIMiddleware:
    """The dashboard as an ASGI application, to be mounted at `/` after every other route."""
    dashboard_routes.get_pareto_front_trials = feasible_front_trials
    dashboard_serializer.serialize_frozen_trial = _with_constraints
    return WSGIMiddleware(optuna_dashboard.wsgi(storage), workers=4)


def is_read_only(method: str, path: str) -> bool:
    """Whether a request to the dashboard changes no trial and no study; notes may be written."""
    return method in ("GET", "HEAD") or (method == "PUT" and path.endswith("/note"))


def feasible_front_trials(trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> list[FrozenTrial]:
    """The feasible trials of the front, in the order of their numbers."""
    feasible = [trial for trial in trials if is_feasible(trial)]
    if not feasible:
        return []
    signs = np.array([-1.0 if direction is StudyDirection.MAXIMIZE else 1.0 for direction in directions])
    on_front = moocore.is_nondominated(np.array([trial.values for trial in feasible]) * signs, keep_weakly=True)
    return [trial for trial, is_on in zip(feasible, on_front, strict=True) if is_on]


def _with_constraints(study_id: int, trial: FrozenTrial, study_system_attrs: dict[str, Any]) -> dict[str, Any]:
    serialized: dict[str, Any] = _serialize_trial(study_id, trial, study_system_attrs)
    serialized["constraints"] = list(trial.constraints.values())
    return serialized
