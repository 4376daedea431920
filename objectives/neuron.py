"""Leaky integrate-and-fire over all time steps at once, with the spikes and gradients of `snntorch.Leaky`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from objectives.surrogate import Surrogate


@dataclass(frozen=True)
class Lif:
    """Neuron with leak `beta` (clamped to 0..1), `threshold` theta > 0, subtracting and delayed reset.

    From the membrane u of the step before, reset r = [u > theta] (no gradient through it), then
    u' = beta u + x - r theta, spike s = [u' > theta]: strictly above. u starts at 0.

    Source: `snntorch.Leaky` 1.0.0 with `reset_mechanism="subtract"`, `reset_delay=True`.
    """

    beta: float
    threshold: float
    surrogate: Surrogate

    def scan(self, current: Tensor, *, constant_steps: int | None = None) -> Tensor:
        """Spikes `(T, B, ...)` float32 of the neurons driven by `current`.

        Args:
            current: Input current `(T, B, ...)`; or `(B, ...)` with `constant_steps`.
            constant_steps: The current is the same at each of so many steps.
        """
        spikes: Tensor = _Scan.apply(current, constant_steps, self)  # type: ignore[no-untyped-call]  # untyped in torch
        return spikes


class _Scan(torch.autograd.Function):
    """Keeps the membranes in the place of the current, which nobody else needs for the backward pass."""

    @staticmethod
    def forward(ctx: Any, current: Tensor, constant_steps: int | None, neuron: Lif) -> Tensor:
        currents = current.unbind(0) if constant_steps is None else (current,) * constant_steps
        if not ctx.needs_input_grad[0]:
            return _spikes(currents, neuron)
        spikes, membranes = _spikes_and_membranes(currents, neuron)
        ctx.save_for_backward(membranes)
        ctx.neuron, ctx.constant = neuron, constant_steps is not None
        return spikes

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (membranes,) = ctx.saved_tensors
        neuron: Lif = ctx.neuron
        gradient = neuron.surrogate.chain_(membranes - neuron.threshold, gradient)
        steps, (beta, _) = gradient.unbind(0), _constants(neuron, gradient)
        carried = torch.empty_like(steps[0])
        for step in range(len(steps) - 2, -1, -1):
            torch.mul(steps[step + 1], beta, out=carried)
            steps[step].add_(carried)
        return (gradient.sum(0) if ctx.constant else gradient), None, None


def _spikes(currents: tuple[Tensor, ...], neuron: Lif) -> Tensor:
    """The scan with one membrane buffer."""
    beta, threshold = _constants(neuron, currents[0])
    spikes = _over_time(currents)
    membrane = currents[0].clone()
    before, *later = spikes.unbind(0)
    torch.gt(membrane, threshold, out=before)
    for current, now in zip(currents[1:], later, strict=True):
        membrane.mul_(beta).add_(current).sub_(before, alpha=neuron.threshold)
        torch.gt(membrane, threshold, out=now)
        before = now
    return spikes


def _spikes_and_membranes(currents: tuple[Tensor, ...], neuron: Lif) -> tuple[Tensor, Tensor]:
    """The scan with every membrane kept."""
    beta, threshold = _constants(neuron, currents[0])
    spikes, membranes = _over_time(currents), _over_time(currents)
    fired, levels = spikes.unbind(0), membranes.unbind(0)
    torch.gt(levels[0].copy_(currents[0]), threshold, out=fired[0])
    for step in range(1, len(currents)):
        level = torch.mul(levels[step - 1], beta, out=levels[step])
        level.add_(currents[step]).sub_(fired[step - 1], alpha=neuron.threshold)
        torch.gt(level, threshold, out=fired[step])
    return spikes, membranes


def _over_time(currents: tuple[Tensor, ...]) -> Tensor:
    """An empty `(T, B, ...)` with the memory order of the currents in each step."""
    one = currents[0]
    order = sorted(range(one.dim()), key=one.stride, reverse=True)
    empty = one.new_empty([len(currents), *(one.shape[axis] for axis in order)])
    return empty.permute(0, *(1 + order.index(axis) for axis in range(one.dim())))


def _constants(neuron: Lif, like: Tensor) -> tuple[Tensor, Tensor]:
    """Leak and threshold as 0-d tensors: a Python number would be converted anew in every operation."""
    return like.new_tensor(min(max(neuron.beta, 0.0), 1.0)), like.new_tensor(neuron.threshold)
