"""Our TPE suggests what Optuna's suggests, bit for bit, whatever the history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.samplers import TPESampler
from optuna.samplers._tpe import sampler as tpe
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator

from objectives.space import has_conditions
from objectives.spec import Study
from tests.support.studies import make_study
from tests.unit.service.plain_optuna import Pair, Plain, assert_signatures, play

FLAT: Mapping[str, Any] = {
    "beta": {"range": [0.0, 1.0], "step": 0.25},
    "threshold": {"range": [0.25, 2.5]},
    "train.lr": {"log": [1e-3, 1e-1]},
    "train.epochs": {"int": [1, 4]},
    "encoding": {"choice": ["direct", "rate"]},
}
CONDITIONAL: Mapping[str, Any] = {
    "surrogate": {"choice": {"fast_sigmoid": {"slope": {"log": [0.5, 32.0]}}, "atan": {"alpha": {"log": [0.5, 32.0]}}}},
    "beta": {"range": [0.05, 0.95]},
    "train.epochs": {"int": [1, 4]},
}
CHOICES: Mapping[str, Any] = {"beta": {"choice": [0.25, 0.5]}, "train.batch": {"choice": [16, 32, 64]}}
SPACES = {"flat": FLAT, "conditional": CONDITIONAL, "choices": CHOICES}
OBJECTIVES = ("accuracy", "latency_ms", "fps_per_watt", "energy_uj")


def _study(space: str, seed: int, objectives: int) -> Study:
    return make_study(
        sampler={"name": "tpe", "seed": seed}, search=dict(SPACES[space]), objectives=list(OBJECTIVES[:objectives]),
        baseline={},
    )  # fmt: skip


def _plain(study: Study) -> Plain:
    group = has_conditions(study.search)
    return lambda seed: TPESampler(multivariate=True, group=group, constant_liar=True, seed=seed)


@settings(deadline=None, derandomize=True, max_examples=10)
@given(
    space=st.sampled_from(sorted(SPACES)),
    seed=st.integers(0, 2**32),
    objectives=st.integers(2, 4),
    levels=st.sampled_from([2, 5, 1000]),
    ahead=st.integers(0, 6),
    bad=st.sampled_from([(0.2, 0.5), (1.0, 0.5), (1.0, 0.0)]),
)
def test_any_history_gives_optunas_suggestions(
    space: str, seed: int, objectives: int, levels: int, ahead: int, bad: tuple[float, float]
) -> None:
    pair = Pair(_study(space, seed, objectives), _plain(_study(space, seed, objectives)))
    play(pair, np.random.default_rng(seed), 32, ahead=ahead, levels=levels, bad=bad[0], pruned=bad[1])


@pytest.mark.full
@pytest.mark.parametrize("space", sorted(SPACES))
@pytest.mark.parametrize("levels", [3, 20, 10**6])
def test_long_histories_give_optunas_suggestions(space: str, levels: int) -> None:
    study = _study(space, levels, 3)
    play(Pair(study, _plain(study)), np.random.default_rng(levels), 400, ahead=16, levels=levels)


def test_infinite_values_are_split_as_optuna_splits_them() -> None:
    study = _study("flat", 5, 3)
    pair, rng = Pair(study, _plain(study)), np.random.default_rng(5)
    for _ in range(40):
        ours, theirs = pair.ask()
        assert ours == theirs
        values = [float(rng.choice([0.5, np.inf, -np.inf, rng.uniform()])) for _ in range(3)]
        pair.end(pair.running[0], optuna.trial.TrialState.COMPLETE, values, {})


def test_what_is_replaced_in_optuna_is_as_it_was() -> None:
    """A new Optuna that changes one of these is to be read before `service/tpe.py` is trusted with it."""
    known: dict[Callable[..., Any], str] = {
        TPESampler._sample: "(self, study, trial, search_space)",
        TPESampler._sample_relative: "(self, study, trial, search_space)",
        TPESampler.sample_independent: "(self, study, trial, param_name, param_distribution)",
        TPESampler._get_params: "(self, trial, study)",
        TPESampler._compute_acquisition_func: "(self, samples, mpe_below, mpe_above)",
        tpe._split_trials: "(study, trials, n_below)",
        tpe._get_infeasible_trial_score: "(trial)",
        tpe._get_reference_point: "(loss_vals)",
        tpe._solve_hssp: "(rank_i_loss_vals, rank_i_indices, subset_size, reference_point)",
        _ParzenEstimator.__init__: "(self, observations, search_space, parameters, predetermined_weights)",
    }
    assert_signatures(known)
    sampler = TPESampler(seed=1)
    assert {"_search_space", "_group_decomposed_search_space", "_n_startup_trials", "_rng"} <= set(vars(sampler))
