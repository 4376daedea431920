"""What the page of a study polls: the dashboard's own answer but for constraints; what has ended is not read again."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import optuna
import optuna_dashboard
import pytest
from optuna.samplers import RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from optuna_dashboard import save_note
from optuna_dashboard.preferential._system_attrs import report_preferences

from service import poll
from service.poll import mended

Poll = Callable[[int], dict[str, Any]]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(verbosity)


def _study(objectives: int) -> optuna.Study:
    directions = [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE, StudyDirection.MINIMIZE][:objectives]
    storage = optuna.storages.InMemoryStorage()
    return optuna.create_study(storage=storage, directions=directions, sampler=RandomSampler(seed=1))


def _get(app: Any, path: str) -> tuple[int, dict[str, Any]]:
    """Ask for a path of a WSGI application, which is to read its trials anew."""
    app._inmemory_cache._trials_last_fetched_at.clear()
    path, _, query = path.partition("?")
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": query, "SERVER_NAME": "here", "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO(),
        "wsgi.url_scheme": "http",
    }  # fmt: skip
    statuses: list[str] = []
    body = b"".join(app(environ, lambda status, headers, error=None: statuses.append(status)))
    return int(statuses[0].split()[0]), json.loads(body)


def _asking(app: Any, study: optuna.Study) -> Poll:
    return lambda after: _get(app, f"/api/studies/{study._study_id}?after={after}")[1]


def _both(study: optuna.Study) -> tuple[Poll, Poll]:
    """The poll of ours and of the dashboard as it comes."""
    return _asking(mended(study._storage), study), _asking(optuna_dashboard.wsgi(study._storage), study)


def _sorted_choices(answer: dict[str, Any]) -> dict[str, Any]:
    """The dashboard puts a parameter's choices together through a set: their order means nothing."""
    for space in ("union_search_space", "intersection_search_space"):
        for entry in answer[space]:
            entry["distribution"].get("choices", []).sort(key=lambda choice: choice["value"])
    return answer


def _grow(study: optuna.Study, rng: np.random.Generator, running: list[optuna.Trial]) -> None:
    """Trials begin and end in any order; some spaces differ, some trials fail, some are pruned, values repeat."""
    for _ in range(rng.integers(1, 8)):
        trial = study.ask()
        trial.suggest_float("beta", 0.0, float(rng.integers(1, 3)))
        trial.suggest_categorical("encoding", ["direct", "rate"])
        if rng.uniform() < 0.5:
            trial.suggest_int("steps", 2, 8)
        running.append(trial)
    rng.shuffle(running)
    while len(running) > 4:
        trial = running.pop()
        trial.set_user_attr(f"attr {rng.integers(3)}", ["text", 1.5, True][rng.integers(3)])
        state = [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL][rng.integers(4)]
        values = [float(value) for value in rng.integers(0, 20, len(study.directions))]
        study.tell(trial, values if state is TrialState.COMPLETE else None, state=state)


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_without_constraints_a_growing_study_is_told_as_the_dashboard_tells_it(objectives: int) -> None:
    study, rng, running = _study(objectives), np.random.default_rng(objectives), list[optuna.Trial]()
    ours, plain = _both(study)

    for turn in range(25):
        known = len(study.get_trials(deepcopy=False))
        _grow(study, rng, running)
        after = [0, known, known + 1000][turn % 3]
        assert _sorted_choices(ours(after)) == _sorted_choices(plain(after))

    front = ours(0)["best_trials"]
    assert len(front) > (objectives > 1)


def test_a_study_without_trials_has_no_front() -> None:
    ours, plain = _both(_study(3))

    assert ours(0) == plain(0)
    assert ours(0)["best_trials"] == []


def test_trials_that_people_compare_are_told_as_the_dashboard_tells_them() -> None:
    study = _study(1)
    storage, study_id = study._storage, study._study_id
    for _ in range(4):
        study.ask().suggest_float("beta", 0.0, 1.0)
    storage.set_study_system_attr(study_id, "preference:is_preferential", True)
    storage.set_study_system_attr(study_id, "preference:skip_trial:3", True)
    report_preferences(study_id, storage, [(1, 0), (2, 0)])
    ours, plain = _both(study)

    assert ours(0) == plain(0)
    assert [trial["number"] for trial in ours(0)["best_trials"]] == [1, 2]


def test_constraints_are_shown_and_keep_trials_from_the_front() -> None:
    study = _study(3)
    for accuracy, violation in ((0.9, 0.1), (0.8, -0.1), (0.7, 0.0), (0.6, -0.1)):
        trial = study.ask()
        trial.set_constraint("floor", violation)
        study.tell(trial, [accuracy, 1.0, 0.5 if accuracy == 0.7 else 1.0])

    answer = _both(study)[0](0)

    assert [trial["number"] for trial in answer["best_trials"]] == [1, 2]
    assert [trial["constraints"] for trial in answer["trials"]] == [[0.1], [-0.1], [0.0], [-0.1]]
    assert [trial["constraints"] for trial in answer["best_trials"]] == [[-0.1], [0.0]]


def test_a_note_that_is_written_later_stands_in_the_front() -> None:
    study = _study(3)
    study.tell(study.ask(), [1.0, 1.0, 1.0])
    trial = study.ask()
    ours, plain = _both(study)
    assert ours(0)["best_trials"][0]["note"]["body"] == ""

    save_note(trial, "another one")
    save_note(study, "of the study")
    study._storage.set_study_system_attr(study._study_id, "dashboard:0:note_ver", 1)
    study._storage.set_study_system_attr(study._study_id, "dashboard:0:note_str:0", "the best so far")

    assert ours(0) == plain(0)
    assert ours(0)["best_trials"][0]["note"]["body"] == "the best so far"


def test_what_has_ended_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    study = _study(3)
    for number in range(30):
        study.tell(study.ask(), [0.1 * number, 1.0, 1.0])
    ours = _both(study)[0]
    ours(0)
    looked: list[int] = []

    def noting(trial: FrozenTrial) -> bool:
        looked.append(trial.number)
        return True

    monkeypatch.setattr(poll, "is_feasible", noting)

    ours(30)
    assert looked == []

    study.tell(study.ask(), [10.0, 1.0, 1.0])
    assert [trial["number"] for trial in ours(30)["best_trials"]] == [30]
    assert looked == [29, 30]


@pytest.mark.parametrize(("path", "status"), [("0?after=-1", 400), ("0?after=x", 400), ("0?after=", 400), ("7", 404)])
def test_a_question_that_cannot_be_answered_says_why(path: str, status: int) -> None:
    answered, problem = _get(mended(_study(3)._storage), f"/api/studies/{path}")

    assert answered == status
    assert problem["reason"]
