"""Non-domination ranks that are kept up point by point, and the best points by rank and hypervolume."""

from __future__ import annotations

import numpy as np
from optuna._hypervolume.hssp import _solve_hssp
from optuna.samplers._tpe.sampler import _get_reference_point

from objectives.pareto import nondominated

NONE = -1
"""Rank of a place without a point."""

AHEAD = 8
"""Points chosen more than asked for in a tie: as a study grows, more and more of the same front are wanted."""


class Ranks:
    """Ranks of points, each at a place of its own (a trial's number), for losses that are all to be minimised.

    Only as many fronts are told apart as were needed so far; the points behind them share the rank `depth`. A point
    that is added moves others back by one rank at most, and only those that it dominates by some chain.

    Args:
        objectives: Number of losses of a point.
    """

    def __init__(self, objectives: int) -> None:
        self._losses = np.empty((0, objectives))
        self._ranks = np.empty(0, dtype=np.int64)
        self._depth = 0
        self._chosen: tuple[bytes, np.ndarray] = (b"", np.empty(0, dtype=np.int64))

    def add(self, place: int, losses: np.ndarray) -> None:
        """Put a point `(objectives,)` at a place that has none."""
        self._make_room(place)
        self._losses[place] = losses
        if self._depth == 0:
            self._ranks[place] = 0
            return
        ahead = self._ranks[self._dominating(losses)]
        rank = min(int(ahead.max(initial=NONE)) + 1, self._depth)
        self._ranks[place] = rank
        moved = np.array([place])
        while moved.size and rank < self._depth:
            moved = self._pushed(moved, rank)
            rank += 1
            self._ranks[moved] = rank

    def best(self, count: int) -> np.ndarray:
        """Places of the best points, `count` of them or all; in no order.

        Whole fronts first; of the front that is too large, the points that Optuna's greedy choice by hypervolume takes
        (`_split_complete_trials_multi_objective` of its TPE sampler).
        """
        places = np.flatnonzero(self._ranks != NONE)
        if count >= places.size:
            return places
        if count == 0:
            return places[:0]
        self._tell_apart(count)
        ranks = self._ranks[places]
        sizes = np.cumsum(np.bincount(ranks, minlength=self._depth + 1))
        whole = int(np.searchsorted(sizes, count, side="right"))  # this many fronts fit in
        taken = places[ranks < whole]
        if taken.size == count:
            return taken
        tied = places[ranks == whole]
        return np.concatenate([taken, tied[self._by_hypervolume(self._losses[tied], count - taken.size)]])

    def _make_room(self, place: int) -> None:
        have = len(self._ranks)
        if place < have:
            return
        more = max(place + 1, 2 * have, 64) - have
        self._losses = np.concatenate([self._losses, np.full((more, self._losses.shape[1]), np.nan)])
        self._ranks = np.concatenate([self._ranks, np.full(more, NONE, dtype=np.int64)])

    def _dominating(self, losses: np.ndarray) -> np.ndarray:
        """Which points dominate this one; a place without a point holds NaN, which is never smaller."""
        at_most: np.ndarray = np.all(self._losses <= losses, axis=1)
        at_most[at_most] = np.any(self._losses[at_most] < losses, axis=1)
        return at_most

    def _pushed(self, pushing: np.ndarray, rank: int) -> np.ndarray:
        """Points of this rank that those now added to it dominate."""
        old = np.setdiff1d(np.flatnonzero(self._ranks == rank), pushing)
        theirs, ours = self._losses[old][:, np.newaxis], self._losses[pushing]
        behind = np.all(ours <= theirs, axis=2) & np.any(ours < theirs, axis=2)
        pushed: np.ndarray = old[behind.any(axis=1)]
        return pushed

    def _tell_apart(self, count: int) -> None:
        """Split fronts off the rest until they hold `count` points."""
        while np.count_nonzero((self._ranks != NONE) & (self._ranks < self._depth)) < count:
            rest = np.flatnonzero(self._ranks == self._depth)
            on_front = nondominated(self._losses[rest])
            self._depth += 1
            self._ranks[rest[~on_front]] = self._depth

    def _by_hypervolume(self, losses: np.ndarray, count: int) -> np.ndarray:
        """Positions of the chosen points of a front `(points, objectives)`.

        The choice is greedy: of one front, fewer points are the first of more. Only with fewer different points than
        are asked for it is no such sequence, and then it is quick.
        """
        front = losses.tobytes()
        known, chosen = self._chosen
        if known == front and count <= len(chosen):
            return chosen[:count]
        distinct = len(np.unique(losses, axis=0))
        wanted = min(count + AHEAD, distinct - 1) if count < distinct else count
        chosen = _solve_hssp(losses, np.arange(len(losses)), wanted, _get_reference_point(losses))
        if count < distinct:
            self._chosen = (front, chosen)
        return chosen[:count]
