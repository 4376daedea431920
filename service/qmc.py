"""Optuna's quasi-Monte Carlo sampler, its place in the sequence being the trial's number: nothing is to remember."""

from __future__ import annotations

from collections.abc import Mapping

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import QMCSampler, RandomSampler
from optuna.trial import FrozenTrial


class NumberedQMC(QMCSampler):
    """A scrambled Sobol sequence over the parameters that every trial has.

    Args:
        space: These parameters; those under a choice are drawn at random.
        number: Of the trial.
        seed: Of the study, which scrambles the sequence.
        own_seed: Of the one suggestion that it is made for.
    """

    def __init__(self, space: Mapping[str, BaseDistribution], number: int, *, seed: int, own_seed: int) -> None:
        super().__init__(
            scramble=True,
            seed=seed,
            independent_sampler=RandomSampler(seed=own_seed),
            warn_asynchronous_seeding=False,
            warn_independent_sampling=False,
        )
        self._space, self._number = dict(space), number

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """As it is in the study's file."""
        return self._space

    def _find_sample_id(self, study: Study, search_space: dict[str, BaseDistribution]) -> int:
        return self._number
