"""Gaussian process regression: Matern-5/2 with a length scale for each input, fitted by its marginal likelihood.

Source: Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, equations 2.25, 2.26, 2.30, 4.17, 5.9.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize

Array = NDArray[np.float64]

USUAL = math.log(0.6), 0.0, math.log(1e-2)
"""Logarithms of the length scale, the signal's variance and the noise's that are likely beforehand."""

WIDTH = 0.8, 1.0, 1.5
"""Their standard deviations: priors keep a handful of points from being explained by one input alone."""

BOUNDS = (math.log(0.05), math.log(10.0)), (-4.0, 4.0), (math.log(1e-5), 0.0)
ITERATIONS = 30
JITTER = 1e-6


@dataclass(frozen=True)
class GaussianProcess:
    """A fitted process.

    Attributes:
        inputs: `(points, dimensions)`, each from 0 to 1.
        mean: Of the targets.
        spread: Standard deviation of the targets; the process is fitted to those scaled by it.
        lengths: `(dimensions,)`.
        signal: Variance.
        factor: Lower Cholesky factor of the points' covariance.
        weights: The covariance's inverse times the scaled targets.
    """

    inputs: Array
    mean: float
    spread: float
    lengths: Array
    signal: float
    factor: Array
    weights: Array

    @staticmethod
    def fit(inputs: Array, targets: Array) -> GaussianProcess:
        """The process of the largest posterior density of its length scales and variances.

        Args:
            inputs: `(points, dimensions)`, each from 0 to 1.
            targets: `(points,)`.
        """
        count, size = inputs.shape
        mean, spread = float(targets.mean()), float(targets.std()) or 1.0
        scaled = (targets - mean) / spread
        usual, width = _each(USUAL, size), _each(WIDTH, size)
        found = minimize(
            _loss,
            usual,
            (scaled, (inputs[:, None] - inputs[None]) ** 2, usual, width),
            method="L-BFGS-B",
            jac=True,
            bounds=[BOUNDS[0]] * size + list(BOUNDS[1:]),
            options={"maxiter": ITERATIONS},
        )
        *lengths, signal, noise = np.exp(found.x)
        covariance = signal * _matern(inputs, inputs, np.array(lengths)) + (noise + JITTER) * np.eye(count)
        factor = np.linalg.cholesky(covariance)
        weights = cho_solve((factor, True), scaled)
        return GaussianProcess(inputs, mean, spread, np.array(lengths), float(signal), factor, weights)

    def draws(self, inputs: Array, count: int, rng: np.random.Generator) -> Array:
        """Functions drawn from the posterior, without noise: `(count, points)`.

        Args:
            inputs: `(points, dimensions)`.
            count: Of functions.
            rng: What is drawn from.
        """
        across = self.signal * _matern(self.inputs, inputs, self.lengths)
        half = solve_triangular(self.factor, across, lower=True)
        covariance = self.signal * _matern(inputs, inputs, self.lengths) - half.T @ half
        root = np.linalg.cholesky(covariance + JITTER * (1 + self.signal) * np.eye(len(inputs)))
        normal = rng.standard_normal((count, len(inputs)))
        return np.asarray(self.mean + self.spread * (across.T @ self.weights + normal @ root.T), dtype=np.float64)


def _each(values: tuple[float, float, float], size: int) -> Array:
    length, signal, noise = values
    return np.array([*[length] * size, signal, noise])


def _matern(one: Array, other: Array, lengths: Array) -> Array:
    squares = (((one[:, None] - other[None]) / lengths) ** 2).sum(axis=-1)
    distance = np.sqrt(5 * squares + 1e-18)
    return np.asarray((1 + distance + distance**2 / 3) * np.exp(-distance), dtype=np.float64)


def _loss(logs: Array, targets: Array, squares: Array, usual: Array, width: Array) -> tuple[float, Array]:
    """Negative logarithm of the posterior density, up to a constant, and its gradient."""
    size = squares.shape[-1]
    lengths, (signal, noise) = np.exp(logs[:size]), np.exp(logs[size:])
    scaled = squares / lengths**2
    distance = np.sqrt(5 * scaled.sum(axis=-1) + 1e-18)
    decay = np.exp(-distance)
    kernel = (1 + distance + distance**2 / 3) * decay
    factor = np.linalg.cholesky(signal * kernel + (noise + JITTER) * np.eye(len(targets)))
    weights = cho_solve((factor, True), targets)
    outer = np.outer(weights, weights) - cho_solve((factor, True), np.eye(len(targets)))
    by_length = outer * (signal * 5 / 3 * (1 + distance) * decay)
    gradient = -0.5 * np.array(
        [*np.einsum("ij,ijd->d", by_length, scaled), (outer * signal * kernel).sum(), noise * np.trace(outer)]
    )
    loss = 0.5 * targets @ weights + np.log(np.diag(factor)).sum()
    apart = (logs - usual) / width
    return float(loss + 0.5 * apart @ apart), gradient + apart / width
