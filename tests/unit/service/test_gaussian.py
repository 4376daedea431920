"""The Gaussian process: its gradient, its posterior against scikit-learn's, and what its draws look like."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from service.gaussian import JITTER, USUAL, WIDTH, GaussianProcess, _each, _loss

RNG = np.random.default_rng(4)
INPUTS = RNG.random((30, 3))
TARGETS = np.sin(4 * INPUTS[:, 0]) + INPUTS[:, 1] ** 2 + 0.01 * RNG.standard_normal(30)


def test_the_gradient_is_that_of_the_loss() -> None:
    usual, width = _each(USUAL, 3), _each(WIDTH, 3)
    squares = (INPUTS[:, None] - INPUTS[None]) ** 2
    at = usual + np.array([0.3, -0.2, 0.5, 0.4, 0.7])

    numeric = approx_fprime(at, lambda logs: _loss(logs, TARGETS, squares, usual, width)[0], 1e-6)

    assert _loss(at, TARGETS, squares, usual, width)[1] == pytest.approx(numeric, rel=1e-4, abs=1e-4)


def test_the_draws_have_the_mean_and_the_spread_of_scikit_learns_posterior() -> None:
    fitted = GaussianProcess.fit(INPUTS, TARGETS)
    places = RNG.random((6, 3))
    covariance = fitted.factor @ fitted.factor.T
    noise = covariance[0, 0] - fitted.signal
    kernel = ConstantKernel(fitted.signal) * Matern(fitted.lengths, nu=2.5)
    peer = GaussianProcessRegressor(kernel, alpha=noise, optimizer=None)
    peer.fit(INPUTS, (TARGETS - fitted.mean) / fitted.spread)
    mean, spread = peer.predict(places, return_std=True)

    draws = (fitted.draws(places, 20_000, np.random.default_rng(1)) - fitted.mean) / fitted.spread

    assert draws.mean(axis=0) == pytest.approx(mean, abs=4 * spread.max() / 20_000**0.5)
    assert draws.std(axis=0) == pytest.approx((spread**2 + JITTER * (1 + fitted.signal)) ** 0.5, rel=0.03)


def test_it_predicts_what_it_was_not_shown_and_finds_the_input_that_does_not_matter() -> None:
    fitted = GaussianProcess.fit(INPUTS, TARGETS)
    places = RNG.random((200, 3))

    predicted = fitted.draws(places, 50, RNG).mean(axis=0)

    truth = np.sin(4 * places[:, 0]) + places[:, 1] ** 2
    assert np.sqrt(np.mean((predicted - truth) ** 2)) < 0.2 * truth.std()
    assert fitted.lengths[2] > 2 * fitted.lengths[0]


def test_targets_that_are_all_alike_are_predicted_as_they_are() -> None:
    fitted = GaussianProcess.fit(INPUTS, np.full(30, 0.7))

    assert fitted.draws(INPUTS[:4], 3, RNG) == pytest.approx(0.7, abs=0.3)
