"""Our NSGA-II suggests what Optuna's suggests, bit for bit, and starts in a study of any number of generations."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from optuna.distributions import FloatDistribution
from optuna.samplers import NSGAIISampler

from objectives.spec import Study
from tests.support.studies import make_study
from tests.unit.service.plain_optuna import Pair, end_one, play

FLAT: Mapping[str, Any] = {
    "beta": {"range": [0.0, 1.0], "step": 0.25},
    "threshold": {"range": [0.25, 2.5]},
    "train.lr": {"log": [1e-3, 1e-1]},
    "encoding": {"choice": ["direct", "rate"]},
}
CONDITIONAL: Mapping[str, Any] = {
    "surrogate": {"choice": {"fast_sigmoid": {"slope": {"log": [0.5, 32.0]}}, "atan": {"alpha": {"log": [0.5, 32.0]}}}},
    "beta": {"range": [0.05, 0.95]},
}
GENERATION = "NSGAIISampler:generation"


def _study(space: Mapping[str, Any], seed: int) -> Study:
    return make_study(sampler={"name": "nsga2", "seed": seed}, search=dict(space), baseline={})


def _plain(seed: int) -> NSGAIISampler:
    return NSGAIISampler(seed=seed)


@pytest.mark.parametrize(("space", "ahead", "levels"), [(FLAT, 0, 3), (CONDITIONAL, 7, 1000), (FLAT, 20, 20)])
def test_generations_follow_as_optunas_do(space: Mapping[str, Any], ahead: int, levels: int) -> None:
    pair = Pair(_study(space, ahead), _plain)
    play(pair, np.random.default_rng(ahead), 190, ahead=ahead, levels=levels)
    generations = {trial.system_attrs.get(GENERATION) for trial in pair.theirs.get_trials(deepcopy=False)}
    assert generations >= {0, 1, 2}


def test_a_study_of_more_generations_than_python_descends_begins() -> None:
    pair, rng = Pair(_study({"beta": {"range": [0.0, 1.0]}}, 1), _plain), np.random.default_rng(1)
    generations = sys.getrecursionlimit() // 2 + 20
    for generation in range(generations):
        pair.add({"beta": rng.uniform()}, {"beta": FloatDistribution(0, 1)}, rng.uniform(size=3).tolist(),
                 {GENERATION: generation})  # fmt: skip
    with pytest.raises(RecursionError):
        _plain(1).get_parent_population(pair.theirs, generations)
    suggestion = pair.mirror.suggest(generations)
    assert suggestion.system_attrs[GENERATION] == generations - 1
    assert 0 <= float(suggestion.params["beta"]) <= 1


def test_a_failed_trial_is_of_no_generation() -> None:
    pair, rng = Pair(_study(FLAT, 2), _plain), np.random.default_rng(2)
    play(pair, rng, 70, ahead=0, levels=1000)
    while pair.running:
        end_one(pair, rng, 1000)
    ours, theirs = pair.ask()
    assert ours == theirs


def test_what_is_replaced_in_optuna_is_as_it_was() -> None:
    known = {
        NSGAIISampler.get_trial_generation: "(self, study, trial)",
        NSGAIISampler.get_population: "(self, study, generation)",
        NSGAIISampler.get_parent_population: "(self, study, generation)",
        NSGAIISampler.select_parent: "(self, study, generation)",
    }
    for function, names in known.items():
        assert f"({', '.join(inspect.signature(function).parameters)})" == names, function
    assert {"_search_space", "_elite_population_selection_strategy"} <= set(vars(NSGAIISampler(seed=1)))
    assert NSGAIISampler._get_generation_key() == GENERATION
