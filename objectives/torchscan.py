"""The scan in plain torch, every membrane kept: the reference of the compiled one, and the path of other devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from objectives import kernels

if TYPE_CHECKING:
    from objectives.scan import Constants


def spikes(
    current: Tensor, constant_steps: int | None, constants: Constants, beta: Tensor | None, threshold: Tensor | None
) -> Tensor:
    """As `scan.spikes`, on any device and in any floating-point type."""
    decay = current.new_tensor(constants.decay) if beta is None else beta.to(current.dtype).clamp(0, 1)
    level = current.new_tensor(constants.threshold) if threshold is None else threshold.to(current.dtype)
    steps = current.unsqueeze(0).expand(constant_steps, *current.shape) if constant_steps is not None else current
    for gain in constants.gains:
        steps = steps * gain
    fired: Tensor = _Scan.apply(steps, decay, level, constants)  # type: ignore[no-untyped-call]  # untyped in torch
    return fired


def membranes(current: Tensor, constants: Constants, beta: Tensor | None, threshold: Tensor | None) -> Tensor:
    """Membranes `(T, B, ...)` that `spikes` are fired from, as snnTorch returns them; the reset passes no gradient."""
    decay = current.new_tensor(constants.decay) if beta is None else beta.to(current.dtype).clamp(0, 1)
    level = current.new_tensor(constants.threshold) if threshold is None else threshold.to(current.dtype)
    for gain in constants.gains:
        current = current * gain
    levels, before = [], torch.zeros_like(current[0])
    for now in current:
        before = _advanced(before, now, decay, level, constants.reset)
        levels.append(before)
    return torch.stack(levels)


class _Scan(torch.autograd.Function):
    """The scan of `currents` `(T, B, ...)` with 0-d decay and threshold."""

    @staticmethod
    def forward(ctx: Any, currents: Tensor, decay: Tensor, threshold: Tensor, constants: Constants) -> Tensor:
        membranes = torch.empty_like(currents, memory_format=torch.preserve_format)
        before = torch.zeros_like(currents[0])
        for current, level in zip(currents, membranes, strict=True):
            before = level.copy_(_advanced(before, current, decay, threshold, constants.reset))
        ctx.save_for_backward(membranes, decay, threshold)
        ctx.constants = constants
        return (membranes > threshold).to(currents.dtype)

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        membranes, decay, threshold = ctx.saved_tensors
        constants: Constants = ctx.constants
        chained = constants.surrogate.chain_(membranes - threshold, outer)
        of_threshold, of_decay = -chained.sum(), torch.zeros_like(decay)
        carry = torch.zeros_like(chained[0])
        gradient = torch.empty_like(chained)
        for step in range(len(chained) - 1, -1, -1):
            before = membranes[step - 1] if step else torch.zeros_like(membranes[0])
            has_reset = (before > threshold).to(before.dtype)
            kept = torch.ones_like(before) if constants.reset == kernels.SUBTRACT else 1 - has_reset
            whole = chained[step] + carry
            of_decay += (whole * (kept * before)).sum()
            if constants.reset == kernels.SUBTRACT:
                of_threshold -= (whole * has_reset).sum()
            gradient[step] = whole * kept if constants.reset == kernels.ZERO_ALL else whole
            carry = whole * decay * kept
        return gradient, of_decay, of_threshold, None


def _advanced(before: Tensor, current: Tensor, decay: Tensor, threshold: Tensor, reset: int) -> Tensor:
    """One step of the membranes: reset of those above the threshold, leak, input."""
    has_reset = (before > threshold).to(before.dtype)
    if reset == kernels.SUBTRACT:
        return decay * before + current - has_reset * threshold
    if reset == kernels.ZERO:
        return decay * ((1 - has_reset) * before) + current
    reached = current + decay * before
    return reached - has_reset * reached
