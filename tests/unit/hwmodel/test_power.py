"""Energy: hand-computed events, and what may never get cheaper."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hwmodel.accelerator import Accelerator
from hwmodel.cores import ConvCore, Core, DenseCore, FcCore, divisors
from hwmodel.device import load_device
from hwmodel.errors import DeviceError
from hwmodel.power import ENERGY_CAUSES, clock_power, event_energies, layer_energy, layer_events
from hwmodel.resources import Resources, layer_resources, total_resources
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


def in_memory(accelerator: Accelerator, memory: Literal["bram", "uram"]) -> Accelerator:
    """The same on a device with UltraRAM, whose static power is made up."""
    device = replace(load_device("xcvu13p"), static_w=3.0)
    return replace(accelerator, device=device, weight_memory=memory)


def energy_of_half_a_second(accelerator: Accelerator, activity: list[NDArray[np.int64]]) -> NDArray[np.float64]:
    """By layer, image and cause: each image holds the accelerator as long, whatever it does."""
    images = np.ones(len(activity[0]))
    return np.array(
        [
            layer_energy(
                core,
                counts,
                accelerator,
                resources=layer_resources(core, accelerator),
                interval_s=0.5 * images,
                share=images / len(activity),
            )
            for core, counts in zip(accelerator.layers, activity, strict=True)
        ]
    )


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


@pytest.mark.parametrize("bits", [4, 8, 32, 64])
def test_event_energies_are_linear_in_the_bits_of_weights_and_membranes(bits: int) -> None:
    accelerator = replace(small_accelerator(), weight_bits=bits, membrane_bits=bits)
    per_bit = np.array([3.95, 21.0, 21.0, 21.0, 0, 24.1]) * 1e-12 / 32
    of_nine_positions = 1.23e-12 * 4 / 10  # a spike's address has 4 bits, the figure is for 10
    expected = per_bit * bits + [0, 0, 0, 0, of_nine_positions, 0]
    np.testing.assert_allclose(event_energies(accelerator.layers[1], accelerator), expected, rtol=1e-12)


def test_a_dense_layer_multiplies_and_encodes_nothing() -> None:
    accelerator = replace(small_accelerator(dense_first=True), weight_bits=8, membrane_bits=24)
    energies = event_energies(accelerator.layers[0], accelerator) * 1e12
    assert energies.tolist() == pytest.approx([20.2 / 2, 21.0 / 4, 21.0 * 3 / 4, 21.0 * 3 / 4, 0, 24.1 * 3 / 4])


def test_a_wider_address_costs_the_encoder_more() -> None:
    accelerator = small_accelerator()
    conv2, fc1 = accelerator.layers[1:3]  # 9 positions; 48 inputs
    encoder = [event_energies(core, accelerator)[4] for core in (conv2, fc1)]
    assert encoder == pytest.approx([1.23e-12 * 0.4, 1.23e-12 * 0.6])


def test_weights_in_ultraram_cost_more_to_read_and_nothing_else() -> None:
    bram, uram = (in_memory(small_accelerator(), memory) for memory in ("bram", "uram"))
    for core in bram.layers:
        ratio = event_energies(core, uram) / event_energies(core, bram)
        np.testing.assert_allclose(ratio, [1, 8**0.5, 1, 1, 1, 1], rtol=1e-3)


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


BITS = st.tuples(*[st.integers(1, 80)] * 3)
MEMORIES = st.sampled_from(["bram", "uram"])


@given(SEEDS, CORES, st.booleans(), BITS, BITS, MEMORIES)
@PROPERTY
def test_more_bits_never_cost_less_energy(
    seed: int,
    cores: tuple[int, ...],
    dense_first: bool,
    first: tuple[int, int, int],
    second: tuple[int, int, int],
    memory: Literal["bram", "uram"],
) -> None:
    built = in_memory(small_accelerator(neural_cores=cores, dense_first=dense_first), memory)
    activity = random_activity(built, seed=seed)
    narrow, wide = (
        simulate(replace(built, weight_bits=bits[0], membrane_bits=bits[1], pixel_bits=bits[2]), activity)
        for bits in (np.minimum(first, second).tolist(), np.maximum(first, second).tolist())
    )
    assert (wide.layer_energy_j >= narrow.layer_energy_j).all()


@given(CORES, CORES, st.booleans(), st.integers(1, 80), st.integers(1, 80), MEMORIES)
@PROPERTY
def test_more_cores_never_cost_less_clock_power_or_event_energy(
    first: tuple[int, ...],
    second: tuple[int, ...],
    dense_first: bool,
    weight_bits: int,
    membrane_bits: int,
    memory: Literal["bram", "uram"],
) -> None:
    few, many = (
        replace(
            in_memory(small_accelerator(neural_cores=cores, dense_first=dense_first), memory),
            weight_bits=weight_bits,
            membrane_bits=membrane_bits,
        )
        for cores in (np.minimum(first, second).tolist(), np.maximum(first, second).tolist())
    )
    powers = [clock_power(total(accelerator), accelerator.clock_hz) for accelerator in (few, many)]
    assert powers[1] >= powers[0]
    for index, counts in enumerate(random_activity(few, seed=1)):
        assert event_joules(few.layers[index], counts, few) == event_joules(many.layers[index], counts, many)


@given(SEEDS, CORES, CORES, BITS, BITS, st.tuples(*[st.floats(1e6, 1e9)] * 2), MEMORIES, st.booleans())
@PROPERTY
def test_over_equal_time_more_of_anything_never_costs_less(
    seed: int,
    cores: tuple[int, ...],
    other_cores: tuple[int, ...],
    bits: tuple[int, int, int],
    other_bits: tuple[int, int, int],
    clocks: tuple[float, float],
    memory: Literal["bram", "uram"],
    dense_first: bool,
) -> None:
    less, more = (
        replace(
            in_memory(small_accelerator(neural_cores=pick(cores, other_cores), dense_first=dense_first), memory),
            weight_bits=pick(bits[0], other_bits[0]),
            membrane_bits=pick(bits[1], other_bits[1]),
            clock_hz=pick(*clocks),
        )
        for pick in (lambda *values: np.min(values, axis=0).tolist(), lambda *values: np.max(values, axis=0).tolist())
    )
    activity = random_activity(less, seed=seed, rate=0.1)
    dear = energy_of_half_a_second(more, more_spikes(activity, more, seed))
    assert (dear >= energy_of_half_a_second(less, activity)).all()


@given(SEEDS, CORES, st.tuples(*[st.floats(1e6, 1e9)] * 2), st.sampled_from(["sequential", "ping_pong"]))
@PROPERTY
def test_a_faster_clock_saves_static_energy_and_nothing_else(
    seed: int, cores: tuple[int, ...], clocks: tuple[float, float], schedule: Literal["sequential", "ping_pong"]
) -> None:
    built = small_accelerator(neural_cores=cores, schedule=schedule)
    activity = random_activity(built, seed=seed)
    slow, fast = (simulate(replace(built, clock_hz=clock), activity) for clock in sorted(clocks))
    static, clock = (ENERGY_CAUSES.index(cause) for cause in ("static", "clock"))
    before, after = slow.layer_energy_j, fast.layer_energy_j
    np.testing.assert_allclose(after[..., static], before[..., static] * (min(clocks) / max(clocks)), rtol=1e-12)
    np.testing.assert_allclose(after[..., clock], before[..., clock], rtol=1e-12)
    np.testing.assert_array_equal(after[..., clock + 1 :], before[..., clock + 1 :])
    assert fast.power_w >= slow.power_w * (1 - 1e-12)


def test_more_cores_may_cost_less_in_all_because_they_take_less_time() -> None:
    few, many = (small_accelerator(neural_cores=cores) for cores in ([1, 1, 1, 1], [8, 12, 20, 10]))
    activity = random_activity(few, seed=1)
    slow, fast = (simulate(accelerator, activity) for accelerator in (few, many))
    assert (fast.latency_s < slow.latency_s).all()
    assert (fast.energy_j < slow.energy_j).all()
    assert (fast.layer_energy_j[..., 1].sum(axis=1) < slow.layer_energy_j[..., 1].sum(axis=1)).all()
    assert (fast.layer_energy_j[..., 2:] == slow.layer_energy_j[..., 2:]).all()


def test_energy_is_refused_where_static_power_is_unknown() -> None:
    accelerator = small_accelerator(device="xcvu13p")
    with pytest.raises(DeviceError, match=r"device xcvu13p: static power is unknown \(static_w\)"):
        energy_of_half_a_second(accelerator, random_activity(accelerator, seed=1))


def total(accelerator: Accelerator) -> Resources:
    return total_resources(layer_resources(core, accelerator) for core in accelerator.layers)


def event_joules(core: Core, counts: NDArray[np.int64], accelerator: Accelerator) -> list[float]:
    joules: list[float] = (layer_events(core, counts) @ event_energies(core, accelerator)).tolist()
    return joules
