"""Integrate-and-fire neurons over all time steps at once, with the spikes and gradients of snnTorch's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from objectives import kernels, scan, torchscan
from objectives.scan import Constants
from objectives.surrogate import Surrogate

Reset = Literal["subtract", "zero"]
Learnable = Literal["beta", "threshold"]


class Learned(NamedTuple):
    """A layer's own leak and threshold, 0-d float32 parameters; None where the neuron's number holds."""

    beta: Tensor | None = None
    threshold: Tensor | None = None


_NOTHING = Learned()


@dataclass(frozen=True)
class Lif:
    """Neuron with leak `beta` (clamped to 0..1), `threshold` theta > 0 and delayed reset.

    From the membrane u of the step before, reset r = [u > theta] (no gradient through it), then
    u' = beta u + x - r theta with `reset="subtract"`, u' = beta (1 - r) u + x with `reset="zero"`; spike
    s = [u' > theta]: strictly above. u starts at 0.

    Source: `snntorch.Leaky` 1.0.0 with `reset_delay=True`.
    """

    beta: float
    threshold: float
    surrogate: Surrogate
    reset: Reset = "subtract"

    def scan(self, current: Tensor, *, constant_steps: int | None = None, learned: Learned = _NOTHING) -> Tensor:
        """Spikes `(T, B, ...)` float32 of the neurons driven by `current`.

        Args:
            current: Input current `(T, B, ...)`; or `(B, ...)` with `constant_steps`.
            constant_steps: The current is the same at each of so many steps.
            learned: Leak and threshold to use, and to learn, in the place of the neuron's.
        """
        return scan.spikes(current, constant_steps, self.constants, learned.beta, learned.threshold)

    def membranes(self, current: Tensor, *, learned: Learned = _NOTHING) -> Tensor:
        """Membranes `(T, B, ...)` that the spikes are fired from; the reset passes no gradient."""
        return torchscan.membranes(current, self.constants, learned.beta, learned.threshold)

    @cached_property
    def constants(self) -> Constants:
        """The numbers of the equations."""
        return Constants(
            min(max(self.beta, 0.0), 1.0),
            self.threshold,
            (),
            kernels.SUBTRACT if self.reset == "subtract" else kernels.ZERO,
            self.surrogate,
        )


@dataclass(frozen=True)
class Lapicque:
    """Neuron of a circuit with `resistance` R, `capacitance` C and step length `time_step` dt; delayed reset.

    u' = x dt/C + (1 - dt/(R C)) u, less r theta with `reset="subtract"`, nothing of it where r = 1 with
    `reset="zero"`: there the input of that step is lost too. Reset r, spike and start as `Lif`.

    Source: `snntorch.Lapicque` 1.0.0, whose `beta` decides R and C and is not in its equations.
    """

    resistance: float
    capacitance: float
    threshold: float
    surrogate: Surrogate
    time_step: float = 1.0
    reset: Reset = "subtract"

    @classmethod
    def of_beta(cls, beta: float, threshold: float, surrogate: Surrogate, *, reset: Reset = "subtract") -> Lapicque:
        """The neuron of R = 1 and time step 1 that leaks as exp(-1/C) = `beta`, 0 < beta < 1: C = 1/ln(1/beta)."""
        capacitance = 1 / torch.log(1 / torch.tensor(beta))
        return cls(1.0, float(capacitance), threshold, surrogate, reset=reset)

    @property
    def beta(self) -> float:
        """What is left of a membrane after a step, 1 - dt/(R C): what `beta` is in `Lif`."""
        return self.constants.decay

    def scan(self, current: Tensor, *, constant_steps: int | None = None, learned: Learned = _NOTHING) -> Tensor:
        """Spikes `(T, B, ...)` float32 of the neurons, as `Lif.scan`; only the threshold is learned."""
        return scan.spikes(current, constant_steps, self.constants, None, learned.threshold)

    def membranes(self, current: Tensor, *, learned: Learned = _NOTHING) -> Tensor:
        """Membranes `(T, B, ...)` that the spikes are fired from, as `Lif.membranes`."""
        return torchscan.membranes(current, self.constants, None, learned.threshold)

    @cached_property
    def constants(self) -> Constants:
        """The numbers of the equations, rounded as snnTorch rounds them."""
        resistance, step = np.float32(self.resistance), np.float32(self.time_step)
        product = resistance * np.float32(self.capacitance)
        gains = (float(resistance), float(np.float32(1) / product), float(step))
        return Constants(
            float(np.float32(1) - step / product),
            self.threshold,
            tuple(gain for gain in gains if gain != 1),
            kernels.SUBTRACT if self.reset == "subtract" else kernels.ZERO_ALL,
            self.surrogate,
        )


Neuron = Lif | Lapicque
