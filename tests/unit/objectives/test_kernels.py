"""The compiled scan of maps, with a pool before or behind the neurons, against snnTorch's neuron and torch's pool."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as nnf
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from objectives import kernels, scan
from objectives.neuron import Lapicque, Lif, Neuron
from objectives.surrogate import Atan, FastSigmoid, StraightThrough, Triangular
from tests.unit.objectives.oracle import cell_of, over_time

NEURONS: list[Neuron] = [
    Lif(0.7, 0.4, Atan(2.0)),
    Lif(0.9, 0.3, FastSigmoid(5.0), "zero"),
    Lif(0.2, 0.5, Triangular()),
    Lapicque.of_beta(0.8, 0.2, StraightThrough()),
    Lapicque(2.0, 0.9, 0.4, Atan(3.0), time_step=0.5, reset="zero"),
]
POOLS = [kernels.NO_POOL, kernels.POOL_FIRST, kernels.POOL_LAST]


def pooled(maps: Tensor) -> Tensor:
    return nnf.max_pool2d(maps.flatten(0, 1), 2).unflatten(0, maps.shape[:2])


def expected(current: Tensor, neuron: Neuron, pool: int) -> tuple[Tensor, Tensor]:
    """The output `(T, B, C, H, W)` of plain snnTorch and torch, and the neurons' spikes."""
    fired = over_time(cell_of(neuron), pooled(current) if pool == kernels.POOL_FIRST else current)
    return pooled(fired) if pool == kernels.POOL_LAST else fired, fired


def map_spikes(current: Tensor, neuron: Neuron, pool: int, **options: Any) -> tuple[Tensor, scan.Count | None]:
    """The compiled scan of `(T, B, C, H, W)`."""
    return scan.map_spikes(
        current.flatten(0, 1), current.shape[1], None, neuron.constants, None, None, pool=pool, **options
    )


def check(current: Tensor, neuron: Neuron, pool: int) -> None:
    """Spikes and gradients bit for bit, and the count."""
    ours, theirs = current.clone().requires_grad_(), current.clone().requires_grad_()
    spikes, count = map_spikes(ours, neuron, pool, is_counted=True)
    output, fired = expected(theirs, neuron, pool)
    assert torch.equal(spikes, output)
    assert count is not None
    assert torch.equal(count.channels, output.sum((3, 4)).transpose(0, 1).int())
    assert torch.equal(count.places, output.sum((0, 1)).long())
    assert count.fired == int(fired.sum())
    outer = torch.randn(output.shape, generator=torch.Generator().manual_seed(7))
    (gradient,) = torch.autograd.grad(spikes, ours, outer)
    (by_step,) = torch.autograd.grad(output, theirs, outer)
    assert torch.equal(gradient, by_step)


@given(
    neuron=st.sampled_from(NEURONS),
    pool=st.sampled_from(POOLS),
    steps=st.integers(1, 6),
    images=st.integers(1, 3),
    channels=st.sampled_from([1, 2, 3, 16, 33]),
    height=st.integers(2, 7),
    width=st.integers(2, 7),
    level=st.sampled_from([-50.0, -0.3, 0.0, 0.3, 50.0]),
    layout=st.sampled_from([torch.channels_last, torch.contiguous_format]),
    seed=st.integers(0, 99),
)
@example(NEURONS[0], kernels.POOL_LAST, 1, 1, 1, 3, 3, 0.3, torch.channels_last, 0)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_any_map_equals_snntorch(
    neuron: Neuron, pool: int, steps: int, images: int, channels: int, height: int, width: int,
    level: float, layout: torch.memory_format, seed: int,
) -> None:  # fmt: skip
    """Level -50 is silent everywhere, 50 fires everywhere; equal currents are common, so pools meet ties."""
    random = torch.Generator().manual_seed(seed)
    current = (torch.randn(steps * images, channels, height, width, generator=random) * 2).round() / 2 + level
    check(current.contiguous(memory_format=layout).unflatten(0, (steps, images)), neuron, pool)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("neuron", NEURONS, ids=str)
def test_maps_of_many_blocks(neuron: Neuron, pool: int) -> None:
    current = torch.randn(7 * 2, 32, 19, 21, generator=torch.Generator().manual_seed(1))
    check(current.contiguous(memory_format=torch.channels_last).unflatten(0, (7, 2)), neuron, pool)


@pytest.mark.parametrize("neuron", NEURONS, ids=str)
def test_one_place(neuron: Neuron) -> None:
    check(torch.randn(4, 3, 5, 1, 1, generator=torch.Generator().manual_seed(1)), neuron, kernels.NO_POOL)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("steps", [1, 4, 300])
@pytest.mark.parametrize("neuron", NEURONS, ids=str)
def test_a_constant_current_is_a_repeated_one(neuron: Neuron, pool: int, steps: int) -> None:
    current = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(1))
    one, repeated = current.clone().requires_grad_(), current.expand(steps, *current.shape).clone().requires_grad_()
    spikes, count = scan.map_spikes(one, 3, steps, neuron.constants, None, None, pool=pool, is_counted=True)
    by_step, counted = map_spikes(repeated, neuron, pool, is_counted=True)
    assert torch.equal(spikes, by_step)
    assert count is not None
    assert counted is not None
    assert torch.equal(count.channels, counted.channels)
    assert (count.fired, count.places.tolist()) == (counted.fired, counted.places.tolist())
    outer = torch.randn(spikes.shape, generator=torch.Generator().manual_seed(2))
    (gradient,) = torch.autograd.grad(spikes, one, outer)
    (summed,) = torch.autograd.grad(by_step, repeated, outer)
    summed = summed.sum(0)
    torch.testing.assert_close(gradient, summed, rtol=1e-4, atol=1e-5 * float(summed.abs().max()))


def test_the_pool_passes_nan_on_as_torchs_does() -> None:
    current = torch.randn(3, 2, 4, 6, 6, generator=torch.Generator().manual_seed(1))
    current[torch.rand(current.shape, generator=torch.Generator().manual_seed(2)) < 0.1] = float("nan")
    ours, theirs = current.clone().requires_grad_(), current.clone().requires_grad_()
    spikes, _ = map_spikes(ours, NEURONS[0], kernels.POOL_FIRST)
    output, _ = expected(theirs, NEURONS[0], kernels.POOL_FIRST)
    assert torch.equal(spikes, output)
    (gradient,) = torch.autograd.grad(spikes.sum(), ours)
    (by_step,) = torch.autograd.grad(output.sum(), theirs)
    np.testing.assert_array_equal(gradient.numpy(), by_step.numpy())
    assert gradient.isnan().any()


@pytest.mark.parametrize("pool", [kernels.POOL_FIRST, kernels.POOL_LAST])
def test_all_silent_windows_route_to_their_first_neuron(pool: int) -> None:
    """As torch's pool does: of equal values the first is the largest."""
    current = torch.zeros(1, 1, 1, 2, 2).requires_grad_()
    spikes, _ = map_spikes(current, Lif(0.5, 1.0, StraightThrough()), pool)
    (gradient,) = torch.autograd.grad(spikes.sum(), current)
    assert gradient.flatten().tolist() == [1.0, 0.0, 0.0, 0.0]


def test_only_the_current_is_kept() -> None:
    current, kept = torch.randn(2, 3, 4, 4).requires_grad_(), list[Tensor]()
    channels_last = current.contiguous(memory_format=torch.channels_last)
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda one: one):
        scan.map_spikes(channels_last, 2, 9, NEURONS[0].constants, None, None, pool=kernels.POOL_LAST)
    assert [one.data_ptr() for one in kept] == [channels_last.data_ptr()]
