"""The front door: figures that follow from one another, refusals, and the report."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hwmodel.accelerator import Accelerator, build_accelerator
from hwmodel.circuit import HAZARDS
from hwmodel.cores import LayerShape, Mode, divisors
from hwmodel.cycles import cycles_by_cores, layer_cycles
from hwmodel.errors import ActivityError, DeviceError
from hwmodel.kernels import CAUSES
from hwmodel.simulate import Simulation, simulate
from hwmodel.tlm import tlm_cycles
from tests.unit.hwmodel.networks import random_activity, small_accelerator

PAIR = (
    LayerShape("conv1", "conv", in_channels=2, in_frame=16, out_channels=4, out_frame=16, kernel=3),
    LayerShape("fc1", "fc", in_channels=4, in_frame=4, out_channels=6, out_frame=1, kernel=0),
)


def simulated(*, seed: int = 11, images: int = 5, **changes: Any) -> Simulation:
    accelerator = small_accelerator(**changes)
    return simulate(accelerator, random_activity(accelerator, seed=seed, images=images))


def paired(mode: str, *, rate: float = 0.3, **changes: Any) -> Simulation:
    accelerator = small_accelerator(shapes=PAIR, neural_cores=[2, 3], mode=mode, **changes)
    return simulate(accelerator, random_activity(accelerator, seed=2, images=4, rate=rate))


@pytest.mark.parametrize("dense_first", [False, True])
@pytest.mark.parametrize("schedule", ["sequential", "ping_pong"])
def test_figures_follow_from_one_another(dense_first: bool, schedule: str) -> None:
    result = simulated(dense_first=dense_first, schedule=schedule)
    clock = result.accelerator.clock_hz
    assert result.cycles.shape == (5, 4)
    assert result.cycles.dtype == np.int64
    np.testing.assert_allclose(result.latency_s, result.cycles.sum(axis=1) / clock)
    np.testing.assert_allclose(result.causes.sum(axis=1), result.cycles.mean(axis=0))
    assert result.latency_ms == pytest.approx(result.latency_s.mean() * 1e3)
    assert result.fps_per_watt == pytest.approx(1 / result.energy_j.mean())
    assert result.power_w == pytest.approx(result.fps / result.fps_per_watt)
    slowest = result.cycles.sum(axis=1) if schedule == "sequential" else result.cycles.max(axis=1)  # of each image
    assert result.fps == pytest.approx(clock / slowest.mean())


def test_ping_pong_has_the_latency_of_sequential_but_more_images_a_second() -> None:
    sequential, overlapped = simulated(), simulated(schedule="ping_pong")
    assert overlapped.latency_ms == sequential.latency_ms
    assert overlapped.fps > sequential.fps
    static = overlapped.layer_energy_j[:, :, 0].sum(axis=1)
    np.testing.assert_allclose(static, 1.270 * overlapped.interval_s)


def test_ping_pong_in_rtl_mode_waits_for_the_drain() -> None:
    result = paired("rtl", schedule="ping_pong")
    drained = np.stack([layer.busy for layer in result.layers], axis=1).max(axis=1)
    assert (drained > result.cycles.max(axis=1)).any()
    np.testing.assert_allclose(result.interval_s, drained / 100e6)


def test_each_layer_s_causes_sum_to_its_cycles_image_by_image() -> None:
    for result in (simulated(dense_first=True), paired("ideal"), paired("rtl")):
        for layer in result.layers:
            assert layer.causes.sum(axis=1).tolist() == layer.cycles.tolist()


def test_layers_are_simulated_on_their_own() -> None:
    accelerator = small_accelerator()
    activity = random_activity(accelerator, seed=4)
    result = simulate(accelerator, activity)
    for index, core in enumerate(accelerator.layers):
        alone = layer_cycles(core, activity[index], "ideal")
        assert alone.cycles.tolist() == result.cycles[:, index].tolist()


def test_a_fully_connected_layer_sums_the_channels_that_feed_it() -> None:
    accelerator = small_accelerator()
    activity = random_activity(accelerator, seed=4)
    rolled = list(activity)
    rolled[2] = np.roll(activity[2], 1, axis=2)
    assert simulate(accelerator, rolled).cycles.tolist() == simulate(accelerator, activity).cycles.tolist()


def test_whole_network_by_hand() -> None:
    # conv: tests of the kernels' hand case, one group (O = E = 1); fc: R = 2.
    shapes = [
        LayerShape("conv1", "conv", in_channels=2, in_frame=4, out_channels=1, out_frame=4, kernel=2),
        LayerShape("fc1", "fc", in_channels=1, in_frame=4, out_channels=4, out_frame=1, kernel=0),
    ]
    accelerator = small_accelerator(shapes=shapes, neural_cores=[1, 2], time_steps=1)
    result = simulate(accelerator, [np.array([[[4, 1]]]), np.array([[[3]]])])
    # fc: 4 + 1*(1+2+2) + 6 + 2*(1+3+2) + 2*2 = 31
    assert result.cycles.tolist() == [[48, 31]]
    assert result.latency_ms == pytest.approx(79 / 100e6 * 1e3)


def test_ideal_mode_has_no_hazards_and_rtl_counts_them() -> None:
    assert set(paired("ideal", rate=0.02).hazards.values()) == {0}
    hazards = paired("rtl", rate=0.02).hazards
    assert tuple(hazards) == HAZARDS
    assert hazards["merged"] > 0


def test_dense_first_layer_ignores_its_activity() -> None:
    accelerator = small_accelerator(dense_first=True)
    activity = random_activity(accelerator, seed=1, images=2)
    pixels = [np.full((2, 4, 3), -7), *activity[1:]]
    assert simulate(accelerator, pixels).cycles.tolist() == simulate(accelerator, activity).cycles.tolist()
    assert simulate(accelerator, activity).cycles[:, 0].tolist() == [2 * 4 * (36 + 27 + 2) + 1] * 2


@pytest.mark.parametrize(
    ("index", "counts", "message"),
    [
        (1, np.zeros((3, 4, 7), np.int64), "conv2: activity has 7 channels, the layer takes 8"),
        (1, np.zeros((3, 5, 8), np.int64), "conv2: activity has 5 steps, the accelerator 4"),
        (1, np.zeros((2, 4, 8), np.int64), "conv2: activity has 2 images, but conv1 has 3"),
        (0, np.zeros((0, 4, 3), np.int64), "conv1: activity has no images"),
        (1, np.zeros((4, 8), np.int64), r"conv2: activity must be integer counts .*shape \(4, 8\)"),
        (1, np.zeros((3, 4, 8)), "conv2: activity must be integer counts .*got float64"),
        (1, np.full((3, 4, 8), -1), "conv2: activity holds a negative count, -1"),
        (1, np.full((3, 4, 8), 10), "conv2: activity holds 10 spikes in one map of 9 positions"),
        (3, np.full((3, 4, 1), 21), "fc2: activity holds 21 spikes"),
        (1, [[[1], [2, 3]]], "conv2: activity must be an array"),
    ],
)
def test_activity_that_does_not_fit_is_refused(index: int, counts: Any, message: str) -> None:
    accelerator = small_accelerator()
    activity = random_activity(accelerator, seed=0)
    activity[index] = counts
    with pytest.raises(ActivityError, match=message):
        simulate(accelerator, activity)


def test_activity_needs_an_entry_a_layer() -> None:
    accelerator = small_accelerator()
    with pytest.raises(ActivityError, match="activity has 3 entries; expected one a layer: conv1, conv2"):
        simulate(accelerator, random_activity(accelerator, seed=0)[:3])


def test_full_maps_are_legal() -> None:
    accelerator = small_accelerator()
    activity = random_activity(accelerator, seed=0, rate=1.0)
    assert (simulate(accelerator, activity).cycles > 0).all()


@pytest.mark.parametrize("dense_first", [False, True])
def test_the_report_is_json_and_complete(dense_first: bool) -> None:
    result = simulated(dense_first=dense_first)
    report = json.loads(json.dumps(result.report(), allow_nan=False))
    assert report["latency_ms"]["mean"] == result.latency_ms
    assert report["latency_ms"]["p50"] <= report["latency_ms"]["p95"] <= report["latency_ms"]["max"]
    assert report["interval"]["low"] == pytest.approx(result.fps_per_watt / 1.5)
    assert report["interval"]["high"] == pytest.approx(result.fps_per_watt / 0.5)
    layers = report["layers"]
    assert [layer["name"] for layer in layers] == ["conv1", "conv2", "fc1", "fc2"]
    assert sum(layer["share"] for layer in layers) == pytest.approx(1)
    assert layers[0]["share"] == pytest.approx(report["first_layer_share"])
    assert report["bottleneck"] == max(layers, key=lambda layer: float(layer["cycles"]))["name"]
    assert sum(sum(layer["energy_uj"].values()) for layer in layers) == pytest.approx(report["energy_uj"])
    assert set(layers[1]["causes"]) == set(CAUSES)
    assert layers[0]["spikes_per_image"] is None if dense_first else layers[0]["spikes_per_image"] > 0
    assert layers[1]["spikes_per_image"] == pytest.approx(result.activity[1].sum() / 5)
    used = report["resources"]
    assert sum(layer["resources"]["luts"] for layer in layers) == used["luts"]
    assert used["utilisation"]["luts"] == pytest.approx(used["luts"] / 663360)
    assert used["fits_device"] is True


def test_unknown_static_power_raises_and_reports_nothing_instead_of_zero() -> None:
    result = simulated(device="xc7z020")
    assert result.latency_ms > 0
    assert result.resources.luts > 0
    for figure in ("energy_j", "fps_per_watt", "power_w"):
        with pytest.raises(DeviceError, match="xc7z020: static power is unknown"):
            getattr(result, figure)
    report = json.loads(json.dumps(result.report(), allow_nan=False))
    assert report["fps_per_watt"] is None
    assert report["energy_uj"] is None
    assert report["interval"] is None
    assert "xc7z020" in report["energy_unknown"]
    assert report["layers"][0]["energy_uj"] is None


def test_an_accelerator_may_be_too_large_for_its_device() -> None:
    small = simulated(device="xc7z020")
    assert small.fits_device
    wide = replace(small.accelerator, membrane_bits=36 * 40)
    assert not replace(small, accelerator=wide).fits_device


@pytest.mark.parametrize("mode", ["ideal", "rtl"])
@pytest.mark.parametrize("layer", range(4))
def test_all_numbers_of_cores_at_once_equal_one_by_one(mode: Mode, layer: int) -> None:
    accelerator = small_accelerator(dense_first=True)
    counts = random_activity(accelerator, seed=8, images=4)[layer].astype(np.int32)
    core = accelerator.layers[layer]
    cores = divisors(core.out_channels)
    together = cycles_by_cores(core, counts, mode, cores)
    alone = [layer_cycles(replace(core, cores=number), counts, mode).cycles for number in cores]
    assert together.tolist() == [cycles.tolist() for cycles in alone]


def systemc(**changes: Any) -> Accelerator:
    """Three fully connected layers with a logical-to-hardware ratio of 2, 1 and 8."""
    shapes = [LayerShape("fc1", "fc", 1, 30, 20, 1, 0), LayerShape("fc2", "fc", 1, 20, 16, 1, 0)]
    shapes.append(LayerShape("fc3", "fc", 1, 16, 8, 1, 0))
    return build_accelerator(shapes, [10, 16, 1], dense_first=False, time_steps=5, mode="tlm", **changes)


def test_the_systemc_model_is_a_pipeline_over_time_steps() -> None:
    accelerator = systemc()
    activity = [counts + 1 for counts in random_activity(accelerator, seed=9, images=6)]
    simulation = simulate(accelerator, activity)
    totals = np.stack([counts.sum(axis=2) for counts in activity], axis=2)
    assert simulation.latency.tolist() == tlm_cycles([2, 1, 8], totals).latency.tolist()
    assert (simulation.cycles.max(axis=1) < simulation.latency).all()
    assert (simulation.latency < simulation.cycles.sum(axis=1)).all()
    assert simulation.interval_s.tolist() == simulation.latency_s.tolist()
    assert simulation.bottleneck == "fc3"
    assert not any(simulation.hazards.values())


def test_a_silent_step_of_the_systemc_model_counts_as_lost() -> None:
    accelerator = systemc()
    activity = [np.ones((1, 5, 1), np.int32) for _ in range(3)]
    activity[1][0, 2:4] = 0
    assert simulate(accelerator, activity).hazards["lost"] == 2


def test_activity_of_the_smallest_integers_is_taken_as_it_is() -> None:
    accelerator = small_accelerator()
    activity = random_activity(accelerator, seed=10)
    small = [counts.astype(np.uint8) for counts in activity]
    assert simulate(accelerator, small).latency.tolist() == simulate(accelerator, activity).latency.tolist()


def test_the_report_can_be_read_and_drawn() -> None:
    simulation = simulate(small_accelerator(), random_activity(small_accelerator(), seed=11))
    assert "conv2" in simulation.table()
    assert len(simulation.figure().data) > 0
