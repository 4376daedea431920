"""The scan of a layer's neurons as an autograd function: only the current is kept for the backward pass.

Tensors on the CPU in float32 go to the compiled kernels, all others to `torchscan`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from objectives import kernels, torchscan
from objectives.surrogate import Surrogate

_NO_COUNTS, _NO_PLACES = np.zeros((0, 0, 0), np.int32), np.zeros(0, np.float32)
_NOTHING_LEARNED = np.zeros((0, 1))


@dataclass(frozen=True)
class Constants:
    """The numbers of a neuron's equations.

    Attributes:
        decay: What a membrane keeps over a step.
        threshold: It fires above.
        gains: Factors of the current, applied one after the other.
        reset: `kernels.SUBTRACT`, `ZERO` or `ZERO_ALL`.
        surrogate: Surrogate gradient.
    """

    decay: float
    threshold: float
    gains: tuple[float, ...]
    reset: int
    surrogate: Surrogate

    @cached_property
    def arrays(self) -> tuple[kernels.Floats, kernels.Floats, kernels.Floats, kernels.Floats]:
        """Decay, threshold, gains and knobs as the kernels take them."""
        decay, threshold, gains = (
            np.array(one, np.float32) for one in ([self.decay], [self.threshold], list(self.gains))
        )
        return decay, threshold, gains, np.array([[knob] for knob in self.surrogate.knobs], np.float32)


@dataclass
class Count:
    """Spikes that a scan counted.

    Attributes:
        channels: `(B, T, channels)` int32, behind the pool.
        places: `(channels, height, width)` or `(neurons,)` int64 behind the pool, over images and steps.
        fired: Of the neurons, before a pool behind them.
    """

    channels: Tensor
    places: Tensor
    fired: int


def spikes(
    current: Tensor, constant_steps: int | None, constants: Constants, beta: Tensor | None, threshold: Tensor | None
) -> Tensor:
    """Spikes `(T, B, ...)` of neurons driven by `current` `(T, B, ...)`, or `(B, ...)` at each of `constant_steps`.

    Args:
        current: Input current.
        constant_steps: Steps of a constant current.
        constants: Of the neurons.
        beta: Learned decay (0-d), clamped to 0..1, in the place of the constant.
        threshold: Learned threshold (0-d), in the place of the constant.
    """
    if not is_compiled(current):
        return torchscan.spikes(current, constant_steps, constants, beta, threshold)
    ordered, order = _dense(current)
    flat = ordered.reshape((1, 1, -1) if constant_steps is not None else (len(ordered), 1, -1))
    call = _Call(constants, kernels.NO_POOL, (1, 1, 1), constant_steps or len(current))
    fired: Tensor = _Scan.apply(flat, beta, threshold, call)  # type: ignore[no-untyped-call]  # untyped in torch
    shape = ordered.shape if constant_steps is None else (constant_steps, *ordered.shape)
    return _restored(fired.view(shape), order if constant_steps is None else [0, *(1 + axis for axis in order)])


def map_spikes(
    current: Tensor,
    images: int,
    constant_steps: int | None,
    constants: Constants,
    beta: Tensor | None,
    threshold: Tensor | None,
    *,
    pool: int = kernels.NO_POOL,
    is_counted: bool = False,
) -> tuple[Tensor, Count | None]:
    """Spikes `(T, B, C, height, width)` of maps, their 2x2 max pool fused, and on demand their count.

    Args:
        current: `(T * images, C, height, width)` float32 on the CPU, or `(images, C, ...)` with `constant_steps`.
        images: Images B.
        constant_steps: Steps of a constant current.
        constants: Of the neurons.
        beta: As in `spikes`.
        threshold: As in `spikes`.
        pool: `kernels.NO_POOL`, `POOL_FIRST` (of currents) or `POOL_LAST` (of spikes: their OR).
        is_counted: Count the spikes.
    """
    _, channels, height, width = current.shape
    is_one = not is_counted and (pool == kernels.NO_POOL or height % 2 == 0)  # one tall map, to be cut into long blocks
    rows = images * height if is_one else height
    flat = current.permute(0, 2, 3, 1).reshape(-1, 1 if is_one else images, rows * width * channels)
    call = _Call(constants, pool, (rows, width, channels), constant_steps or len(flat))
    if pool != kernels.NO_POOL:
        height, width = height // 2, width // 2
    if is_counted:
        call.counts = np.zeros((images, call.steps, channels), np.int32)
        call.seen = np.zeros((height, width, channels), np.float32)
    fired: Tensor = _Scan.apply(flat, beta, threshold, call)  # type: ignore[no-untyped-call]  # untyped in torch
    return fired.view(call.steps, images, height, width, channels).permute(
        0, 1, 4, 2, 3
    ), call.count() if is_counted else None


def count_dense(spikes: Tensor) -> Count:
    """Count of the spikes `(T, B, neurons)` of a fully connected layer, float32 on the CPU; one channel for all."""
    steps, images, neurons = spikes.shape
    counts, seen = np.zeros((images, steps, 1), np.int32), np.zeros(neurons, np.float32)
    kernels.count_dense(spikes.detach().contiguous().numpy(), counts, seen)
    return Count(torch.from_numpy(counts), torch.from_numpy(seen.astype(np.int64)), int(seen.sum(dtype=np.float64)))


def is_compiled(current: Tensor) -> bool:
    """Whether the kernels take this tensor: float32 on the CPU."""
    return current.dtype == torch.float32 and current.device.type == "cpu"


@dataclass
class _Call:
    """What one scan computes besides its tensors."""

    constants: Constants
    pool: int
    shape: tuple[int, int, int]
    steps: int
    counts: NDArray[np.int32] = field(default_factory=lambda: _NO_COUNTS)
    seen: kernels.Floats = field(default_factory=lambda: _NO_PLACES)
    fired: int = 0

    @property
    def places(self) -> int | None:
        """Places of an image at the output; None for as many as at the input."""
        if self.pool == kernels.NO_POOL:
            return None
        height, width, channels = self.shape
        return height // 2 * (width // 2) * channels

    def count(self) -> Count:
        """What was counted; without a pool behind the neurons they fired what the output has."""
        fired = self.fired if self.pool == kernels.POOL_LAST else int(self.seen.sum(dtype=np.float64))
        places = torch.from_numpy(self.seen.astype(np.int64)).permute(2, 0, 1)
        return Count(torch.from_numpy(self.counts), places, fired)

    def arrays(
        self, beta: Tensor | None, threshold: Tensor | None
    ) -> tuple[kernels.Floats, kernels.Floats, kernels.Floats, kernels.Floats]:
        decay, level, gains, knobs = self.constants.arrays
        if beta is not None:
            decay = beta.detach().clamp(0, 1).reshape(1).numpy()
        if threshold is not None:
            level = threshold.detach().reshape(1).numpy()
        return decay, level, gains, knobs


class _Scan(torch.autograd.Function):
    """The compiled scan of `current` `(T or 1, images, places)`; keeps the current and recomputes the membranes."""

    @staticmethod
    def forward(ctx: Any, current: Tensor, beta: Tensor | None, threshold: Tensor | None, call: _Call) -> Tensor:
        decay, level, gains, _ = call.arrays(beta, threshold)
        fired = torch.empty((call.steps, current.shape[1], call.places or current.shape[2]))
        call.fired = kernels.forward(
            current.detach().numpy(), call.pool, call.shape, call.constants.reset, decay, level, gains, fired.numpy(),
            call.counts, call.seen.reshape(-1),
        )  # fmt: skip
        ctx.save_for_backward(current, beta, threshold)
        ctx.call = call
        return fired

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        current, beta, threshold = ctx.saved_tensors
        call: _Call = ctx.call
        decay, level, gains, knobs = call.arrays(beta, threshold)
        has_rest = call.pool != kernels.NO_POOL and call.shape[0] % 2
        gradient = torch.zeros_like(current) if has_rest else torch.empty_like(current)
        learned = _NOTHING_LEARNED if beta is None and threshold is None else np.zeros((2, 1))
        kernels.backward(
            current.detach().numpy(), call.pool, call.shape, call.constants.reset, decay, level, gains,
            call.constants.surrogate.kernel, knobs, outer.contiguous().numpy(), gradient.numpy(), learned,
        )  # fmt: skip
        return gradient, _gradient_of_beta(beta, learned), _gradient_of(threshold, learned), None


def _gradient_of_beta(beta: Tensor | None, learned: NDArray[np.float64]) -> Tensor | None:
    """No gradient where beta is clamped."""
    return None if beta is None else beta.new_tensor(learned[0, 0]).where((beta >= 0) & (beta <= 1), beta.new_zeros(()))


def _gradient_of(threshold: Tensor | None, learned: NDArray[np.float64]) -> Tensor | None:
    return None if threshold is None else threshold.new_tensor(learned[1, 0])


def _dense(current: Tensor) -> tuple[Tensor, list[int]]:
    """The current without gaps in memory, its axes from the outermost to the innermost, and their order.

    The first axis stays first: the steps, or the images of a constant current.
    """
    order = [0, *sorted(range(1, current.dim()), key=current.stride, reverse=True)]
    return current.permute(order).contiguous(), order


def _restored(ordered: Tensor, order: list[int]) -> Tensor:
    return ordered.permute([order.index(axis) for axis in range(len(order))])
