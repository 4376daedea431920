"""Optuna's NSGA-II and NSGA-III, reading the last generations only; Optuna reads all trials for every suggestion."""

from __future__ import annotations

from bisect import insort
from operator import attrgetter

import numpy as np
from optuna import Study
from optuna.samplers import BaseGASampler, NSGAIIISampler, NSGAIISampler
from optuna.samplers._lazy_random_state import LazyRandomState
from optuna.samplers._nsgaiii._elite_population_selection_strategy import NSGAIIIElitePopulationSelectionStrategy
from optuna.trial import FrozenTrial, TrialState

from service.spaces import Intersection

_by_number = attrgetter("number")


class Generations:
    """The complete trials of a study, by generation.

    Args:
        key: Of the system attribute in which a trial's generation stands.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self.space = Intersection()
        self.parents: dict[int, list[FrozenTrial]] = {}
        self._populations: dict[int, list[FrozenTrial]] = {}

    def see(self, trial: FrozenTrial) -> None:
        """Take in a trial; only one that completes matters."""
        if trial.state is not TrialState.COMPLETE:
            return
        self.space.add(trial)
        generation = trial.system_attrs.get(self._key)
        if generation is not None:
            insort(self._populations.setdefault(generation, []), trial, key=_by_number)

    def population(self, generation: int) -> list[FrozenTrial]:
        """Complete trials of a generation, by number."""
        return list(self._populations.get(generation, ()))

    def next(self, size: int) -> int:
        """Generation of a new trial: the newest that completed trials are of, until it has `size` of them."""
        newest = max(self._populations, default=0)
        return newest + (len(self._populations.get(newest, ())) >= size)


class _Warm(BaseGASampler):
    """A genetic sampler of Optuna's, fed from a memory; parents are chosen once a generation and kept there."""

    _generations: Generations

    def get_trial_generation(self, study: Study, trial: FrozenTrial) -> int:
        """The trial's generation; one that has none yet gets the newest."""
        generation = trial.system_attrs.get(self._get_generation_key())
        if generation is None:
            assert self.population_size is not None
            generation = self._generations.next(self.population_size)
            study._storage.set_trial_system_attr(trial._trial_id, self._get_generation_key(), generation)
        return int(generation)

    def get_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        """The complete trials of a generation, in the order of their numbers."""
        return self._generations.population(generation)

    def get_parent_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        """The parents of a generation: as they are chosen at first, later in the order of their numbers, as Optuna.

        Those of the generations before are chosen first and one by one: Optuna descends into itself, which ends at
        Python's limit after some hundred generations.
        """
        parents = self._generations.parents
        if generation in parents:
            return parents[generation]
        chosen: list[FrozenTrial] = []
        for missing in range(max(parents, default=0) + 1, generation + 1):
            chosen = self.select_parent(study, missing)
            parents[missing] = sorted(chosen, key=_by_number)
        return chosen

    def _candidates(self, study: Study, generation: int) -> list[FrozenTrial]:
        """The generation before and its parents."""
        return self.get_population(study, generation - 1) + self._generations.parents.get(generation - 1, [])


class WarmNSGA2(_Warm, NSGAIISampler):
    """Optuna's `NSGAIISampler`.

    Args:
        generations: Knows every trial of the study that completed.
        seed: Of the one suggestion that it is made for.
    """

    def __init__(self, generations: Generations, *, seed: int) -> None:
        NSGAIISampler.__init__(self, seed=seed)
        self._generations = generations
        self._search_space = generations.space  # type: ignore[assignment]  # of the same shape, and kept up to date

    @classmethod
    def _get_generation_key(cls) -> str:
        return NSGAIISampler._get_generation_key()

    def select_parent(self, study: Study, generation: int) -> list[FrozenTrial]:
        """The best of the generation before and of its parents."""
        return self._elite_population_selection_strategy(study, self._candidates(study, generation))


class WarmNSGA3(_Warm, NSGAIIISampler):
    """Optuna's `NSGAIIISampler`, for three objectives and more.

    It draws lots where it chooses parents. The lots are a generation's own, not those of the suggestion that comes
    first to it, so that a server that starts anew chooses the same ones.

    Args:
        generations: Knows every trial of the study that completed.
        seed: Of the one suggestion that it is made for.
        study_seed: For what is the same for all suggestions.
    """

    def __init__(self, generations: Generations, *, seed: int, study_seed: int) -> None:
        NSGAIIISampler.__init__(self, seed=seed)
        self._generations, self._study_seed = generations, study_seed
        self._search_space = generations.space  # type: ignore[assignment]

    @classmethod
    def _get_generation_key(cls) -> str:
        return NSGAIIISampler._get_generation_key()

    def select_parent(self, study: Study, generation: int) -> list[FrozenTrial]:
        """The best of the generation before and of its parents."""
        drawn = np.random.SeedSequence([self._study_seed, generation]).generate_state(1)[0]
        assert self.population_size is not None
        choose = NSGAIIIElitePopulationSelectionStrategy(
            population_size=self.population_size, rng=LazyRandomState(int(drawn))
        )
        return choose(study, self._candidates(study, generation))
