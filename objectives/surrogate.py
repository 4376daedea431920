"""Surrogate gradients of the spike function, with the arithmetic of snnTorch 1.0.0 to the last bit.

Each knows its formula in torch (`chain_`) and its number and knobs for the compiled kernels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from objectives import kernels


@dataclass(frozen=True)
class FastSigmoid:
    """dS/dx = 1 / (1 + k|x|)^2 with slope k, x = u - theta; the peak is 1 for any k.

    Source: `snntorch.surrogate.FastSigmoid.backward`, after Zenke & Ganguli (2018), SuperSpike.
    """

    slope: float
    kernel: ClassVar[int] = kernels.FAST_SIGMOID

    @property
    def knobs(self) -> tuple[float, float]:
        """The two numbers that the kernel reads."""
        return self.slope, 0.0

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
    kernel: ClassVar[int] = kernels.ATAN

    @property
    def knobs(self) -> tuple[float, float]:
        """The two numbers that the kernel reads."""
        return math.pi / 2 * self.alpha, self.alpha / 2

    def chain_(self, shifted: Tensor, gradient: Tensor) -> Tensor:
        """The gradient times dS/dx, in the place of `shifted` (both `(T, ...)`)."""
        shifted.mul_(math.pi / 2 * self.alpha).pow_(2).add_(1).reciprocal_().mul_(self.alpha / 2)
        return shifted.mul_(gradient)


@dataclass(frozen=True)
class Triangular:
    """dS/dx = h below the threshold and -h at or above it, x = u - theta: snnTorch's, in spite of its name no triangle.

    Source: `snntorch.surrogate.Triangular.backward`, where h is called `threshold` and 1 by default.
    """

    height: float = 1.0
    kernel: ClassVar[int] = kernels.TRIANGULAR

    @property
    def knobs(self) -> tuple[float, float]:
        """The two numbers that the kernel reads."""
        return self.height, 0.0

    def chain_(self, shifted: Tensor, gradient: Tensor) -> Tensor:
        """The gradient times dS/dx (both `(T, ...)`)."""
        slope = gradient * self.height
        return torch.where(shifted >= 0, -slope, slope)


@dataclass(frozen=True)
class StraightThrough:
    """dS/dx = 1.

    Source: `snntorch.surrogate.StraightThroughEstimator.backward`.
    """

    kernel: ClassVar[int] = kernels.STRAIGHT_THROUGH

    @property
    def knobs(self) -> tuple[float, float]:
        """The two numbers that the kernel reads."""
        return 0.0, 0.0

    def chain_(self, shifted: Tensor, gradient: Tensor) -> Tensor:
        """The gradient itself, in the place of `shifted` (both `(T, ...)`)."""
        return shifted.copy_(gradient)


@dataclass(frozen=True)
class Sigmoid:
    """dS/dx = k e / (1 + e)^2 with slope k and e = exp(-k x), x = u - theta; 0 where (1 + e)^2 exceeds float32.

    snnTorch's own value is NaN where e itself exceeds float32 (k x below -88.7), and spoils every weight; this one is
    0 there, which is the limit.

    Source: `snntorch.surrogate.Sigmoid.backward`.
    """

    slope: float
    kernel: ClassVar[int] = kernels.SIGMOID

    @property
    def knobs(self) -> tuple[float, float]:
        """The two numbers that the kernel reads."""
        return self.slope, 0.0

    def chain_(self, shifted: Tensor, gradient: Tensor) -> Tensor:
        """The gradient times dS/dx (both `(T, ...)`)."""
        rise = shifted.mul_(-self.slope).exp_()
        square = (rise + 1) ** 2
        return (gradient * self.slope * rise / square).masked_fill_(square.isinf(), 0.0)


@dataclass(frozen=True)
class SpikeRateEscape:
    """dS/dx = k exp(-b |x - 1|) with slope k and decay b, x = u - theta: highest one above the threshold.

    Source: `snntorch.surrogate.SpikeRateEscape.backward`, after Gerstner & Kistler (2002).
    """

    slope: float
    decay: float = 1.0
    kernel: ClassVar[int] = kernels.ESCAPE

    @property
    def knobs(self) -> tuple[float, float]:
        """The two numbers that the kernel reads."""
        return self.slope, self.decay

    def chain_(self, shifted: Tensor, gradient: Tensor) -> Tensor:
        """The gradient times dS/dx (both `(T, ...)`)."""
        return gradient * self.slope * shifted.sub_(1).abs_().mul_(-self.decay).exp_()


Surrogate = FastSigmoid | Atan | Triangular | StraightThrough | Sigmoid | SpikeRateEscape
