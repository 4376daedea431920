"""The search space that finished trials share, kept up trial by trial where Optuna reads all of them anew.

Both classes give what Optuna's class of the same role gives (`IntersectionSearchSpace`, `_GroupDecomposedSearchSpace`)
and are put in its place in a sampler.
"""

from __future__ import annotations

from collections.abc import Mapping

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.search_space import _SearchSpaceGroup
from optuna.trial import FrozenTrial

Space = Mapping[str, BaseDistribution]


class Intersection:
    """Parameters that every trial has, with one and the same distribution."""

    def __init__(self) -> None:
        self._common: dict[str, BaseDistribution] | None = None
        self._newest = -1

    def add(self, trial: FrozenTrial) -> None:
        """Count a finished trial in."""
        own = trial.distributions
        if self._common is None:
            self._common = dict(sorted(own.items()))
        elif not self._is_in(own):
            self._common = {name: known for name, known in self._common.items() if own.get(name) == known}
        if trial.number > self._newest:
            self._newest = trial.number
            self._common = {name: own[name] for name in self._common}  # the distributions of the newest, as Optuna

    def calculate(self, study: Study, use_cache: bool = False) -> dict[str, BaseDistribution]:
        """The parameters in the order of their names; empty before the first trial."""
        return dict(self._common or {})

    def _is_in(self, own: Space) -> bool:
        return all(own.get(name) is known for name, known in (self._common or {}).items())


class Groups:
    """Optuna's decomposition of a conditional space: sets of parameters that trials have all of or none of.

    A set of parameters met again changes nothing, so only the first trial of each is kept.
    """

    def __init__(self) -> None:
        self._first: dict[frozenset[str], tuple[int, Space]] = {}
        self._group = _SearchSpaceGroup()

    def add(self, trial: FrozenTrial) -> None:
        """Count a finished trial in."""
        names = frozenset(trial.distributions)
        if names in self._first and self._first[names][0] < trial.number:
            return
        self._first[names] = (trial.number, trial.distributions)
        self._group = _SearchSpaceGroup()
        for _, space in sorted(self._first.values(), key=lambda first: first[0]):
            self._group.add_distributions(dict(space))

    def calculate(self, study: Study, use_cache: bool = False) -> _SearchSpaceGroup:
        """The groups in the order in which trials, by their numbers, brought them up."""
        return self._group
