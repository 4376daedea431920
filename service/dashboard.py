"""Optuna's dashboard behind our login, with Optuna 5's constraints shown and a fast front of feasible trials.

optuna-dashboard 0.21 reads constraints in the form of Optuna 4 only, counts infeasible trials into the front and
computes it in pure Python at every request. Both functions are replaced where its modules look them up.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import moocore
import numpy as np
from a2wsgi import WSGIMiddleware
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from starlette.concurrency import run_in_threadpool

from service.fronts import is_feasible


class Dashboard:
    """The dashboard as an ASGI application, to be mounted at `/` after every other route.

    It is imported with the first request: it loads scikit-learn, which would hold up every start of a server.
    """

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage
        self._app: Any = None
        self._loading = threading.Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        app = self._app or await run_in_threadpool(self._load)
        await app(scope, receive, send)

    def _load(self) -> Any:
        with self._loading:
            if self._app is None:
                self._app = WSGIMiddleware(_mended_dashboard(self._storage), workers=4)
            return self._app


def _mended_dashboard(storage: BaseStorage) -> Any:
    import optuna_dashboard
    import optuna_dashboard._app as routes
    import optuna_dashboard._serializer as serializer

    plain = getattr(serializer.serialize_frozen_trial, "plain", serializer.serialize_frozen_trial)

    def with_constraints(study_id: int, trial: FrozenTrial, study_system_attrs: dict[str, Any]) -> dict[str, Any]:
        serialized: dict[str, Any] = plain(study_id, trial, study_system_attrs)
        return {**serialized, "constraints": list(trial.constraints.values())}

    with_constraints.plain = plain  # type: ignore[attr-defined]  # a second server in this process wraps it once
    serializer.serialize_frozen_trial = with_constraints
    routes.get_pareto_front_trials = feasible_front_trials
    return optuna_dashboard.wsgi(storage)


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
