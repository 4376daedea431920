"""Trials read in bulk are those that Optuna's own storage reads."""

from __future__ import annotations

import math

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import select

from storage.history import frozen_trials, sampled_trials
from storage.trials import _trials
from tests.support.desk import Desk


def _study(desk: Desk) -> optuna.Study:
    """A study of Optuna's with every kind of parameter, value and state, by its own writer."""
    study = optuna.create_study(directions=["maximize", "minimize"], storage=desk.record.optuna, study_name="theirs")
    study.enqueue_trial({"rate": 0.1})
    for number in range(6):
        trial = study.ask()
        trial.suggest_float("rate", 1e-9, 1.0, log=True)
        trial.suggest_int("cores", 1, 64, step=3)
        trial.suggest_categorical("surrogate", ["atan", "fast_sigmoid", None, 2.5])
        trial.set_user_attr("words", {"näme": [number, None, 'a "quote"']})
        desk.record.optuna.set_trial_system_attr(trial._trial_id, "constraints:floor", -0.1 * number)
        if number < 4:
            study.tell(trial, [1 / (number + 3), math.inf if number == 2 else -math.inf if number == 3 else 5.0])
    study.tell(4, state=TrialState.FAIL)
    for step, value in enumerate([0.1, math.nan, math.inf, -math.inf, 7.0]):
        desk.record.optuna.set_trial_intermediate_value(study.trials[5]._trial_id, step, value)
    study.enqueue_trial({"rate": 0.5})
    return study


def _ids(desk: Desk) -> list[int]:
    with desk.record.engine.connect() as connection:
        return list(connection.scalars(select(_trials.c.trial_id)))


def _read(desk: Desk, ids: list[int]) -> list[FrozenTrial]:
    with desk.record.engine.connect() as connection:
        return frozen_trials(connection, ids)


def test_every_field_is_as_optuna_reads_it(desk: Desk) -> None:
    theirs = _study(desk).get_trials(deepcopy=False)
    ours = _read(desk, list(reversed(_ids(desk))))

    assert [trial.number for trial in ours] == list(range(7)), "in the order of the numbers"
    for own, other in zip(ours, theirs, strict=True):
        assert repr(own) == repr(other)  # NaN equals itself there
        assert [type(value) for value in own.params.values()] == [type(value) for value in other.params.values()]
        assert own._trial_id == other._trial_id


def test_only_the_trials_asked_for_are_read(desk: Desk) -> None:
    _study(desk)
    first, *_, last = _ids(desk)
    assert [trial._trial_id for trial in _read(desk, [last, first, 10**6])] == [first, last]
    assert _read(desk, []) == []


def test_a_sampler_reads_the_same_but_for_user_attributes_and_steps(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.history.FEW", 0)
    monkeypatch.setattr("storage.history.CHUNK", 3)
    theirs, ids = _study(desk).get_trials(deepcopy=False), _ids(desk)
    with desk.record.engine.connect() as connection:
        ours = list(sampled_trials(connection, ids))
        assert list(sampled_trials(connection, [])) == []
    assert len(ours) == 7
    for own, other in zip(ours, theirs, strict=True):
        other.user_attrs, other.intermediate_values = {}, {}
        assert own == other
        assert list(own.distributions.items()) == list(other.distributions.items())
