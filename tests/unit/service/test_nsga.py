"""Our NSGA-II and NSGA-III suggest what Optuna's suggest, bit for bit, and start in studies of many generations."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.samplers import NSGAIIISampler, NSGAIISampler
from optuna.samplers._lazy_random_state import LazyRandomState
from optuna.samplers._nsgaiii._elite_population_selection_strategy import NSGAIIIElitePopulationSelectionStrategy
from optuna.trial import FrozenTrial

from objectives.spec import Study
from tests.support.studies import make_study
from tests.unit.service.plain_optuna import Pair, assert_signatures, end_one, play

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


def _study(space: Mapping[str, Any], seed: int, name: str = "nsga2") -> Study:
    return make_study(sampler={"name": name, "seed": seed}, search=dict(space), baseline={})


class WithLots(NSGAIIISampler):
    """Optuna's NSGA-III, that draws the lots of a generation from the study's seed."""

    study_seed = 0

    def select_parent(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        drawn = np.random.SeedSequence([self.study_seed, generation]).generate_state(1)[0]
        strategy: Any = self._elite_population_selection_strategy
        strategy._rng = LazyRandomState(int(drawn))
        return list(super().select_parent(study, generation))

    @classmethod
    def _get_generation_key(cls) -> str:
        return NSGAIIISampler._get_generation_key()

    @classmethod
    def _get_parent_cache_key_prefix(cls) -> str:
        return NSGAIIISampler._get_parent_cache_key_prefix()


def _plain(seed: int) -> NSGAIISampler:
    return NSGAIISampler(seed=seed)


@pytest.mark.parametrize(("space", "ahead", "levels"), [(FLAT, 0, 3), (CONDITIONAL, 7, 1000), (FLAT, 20, 20)])
def test_generations_follow_as_optunas_do(space: Mapping[str, Any], ahead: int, levels: int) -> None:
    pair = Pair(_study(space, ahead), _plain)
    play(pair, np.random.default_rng(ahead), 190, ahead=ahead, levels=levels)
    generations = {trial.system_attrs.get(GENERATION) for trial in pair.theirs.get_trials(deepcopy=False)}
    assert generations >= {0, 1, 2}


@pytest.mark.parametrize("seed", [1, 2])
def test_nsga3_draws_the_lots_of_a_generation_from_the_studys_seed(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(WithLots, "study_seed", seed)
    pair = Pair(_study(FLAT, seed, "nsga3"), lambda one: WithLots(seed=one))

    play(pair, np.random.default_rng(seed), 190, ahead=7, levels=20)

    key = NSGAIIISampler._get_generation_key()
    assert {trial.system_attrs.get(key) for trial in pair.theirs.get_trials(deepcopy=False)} >= {0, 1, 2}


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
    known: dict[Callable[..., Any], str] = {
        NSGAIISampler.get_trial_generation: "(self, study, trial)",
        NSGAIISampler.get_population: "(self, study, generation)",
        NSGAIISampler.get_parent_population: "(self, study, generation)",
        NSGAIISampler.select_parent: "(self, study, generation)",
        NSGAIIISampler.select_parent: "(self, study, generation)",
        NSGAIIIElitePopulationSelectionStrategy.__call__: "(self, study, population)",
    }
    assert_signatures(known)
    assert {"_search_space", "_elite_population_selection_strategy"} <= set(vars(NSGAIISampler(seed=1)))
    assert NSGAIISampler._get_generation_key() == GENERATION
