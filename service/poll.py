"""What the page of a study asks Optuna's dashboard for, time and again, at little cost however long the study is.

optuna-dashboard 0.21 goes through every trial at each such poll: it computes the front in pure Python, which takes time
quadratic in the trials, counts infeasible trials into it, puts the search spaces together anew and reads constraints in
the form of Optuna 4 only. Here a trial is looked at until it has ended and been looked at once more.

This module loads the dashboard, and with it scikit-learn: import it late.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna_dashboard._app as plain
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from optuna_dashboard import _inmemory_cache, _serializer

from objectives.pareto import nondominated
from service.fronts import is_feasible

ROUTE = "/api/studies/<study_id:int>"


def mended(storage: BaseStorage) -> Any:
    """Optuna's dashboard as a WSGI application whose poll is answered by `Poll`."""
    app = plain.create_app(storage)
    poll = Poll(storage, app._inmemory_cache)

    @plain.json_api_view  # type: ignore[untyped-decorator]  # the dashboard ships no types
    def study_detail(study_id: int) -> dict[str, Any]:
        after = plain.request.params.get("after", "0")
        if not (after.isascii() and after.isdigit() and len(after) < 10):
            plain.response.status = 400
            return {"reason": "`after` should be larger or equal 0."}
        detail = poll.detail(study_id, int(after))
        if detail is None:
            plain.response.status = 404
            return {"reason": f"study_id={study_id} is not found"}
        return detail

    (route,) = [route for route in app.routes if (route.method, route.rule) == ("GET", ROUTE)]
    route.callback = study_detail
    route.reset()
    return app


class Poll:
    """Answers the poll of a study's page.

    Args:
        storage: Optuna's storage of all studies.
        cache: The dashboard's cache of trials, which other answers of it use too.
    """

    def __init__(self, storage: BaseStorage, cache: Any) -> None:
        self._storage, self._cache = storage, cache
        self._seen: dict[int, Seen] = {}
        self._one_at_a_time = threading.Lock()

    def detail(self, study_id: int, after: int) -> dict[str, Any] | None:
        """A study with its front and those of its trials that are not among the first `after`; None without a study."""
        study = plain.get_study(self._storage, study_id)
        if study is None:
            return None
        trials = plain.get_trials(self._cache, self._storage, study_id)
        with self._one_at_a_time:
            seen = self._seen.setdefault(study_id, Seen())
            seen.look(trials, study.directions if _has_front(study) else [])
            answer = self._about(study, trials, seen.extra)
            best = seen.serialized_front(study) if _has_front(study) else self._best(study, trials)
        return {**answer, "trials": [_serialized(study, trial) for trial in trials[after:]], "best_trials": best}

    def _about(self, study: Any, trials: Sequence[FrozenTrial], extra: Any) -> dict[str, Any]:
        skipped = set(plain.get_skipped_trial_ids(study.system_attrs))
        answer: dict[str, Any] = plain.serialize_study_detail(
            study,
            [],
            [],
            extra.intersection_search_space,
            extra.union_search_space,
            extra.union_user_attrs,
            extra.has_intermediate_values,
            plain.get_plotly_graph_objects(study.system_attrs),
            [trial.number for trial in trials if trial._trial_id in skipped] if skipped else [],
        )
        return answer

    def _best(self, study: Any, trials: Sequence[FrozenTrial]) -> list[dict[str, Any]]:
        """Of studies that are not ours: one objective, or trials compared by people."""
        if _is_compared_by_people(study):
            best = plain.get_best_preferential_trials(study._study_id, self._storage)
        else:
            is_any = any(trial.state is TrialState.COMPLETE for trial in trials)
            best = [self._storage.get_best_trial(study._study_id)] if is_any else []
        return [_serialized(study, trial) for trial in best]


class Seen:
    """What a poll says of all trials of a study, brought up to date by those that were open when it last looked.

    Attributes:
        extra: The dashboard's own account of search spaces and attribute names.
        front: The feasible trials of the front, in the order of their numbers.
    """

    def __init__(self) -> None:
        self.extra = _inmemory_cache._CachedExtraStudyProperty()
        self.front: list[FrozenTrial] = []
        self._ended: set[int] = set()
        self._spaces: dict[tuple[str, ...], Any] = {}
        self._answers: tuple[Any, dict[int, dict[str, Any]]] = ({}, {})

    def look(self, trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> None:
        """Take in the trials of the study, in the order of their numbers; without directions there is no front."""
        open_ones = [trial for trial in trials if trial.number not in self._ended]
        for trial in reversed(open_ones):
            self._account(trial)
        ended = [trial for trial in open_ones if trial.state.is_finished()]
        self._ended.update(trial.number for trial in ended)
        if directions and any(trial.state is TrialState.COMPLETE for trial in ended):
            front = feasible_front_trials([*self.front, *ended], directions)
            self.front = sorted(front, key=lambda trial: trial.number)

    def _account(self, trial: FrozenTrial) -> None:
        """As the dashboard does; it costs most to take in a search space, and nothing changes by doing so twice."""
        self.extra._update_user_attrs(trial)
        if trial.state is TrialState.FAIL:
            return
        self.extra._update_intermediate_values(trial)
        space = trial.distributions
        if self._spaces.get(names := tuple(space)) != space:
            self.extra._update_search_space(trial)
            self._spaces[names] = space

    def serialized_front(self, study: Any) -> list[dict[str, Any]]:
        """The front as the page takes it; a trial's entry is used again until the study's notes change."""
        attrs, known = self._answers
        if attrs != study.system_attrs:
            known = {}
        answers = {trial.number: known.get(trial.number) or _serialized(study, trial) for trial in self.front}
        self._answers = study.system_attrs, answers
        return list(answers.values())


def _is_compared_by_people(study: Any) -> bool:
    return bool(study.system_attrs.get(plain._SYSTEM_ATTR_PREFERENTIAL_STUDY, False))


def _has_front(study: Any) -> bool:
    return len(study.directions) > 1 and not _is_compared_by_people(study)


def _serialized(study: Any, trial: FrozenTrial) -> dict[str, Any]:
    serialized: Mapping[str, Any] = _serializer.serialize_frozen_trial(study._study_id, trial, study.system_attrs)
    return {**serialized, "constraints": list(trial.constraints.values())}


def feasible_front_trials(trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> list[FrozenTrial]:
    """The feasible trials that no other feasible trial dominates, in the order given."""
    feasible = [trial for trial in trials if is_feasible(trial)]
    if not feasible:
        return []
    signs = np.array([-1.0 if direction is StudyDirection.MAXIMIZE else 1.0 for direction in directions])
    on_front = nondominated(np.array([trial.values for trial in feasible]) * signs)
    return [trial for trial, is_on in zip(feasible, on_front, strict=True) if is_on]
