"""The best points kept up one by one are those that Optuna finds anew among all."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.samplers._tpe.sampler import _split_complete_trials_multi_objective
from optuna.trial import create_trial

from service.ranks import Ranks


def _optunas(losses: np.ndarray, places: list[int], count: int) -> set[int]:
    """Places of the best points by Optuna's own split, which takes trials in the order of their numbers."""
    study = optuna.create_study(directions=["minimize"] * losses.shape[1])
    order = np.argsort(places)
    trials = [create_trial(values=losses[at].tolist()) for at in order]
    for at, trial in zip(order, trials, strict=True):
        trial.number = places[at]
    below, _ = _split_complete_trials_multi_objective(trials, study, min(count, len(trials)))
    return {trial.number for trial in below}


@settings(deadline=None, derandomize=True, max_examples=12)
@given(st.data())
def test_any_order_of_points_gives_optunas_best(data: st.DataObject) -> None:
    objectives = data.draw(st.integers(2, 4))
    count = data.draw(st.integers(1, 40))
    value = st.one_of(st.integers(0, 4).map(float), st.floats(-2, 2), st.sampled_from([np.inf, -np.inf, -0.0]))
    losses = np.array(data.draw(st.lists(st.tuples(*[value] * objectives), min_size=count, max_size=count)))
    places = data.draw(st.permutations(range(count)))
    ranks = Ranks(objectives)
    for at in range(count):
        ranks.add(places[at], losses[at])
        wanted = data.draw(st.integers(0, at + 2))
        best = ranks.best(wanted).tolist()
        assert len(best) == min(wanted, at + 1)
        assert set(best) == _optunas(losses[: at + 1], places[: at + 1], wanted)


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_a_long_study_whose_front_is_asked_for_more_and_more(objectives: int) -> None:
    rng = np.random.default_rng(objectives)
    losses, ranks = rng.uniform(size=(240, objectives)), Ranks(objectives)
    for place, point in enumerate(losses):
        ranks.add(place, point)
        if place % 12 == 0:
            assert set(ranks.best(place // 8).tolist()) == _optunas(
                losses[: place + 1], list(range(place + 1)), place // 8
            )


def test_without_points_there_is_no_best() -> None:
    assert Ranks(3).best(5).size == 0
    assert Ranks(3).best(0).size == 0
