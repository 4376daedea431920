"""What finished trials have in common, kept up in any order, is what Optuna reads from all of them."""

from __future__ import annotations

from random import Random

import optuna
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.search_space import IntersectionSearchSpace, _GroupDecomposedSearchSpace
from optuna.trial import FrozenTrial, TrialState, create_trial

from service.spaces import Groups, Intersection

VALUES: list[tuple[BaseDistribution, float]] = [
    (FloatDistribution(0, 1), 0.5),
    (FloatDistribution(0, 2), 0.5),
    (IntDistribution(0, 3), 1),
    (CategoricalDistribution([1, 2]), 1),
]
_space = st.dictionaries(st.sampled_from("abcde"), st.integers(0, 3), max_size=5)
_spaces = st.lists(_space, min_size=1, max_size=8)


def _trial(number: int, chosen: dict[str, int]) -> FrozenTrial:
    distributions = {name: VALUES[at][0] for name, at in chosen.items()}
    params = {name: VALUES[at][1] for name, at in chosen.items()}
    trial = create_trial(state=TrialState.COMPLETE, values=[0, 0], params=params, distributions=distributions)
    trial.number = number
    return trial


def _study(trials: list[FrozenTrial]) -> optuna.Study:
    study = optuna.create_study(directions=["minimize"] * 2, storage=optuna.storages.InMemoryStorage())
    for trial in trials:
        study._storage.create_new_trial(study._study_id, trial)
    return study


@settings(deadline=None, derandomize=True)
@given(_spaces, st.randoms(use_true_random=False))
def test_the_intersection_is_optunas(spaces: list[dict[str, int]], random: Random) -> None:
    trials = [_trial(number, chosen) for number, chosen in enumerate(spaces)]
    study, ours = _study(trials), Intersection()
    for trial in random.sample(trials, len(trials)):
        ours.add(trial)
    assert list(ours.calculate(study).items()) == list(IntersectionSearchSpace(True).calculate(study).items())


@settings(deadline=None, derandomize=True)
@given(_spaces, st.randoms(use_true_random=False))
def test_the_groups_are_optunas_in_the_same_order(spaces: list[dict[str, int]], random: Random) -> None:
    trials = [_trial(number, chosen) for number, chosen in enumerate(spaces)]
    study, ours = _study(trials), Groups()
    for trial in random.sample(trials, len(trials)):
        ours.add(trial)
    assert ours.calculate(study).search_spaces == _GroupDecomposedSearchSpace(True).calculate(study).search_spaces


def test_without_trials_nothing_is_shared() -> None:
    study = _study([])
    assert Intersection().calculate(study) == {}
    assert Groups().calculate(study).search_spaces == []
