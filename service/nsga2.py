"""Optuna's NSGA-II that reads the last generations only, where Optuna reads all trials for every suggestion."""

from __future__ import annotations

from bisect import insort
from operator import attrgetter

from optuna import Study
from optuna.samplers import NSGAIISampler
from optuna.trial import FrozenTrial, TrialState

from service.spaces import Intersection

_by_number = attrgetter("number")


class Generations:
    """The complete trials of a study, by generation."""

    def __init__(self) -> None:
        self.space = Intersection()
        self.parents: dict[int, list[FrozenTrial]] = {}
        self._populations: dict[int, list[FrozenTrial]] = {}

    def see(self, trial: FrozenTrial) -> None:
        """Take in a trial; only one that completes matters."""
        if trial.state is not TrialState.COMPLETE:
            return
        self.space.add(trial)
        generation = trial.system_attrs.get(WarmNSGA2._get_generation_key())
        if generation is not None:
            insort(self._populations.setdefault(generation, []), trial, key=_by_number)

    def population(self, generation: int) -> list[FrozenTrial]:
        """Complete trials of a generation, by number."""
        return list(self._populations.get(generation, ()))

    def next(self, size: int) -> int:
        """Generation of a new trial: the newest that completed trials are of, until it has `size` of them."""
        newest = max(self._populations, default=0)
        return newest + (len(self._populations.get(newest, ())) >= size)


class WarmNSGA2(NSGAIISampler):
    """Optuna's `NSGAIISampler`, fed from a memory; parents are chosen once a generation and kept there."""

    def __init__(self, generations: Generations, *, seed: int) -> None:
        super().__init__(seed=seed)
        self._generations = generations
        self._search_space = generations.space  # type: ignore[assignment]  # of the same shape, and kept up to date

    @classmethod
    def _get_generation_key(cls) -> str:
        return NSGAIISampler._get_generation_key()

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

    def select_parent(self, study: Study, generation: int) -> list[FrozenTrial]:
        """The best of the generation before and of its parents."""
        older = self._generations.parents.get(generation - 1, [])
        return self._elite_population_selection_strategy(study, self.get_population(study, generation - 1) + older)
