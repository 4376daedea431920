"""Surrogate gradients of the spike function, with the arithmetic of snnTorch 1.0.0 to the last bit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FastSigmoid:
    """dS/dx = 1 / (1 + k|x|)^2 with slope k, x = u - theta; the peak is 1 for any k.

    Source: `snntorch.surrogate.FastSigmoid.backward`, after Zenke & Ganguli (2018), SuperSpike.
    """

    slope: float

    def chain_(self, shifted: Tensor, gradient: Tensor) -> Tensor:
        """The gradient times dS/dx, in the place of `shifted` (both `(T, ...)`)."""
        shifted.abs_().mul_(self.slope).add_(1.0).pow_(2)
        return torch.div(gradient, shifted, out=shifted)


@dataclass(frozen=True)
class Atan:
    """dS/dx = (alpha/2) / (1 + (pi/2 alpha x)^2), x = u - theta; the peak is alpha/2.

    Source: `snntorch.surrogate.ATan.backward` (its docstring shows another factor), after Fang et al. (2021).
    """

    alpha: float

    def chain_(self, shifted: Tensor, gradient: Tensor) -> Tensor:
        """The gradient times dS/dx, in the place of `shifted` (both `(T, ...)`)."""
        shifted.mul_(math.pi / 2 * self.alpha).pow_(2).add_(1).reciprocal_().mul_(self.alpha / 2)
        return shifted.mul_(gradient)


Surrogate = FastSigmoid | Atan
