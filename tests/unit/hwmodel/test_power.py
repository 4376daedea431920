"""Energy and resources: hand-computed events, and what may never get cheaper."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hwmodel.accelerator import Accelerator, ConvCore, Core, DenseCore, FcCore, divisors
from hwmodel.power import clock_power, event_energies, layer_events
from hwmodel.resources import Resources, layer_resources, multipliers, total_resources, weight_words
from hwmodel.simulate import simulate
from tests.unit.hwmodel.networks import SMALL, random_activity, small_accelerator

SEEDS = st.integers(0, 2**32 - 1)
PROPERTY = settings(max_examples=60, deadline=None, derandomize=True)
CORES = st.tuples(*(st.sampled_from(divisors(shape.out_channels)) for shape in SMALL))


def more_spikes(activity: list[NDArray[np.int64]], accelerator: Accelerator, seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [
        np.minimum(counts + rng.integers(0, 3, counts.shape), core.in_frame)
        for counts, core in zip(activity, accelerator.layers, strict=True)
    ]


def area(accelerator: Accelerator) -> NDArray[np.float64]:
    parts = [layer_resources(core, accelerator) for core in accelerator.layers]
    return np.array([[part.luts, part.flip_flops, part.bram36, part.dsp] for part in parts])


def test_events_of_a_convolution_by_hand() -> None:
    core = ConvCore("conv", 2, 2, 16, 4, 9, 3, penc=4, spike_buffer=16)
    counts = np.array([[[1, 2], [0, 0], [3, 0]]])  # 6 spikes in 3 steps
    added, neurons = 6 * 9 * 4, 3 * 9 * 4
    assert layer_events(core, counts).tolist() == [[added, added, added + neurons, added + neurons, 6 * 4, neurons]]


def test_events_of_a_fully_connected_layer_by_hand() -> None:
    core = FcCore("fc", 2, 2, 16, 10, penc=200)
    counts = np.array([[[1, 2], [4, 0]]])
    assert layer_events(core, counts).tolist() == [[70, 70, 90, 90, 70, 20]]


def test_events_of_a_dense_layer_do_not_depend_on_the_image() -> None:
    core = DenseCore("conv1", 2, 3, 64, 4, 36, 3)
    neurons = 5 * 36 * 4
    expected = [neurons * 27, 5 * 4 * 27, neurons, neurons, 0, neurons]
    assert layer_events(core, np.zeros((2, 5, 0), np.int64)).tolist() == [expected, expected]


def test_a_silent_image_still_pays_for_activations() -> None:
    core = FcCore("fc", 2, 1, 16, 10, penc=200)
    assert layer_events(core, np.zeros((1, 4, 1), np.int64)).tolist() == [[0, 0, 40, 40, 0, 40]]


def test_event_energies_scale_with_the_width_they_move() -> None:
    accelerator = small_accelerator()
    core = accelerator.layers[1]
    full = event_energies(core, accelerator)
    half_weights = event_energies(core, replace(accelerator, weight_bits=16))
    half_membranes = event_energies(core, replace(accelerator, membrane_bits=16))
    assert (half_weights / full).tolist() == [1, 0.5, 1, 1, 1, 1]
    assert (half_membranes / full).tolist() == [0.5, 1, 0.5, 0.5, 1, 0.5]


def test_clock_power_is_linear_in_frequency_and_never_free() -> None:
    used = Resources(luts=1000, flip_flops=2000, bram36=4, dsp=3)
    expected = 1000 * (2.60e-6 + 2.95e-6) + (2000 + 3 * 96) * (0.206e-6 + 3.70e-6)
    assert clock_power(used, 180e6) == pytest.approx(expected, rel=1e-12)
    assert clock_power(used, 90e6) == pytest.approx(expected / 2, rel=1e-12)


def test_energy_is_the_sum_of_its_parts() -> None:
    accelerator = small_accelerator()
    activity = random_activity(accelerator, seed=3)
    result = simulate(accelerator, activity)
    power = accelerator.device.static_power() + clock_power(result.resources, accelerator.clock_hz)
    events = np.zeros(3)
    for core, counts in zip(accelerator.layers, activity, strict=True):
        events += layer_events(core, counts) @ event_energies(core, accelerator)
    np.testing.assert_allclose(result.energy_j, power * result.latency_s + events, rtol=1e-12)


@given(SEEDS, CORES, st.booleans(), st.sampled_from(["sequential", "ping_pong"]))
@PROPERTY
def test_more_spikes_never_cost_less_energy(
    seed: int, cores: tuple[int, ...], dense_first: bool, schedule: Literal["sequential", "ping_pong"]
) -> None:
    accelerator = small_accelerator(neural_cores=cores, dense_first=dense_first, schedule=schedule)
    activity = random_activity(accelerator, seed=seed, rate=0.1)
    fewer = simulate(accelerator, activity)
    more = simulate(accelerator, more_spikes(activity, accelerator, seed))
    assert (more.cycles >= fewer.cycles).all()
    assert (more.energy_j >= fewer.energy_j).all()
    assert (more.layer_energy_j[:, :, 2:] >= fewer.layer_energy_j[:, :, 2:]).all()


def test_more_spikes_never_cost_less_event_energy_in_rtl_mode() -> None:
    core = ConvCore("conv", 2, 2, 16, 4, 16, 3, penc=4, spike_buffer=16)
    full = layer_events(core, np.full((1, 2, 2), 16))  # wraps the counter: the circuit would accumulate nothing
    part = layer_events(core, np.full((1, 2, 2), 15))
    assert (full >= part).all()
    assert full.sum() > part.sum()


@given(SEEDS, CORES, st.booleans(), st.tuples(*[st.integers(1, 40)] * 3), st.tuples(*[st.integers(0, 30)] * 3))
@PROPERTY
def test_more_bits_never_cost_less_energy_or_area(
    seed: int,
    cores: tuple[int, ...],
    dense_first: bool,
    bits: tuple[int, int, int],
    extra: tuple[int, int, int],
) -> None:
    built = small_accelerator(neural_cores=cores, dense_first=dense_first)
    activity = random_activity(built, seed=seed)
    narrow = replace(built, weight_bits=bits[0], membrane_bits=bits[1], pixel_bits=bits[2])
    wide = replace(
        built,
        weight_bits=bits[0] + extra[0],
        membrane_bits=bits[1] + extra[1],
        pixel_bits=bits[2] + extra[2],
    )
    assert (area(wide) >= area(narrow)).all()
    assert (simulate(wide, activity).energy_j >= simulate(narrow, activity).energy_j).all()


@given(CORES, CORES, st.booleans(), st.integers(1, 40), st.integers(1, 40))
@PROPERTY
def test_more_cores_never_cost_less_area_power_or_event_energy(
    first: tuple[int, ...], second: tuple[int, ...], dense_first: bool, weight_bits: int, membrane_bits: int
) -> None:
    few, many = (
        replace(
            small_accelerator(neural_cores=cores, dense_first=dense_first),
            weight_bits=weight_bits,
            membrane_bits=membrane_bits,
        )
        for cores in (np.minimum(first, second).tolist(), np.maximum(first, second).tolist())
    )
    assert (area(many) >= area(few)).all()
    powers = [clock_power(total(accelerator), accelerator.clock_hz) for accelerator in (few, many)]
    assert powers[1] >= powers[0]
    for index, counts in enumerate(random_activity(few, seed=1)):
        assert event_joules(few.layers[index], counts, few) == event_joules(many.layers[index], counts, many)


def total(accelerator: Accelerator) -> Resources:
    return total_resources(layer_resources(core, accelerator) for core in accelerator.layers)


def event_joules(core: Core, counts: NDArray[np.int64], accelerator: Accelerator) -> list[float]:
    joules: list[float] = (layer_events(core, counts) @ event_energies(core, accelerator)).tolist()
    return joules


def test_resources_of_a_fully_connected_layer_by_hand() -> None:
    core = FcCore("fc", 5, 12, 4, 20, penc=200)
    used = layer_resources(core, small_accelerator())
    assert used.luts == 200 + 2 * 200 + 5 * (64 + 4 * 32 + 32)
    assert used.flip_flops == 200 + (48 + 200) + 5 * (64 + 2 * 32 + 32 + 1)
    assert used.dsp == 5 * 2
    # weights: 20*49*32 bits in 2 halves, but 5 cores; potentials 5; spike train 1; addresses 4*48*6 bits 1
    assert used.bram36 == (5 + 5 + 1 + 1) / 2


def test_weights_and_multipliers_are_counted() -> None:
    assert weight_words(FcCore("fc", 5, 12, 4, 20, penc=200)) == 20 * 49
    assert weight_words(ConvCore("conv", 2, 2, 16, 4, 16, 3, penc=4, spike_buffer=16)) == 4 * 19
    assert [multipliers(*bits) for bits in ((25, 18), (26, 18), (32, 19), (4, 8))] == [1, 2, 4, 1]


def test_ping_pong_doubles_the_spike_memories() -> None:
    single, double = (small_accelerator(schedule=name) for name in ("sequential", "ping_pong"))
    assert total(double).bram36 > total(single).bram36
    assert total(double).luts == total(single).luts


def test_an_accelerator_beyond_any_part_of_the_device_does_not_fit() -> None:
    device = small_accelerator().device
    assert Resources(luts=device.luts, bram36=device.bram36).fits(device)
    assert not Resources(luts=device.luts + 1).fits(device)
    assert not Resources(flip_flops=device.flip_flops + 1).fits(device)
    assert not Resources(bram36=device.bram36 + 0.5).fits(device)
    assert not Resources(dsp=device.dsp + 1).fits(device)
