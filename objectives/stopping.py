"""Which trials to stop early, judged by all objectives at once.

A trial reports its objective vector at rungs, epochs `grace_epochs * reduction^k` below its last, and is compared with
the vectors that other trials had at the same epoch so far (asynchronously: nobody waits for a rung to fill).

- `moasha`: the better `1 / reduction` of a rung goes on. Better is the lower non-domination rank; within a rank the
  larger exclusive hypervolume. Source: Schmucker, Donini, Zafar, Salinas and Archambeau, "Multi-objective Asynchronous
  Successive Halving", arXiv:2106.12639, who order within a rank by other means.
- `median-front`: a trial stops behind the median attainment surface of its rung: where half of the others or more
  are at least as good in every objective. It is the median stopping rule of Golovin et al., "Google Vizier", KDD 2017,
  with attainment (Grunert da Fonseca, Fonseca and Hall, EMO 2001) for the order of several objectives.
- `skyband`: a trial stops where `BEHIND` others dominate it, however many are at the rung. The rest is the
  `BEHIND`-skyband of Papadias, Tao, Fu and Seeger, "Progressive Skyline Computation", TODS 2005.
- Below an accuracy floor a trial stops at the last rung whatever else it has: a silent network has the least latency of
  all, and nothing would ever dominate it. The floor is a third of the way from chance to the study's. Before the last
  rung there is none: the sparsest networks of a front are silent in their first epochs, and wake late.
- A gate before training stops who would be infeasible or dominated with accuracy 1 and no spike behind the first layer.

One in `spare` losers is trained to the end all the same, which measures how often a stop was wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import moocore
import numpy as np
from numpy.typing import NDArray

from objectives.pareto import Values, losses_of
from objectives.searchspec import StoppingSpec

FEWEST = 3
"""Vectors at a rung, its own among them, below which no trial is stopped by comparison."""

BEHIND = 4
"""Who dominate a trial when `skyband` stops it; with fewer, noise of early epochs costs members of the front."""

CORNER = 1.1
"""Where hypervolumes end, in units of an objective's spread over a rung."""


@dataclass(frozen=True)
class Verdict:
    """What a method makes of a trial.

    Attributes:
        stop: Whether it is worth no more training.
        reason: In words, with the figures.
    """

    stop: bool
    reason: str


def rung_epochs(spec: StoppingSpec, epochs: int) -> list[int]:
    """Epochs at which a trial of so many epochs reports its objective vector: below the last, where it completes."""
    rungs, epoch = [], spec.grace_epochs
    while epoch < epochs:
        rungs.append(epoch)
        epoch *= spec.reduction
    return rungs


def rung_floor(spec: StoppingSpec, epoch: int, epochs: int, *, chance: float, floor: float) -> float:
    """Least accuracy at a rung.

    Args:
        spec: The method.
        epoch: Of the rung.
        epochs: Of the trial.
        chance: Accuracy of guessing.
        floor: Of a feasible trial at its end.
    """
    is_last = epoch * spec.reduction >= epochs
    return min(floor, chance + (floor - chance) / 3) if is_last else 0.0


def judge(
    spec: StoppingSpec,
    objectives: Sequence[str],
    own: Mapping[str, float],
    others: Sequence[Mapping[str, float]],
    floor: float,
) -> Verdict:
    """Judge a trial at a rung.

    Args:
        spec: The method.
        objectives: Names, which give the directions.
        own: Its objective vector by name.
        others: Vectors of other trials at the same epoch; those below the floor are left aside.
        floor: From `rung_floor`.

    Returns:
        For the method `none` never a stop.
    """
    if spec.name == "none":
        return Verdict(False, "stopping: none")
    if own["accuracy"] < floor:
        return Verdict(True, f"accuracy {own['accuracy']:.3f} is below the floor of its rung, {floor:.3f}")
    compared = [one for one in others if one["accuracy"] >= floor]
    count = len(compared) + 1
    if count < FEWEST:
        return Verdict(False, f"{count} at this rung, too few to compare")
    losses = _compared([own, *compared], objectives)
    if spec.name == "median-front":
        return _behind_the_median(losses)
    if spec.name == "skyband":
        return _outside_the_skyband(losses)
    place, kept = int(_order(losses).tolist().index(0)), math.ceil(count / spec.reduction)
    return Verdict(place >= kept, f"place {place + 1} of {count} at this rung, the better {kept} go on")


def judge_bound(
    objectives: Sequence[str], bound: Mapping[str, float], finished: Sequence[Mapping[str, float]]
) -> Verdict:
    """Judge before training by a bound: the best that a trial can come to.

    Args:
        objectives: Names, which give the directions.
        bound: Vector with accuracy 1 and the costs of a network that is silent behind its first layer.
        finished: Vectors of feasible trials.
    """
    if finished:
        losses = losses_of([bound, *finished], objectives)
        own, others = losses[0], losses[1:]
        if bool(((others <= own).all(axis=1) & (others < own).any(axis=1)).any()):
            return Verdict(True, "a finished trial is better even than this one with accuracy 1 and silent layers")
    return Verdict(False, "not dominated before it is trained")


def is_spared(spec: StoppingSpec, seed: int, number: int) -> bool:
    """Whether a trial is trained to its end though it loses: one in `spare`, drawn by its number.

    Args:
        spec: The method.
        seed: Of the study.
        number: Of the trial.
    """
    if spec.spare == 0:
        return False
    drawn = np.random.Generator(np.random.Philox(key=[seed, number])).integers(spec.spare)
    return int(drawn) == 0


def _behind_the_median(losses: Values) -> Verdict:
    own, others = losses[0], losses[1:]
    better = int((others <= own).all(axis=1).sum())
    words = f"{better} of {len(others)} others at this rung are as good in every objective"
    return Verdict(2 * better >= len(others), words)


def _outside_the_skyband(losses: Values) -> Verdict:
    own, others = losses[0], losses[1:]
    better = int(((others <= own).all(axis=1) & (others < own).any(axis=1)).sum())
    return Verdict(better >= BEHIND, f"{better} of {len(others)} others at this rung dominate it")


def _order(losses: Values) -> NDArray[np.intp]:
    """Places of vectors `(points, objectives)`, the best first: by non-domination rank, then by exclusive hypervolume.

    Hypervolumes within a rank are measured with each objective scaled to 0 to 1 over all points, up to `CORNER`.
    """
    least, most = losses.min(axis=0), losses.max(axis=0)
    scaled = (losses - least) / np.where(most > least, most - least, 1.0)
    ranks = moocore.pareto_rank(scaled)
    exclusive = np.zeros(len(scaled))
    for rank in np.unique(ranks):
        (members,) = np.nonzero(ranks == rank)
        exclusive[members] = moocore.hv_contributions(scaled[members], ref=np.full(losses.shape[1], CORNER))
    return np.lexsort((np.arange(len(scaled)), -exclusive, ranks))


def _compared(vectors: Sequence[Mapping[str, float]], objectives: Sequence[str]) -> Values:
    """Losses of vectors, those of hardware by their logarithm: they span decades."""
    logarithms = [
        {name: vector[name] if name == "accuracy" else math.log(vector[name]) for name in objectives}
        for vector in vectors
    ]
    return losses_of(logarithms, objectives)
