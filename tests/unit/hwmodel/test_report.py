"""The report of a simulation: figures by hand, what is unknown, and the text that people read."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodel.cores import LayerShape, divisors
from hwmodel.cycles import layer_cycles
from hwmodel.kernels import CAUSES
from hwmodel.simulate import Simulation, simulate
from hwmodel.table import WIDTH, amount, frequency, number, percent, quantity, report_table, scale, verdict
from tests.unit.hwmodel.networks import random_activity, small_accelerator

PROPERTY = settings(max_examples=40, deadline=None, derandomize=True)

BY_HAND = (
    LayerShape("conv1", "conv", in_channels=2, in_frame=4, out_channels=1, out_frame=4, kernel=2),
    LayerShape("fc1", "fc", in_channels=1, in_frame=4, out_channels=4, out_frame=1, kernel=0),
)
"""One core for conv1 takes 48 cycles, 2 for fc1 take 31 (test_simulate.py)."""

PAIR = (
    LayerShape("conv1", "conv", in_channels=2, in_frame=16, out_channels=4, out_frame=16, kernel=3),
    LayerShape("fc1", "fc", in_channels=4, in_frame=4, out_channels=6, out_frame=1, kernel=0),
)
"""Layers that the published circuit can be built for."""

THREE_FC = (
    LayerShape("fc1", "fc", in_channels=1, in_frame=64, out_channels=32, out_frame=1, kernel=0),
    LayerShape("fc2", "fc", in_channels=1, in_frame=32, out_channels=16, out_frame=1, kernel=0),
    LayerShape("fc3", "fc", in_channels=1, in_frame=16, out_channels=10, out_frame=1, kernel=0),
)


def simulated(*, seed: int = 3, images: int = 5, rate: float = 0.2, **changes: Any) -> Simulation:
    accelerator = small_accelerator(**changes)
    return simulate(accelerator, random_activity(accelerator, seed=seed, images=images, rate=rate))


def simulated_by_hand() -> Simulation:
    accelerator = small_accelerator(shapes=BY_HAND, neural_cores=[1, 2], time_steps=1)
    return simulate(accelerator, [np.array([[[4, 1]]]), np.array([[[3]]])])


def simulated_pipeline() -> Simulation:
    return simulated(shapes=THREE_FC, neural_cores=[32, 8, 5], mode="tlm", rate=0.4)


def as_json(simulation: Simulation) -> dict[str, Any]:
    """The report as a reader of the stored JSON gets it."""
    loaded: dict[str, Any] = json.loads(json.dumps(simulation.report(), allow_nan=False))
    return loaded


def on_device(simulation: Simulation, **parts: Any) -> Simulation:
    """The same simulation on a device that differs in some parts."""
    device = replace(simulation.accelerator.device, **parts)
    return replace(simulation, accelerator=replace(simulation.accelerator, device=device))


def test_utilisation_by_hand() -> None:
    report = as_json(simulated_by_hand())
    conv, fc = report["layers"]
    assert conv["utilisation"] == pytest.approx((5 * 4 + 4) / 48)  # 5 spikes of 4 taps, then 4 outputs
    assert fc["utilisation"] == pytest.approx(2 * (3 + 1) / 31)  # 2 groups of 3 spikes and an activation
    assert report["utilisation"] == pytest.approx((1 * 24 + 2 * 8) / ((1 + 2) * 79))


def test_floor_by_hand() -> None:
    # fc1: 15 + 6 * groups + 2 * cores; 41 cycles with one core, 31 with two, 29 with four
    report = as_json(simulated_by_hand())
    assert [layer["floor_cycles"] for layer in report["layers"]] == [48, 29]
    assert report["floor_ms"] == pytest.approx(77 / 100e6 * 1e3)


@pytest.mark.parametrize("mode", ["ideal", "rtl"])
def test_the_floor_is_the_best_of_all_numbers_of_cores(mode: str) -> None:
    result = simulated(shapes=PAIR, neural_cores=[2, 3], mode=mode)
    for index, (core, layer) in enumerate(zip(result.accelerator.layers, as_json(result)["layers"], strict=True)):
        tried = [
            layer_cycles(replace(core, cores=cores), result.activity[index], result.accelerator.mode).cycles.mean()
            for cores in divisors(core.out_channels)
        ]
        assert layer["floor_cycles"] == pytest.approx(min(tried))
        assert layer["floor_cycles"] <= layer["cycles"]


@PROPERTY
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["ideal", "rtl"]),
    st.sampled_from(["sequential", "ping_pong"]),
    st.sampled_from([0.0, 0.02, 0.5, 1.0]),
)
def test_shares_are_shares_and_causes_add_up(seed: int, mode: str, schedule: str, rate: float) -> None:
    result = simulated(seed=seed, shapes=PAIR, neural_cores=[4, 1], mode=mode, schedule=schedule, rate=rate)
    report = as_json(result)
    assert 0 <= report["utilisation"] <= 1
    for layer in report["layers"]:
        assert tuple(layer["causes"]) == CAUSES
        assert sum(layer["causes"].values()) == pytest.approx(layer["cycles"])
        assert 0 <= layer["utilisation"] <= 1
    assert sum(layer["share"] for layer in report["layers"]) == pytest.approx(1)
    assert max(map(len, report_table(report).splitlines())) <= WIDTH


def test_under_ping_pong_cores_rest_less() -> None:
    sequential, overlapped = as_json(simulated()), as_json(simulated(schedule="ping_pong"))
    assert overlapped["utilisation"] > sequential["utilisation"]
    assert [layer["utilisation"] for layer in overlapped["layers"]] == pytest.approx(
        [layer["utilisation"] for layer in sequential["layers"]]
    )


def test_layers_tell_how_they_are_built() -> None:
    layers = as_json(simulated(dense_first=True))["layers"]
    assert [layer["kind"] for layer in layers] == ["dense", "conv", "fc", "fc"]
    assert [layer["groups"] for layer in layers] == [2, 4, 4, 5]
    assert [layer["encoder_width"] for layer in layers] == [None, 2, 48, 20]


def test_a_pipeline_says_so_and_has_no_floor() -> None:
    result = simulated_pipeline()
    report = as_json(result)
    assert report["pipelined"] is True
    assert report["floor_ms"] is None
    latency = result.latency.mean()
    for index, layer in enumerate(report["layers"]):
        assert layer["floor_cycles"] is None
        assert layer["share"] == pytest.approx(layer["cycles"] / latency)
        assert layer["utilisation"] == pytest.approx(result.layers[index].worked.mean() / latency)
    assert sum(layer["share"] for layer in report["layers"]) > 1
    assert as_json(simulated())["pipelined"] is False


def test_an_unknown_part_leaves_open_whether_it_fits() -> None:
    resources = as_json(on_device(simulated(), bram36=None))["resources"]
    assert resources["device"]["bram36"] is None
    assert resources["utilisation"]["bram36"] is None
    assert resources["utilisation"]["luts"] > 0
    assert resources["fits_device"] is None
    assert resources["fits_unknown"] == "device xcku115 states no bram36"


def test_a_part_that_is_too_small_settles_it() -> None:
    resources = as_json(on_device(simulated(), bram36=None, luts=10))["resources"]
    assert resources["utilisation"]["luts"] > 1
    assert (resources["fits_device"], resources["fits_unknown"]) == (False, None)


def test_a_part_the_device_lacks_has_no_share() -> None:
    resources = as_json(on_device(simulated(), dsp=0))["resources"]
    assert resources["utilisation"]["dsp"] is None
    assert (resources["fits_device"], resources["fits_unknown"]) == (False, None)


def test_an_unknown_part_that_nothing_uses_does_not_matter() -> None:
    resources = as_json(on_device(simulated(), uram=None))["resources"]
    assert resources["utilisation"]["uram"] == 0
    assert resources["fits_device"] is True


def test_the_table_holds_the_figures_of_the_report() -> None:
    report = as_json(simulated(dense_first=True))
    text = report_table(report)
    assert text.startswith("conv1 conv2 fc1 fc2: ideal mode, sequential, 100 MHz, xcku115, 4 steps, 5 images\nlatency ")
    low, high = (number(report["interval"][end]) for end in ("low", "high"))
    assert f"efficiency  {number(report['fps_per_watt'])} FPS/W ({low} to {high})\n" in text
    assert f"({percent(report['resources']['utilisation']['luts'])})" in text
    assert "fits xcku115" in text
    assert "URAM" not in text
    for layer in report["layers"]:
        row = next(line for line in text.splitlines() if line.startswith(f"{layer['name']:<5}  {layer['kind']:<5} "))
        assert f" {layer['cycles']:,.0f} " in row
        assert f" {layer['floor_cycles']:,.0f} " in row
        assert f" {percent(layer['share'])}" in row


def test_the_table_by_hand() -> None:
    lines = report_table(as_json(simulated_by_hand())).splitlines()
    assert "latency     790 ns mean, 790 p50, 790 p95, 790 max; floor 770 ns, with as many cores as help" in lines
    assert "throughput  1,270,000 FPS" in lines
    assert "conv1  conv      1       1        1             5      48     48     50 %   61 %  ████" + "░" * 20 in lines
    assert "conv1 takes 61 % of the latency and spends 54 % of that compressing." in lines
    assert lines[-1] == "More cores do not shorten it."


def test_the_verdict_names_the_floor() -> None:
    report = as_json(simulated())
    layer = next(layer for layer in report["layers"] if layer["name"] == report["bottleneck"])
    assert layer["floor_cycles"] < layer["cycles"]
    floor, now = (quantity(layer[name] / 100e6, "s") for name in ("floor_cycles", "cycles"))
    assert verdict(report)[-1] == f"More cores cannot bring it below {floor} (now {now})."


def test_the_table_of_a_pipeline() -> None:
    report = as_json(simulated_pipeline())
    text = report_table(report)
    assert "tlm mode" in text
    assert f"{report['bottleneck']} is the bottleneck: it works in " in text
    assert "side by side" in text
    assert "floor " not in text.splitlines()[1]
    assert "\nall " not in text.split("cycles by cause")[1].split("energy")[0]


def test_long_names_and_large_numbers_stay_within_the_terminal() -> None:
    report = as_json(simulated(images=1))
    for layer in report["layers"]:
        layer["name"] = f"{layer['name']}-".ljust(16, "x")
        layer |= {"cores": 10_000, "groups": 10_000, "encoder_width": 10_000, "spikes_per_image": 1e8, "cycles": 1e9}
        layer["energy_uj"] = dict.fromkeys(layer["energy_uj"], 9_999.0)
    report["bottleneck"] = report["layers"][0]["name"]
    report["energy_uj"] = 99_000.0
    assert max(map(len, report_table(report).splitlines())) <= WIDTH


def test_hazards_are_told_only_when_there_are_any() -> None:
    def text(mode: str) -> str:
        return report_table(as_json(simulated(shapes=PAIR, neural_cores=[2, 3], mode=mode, rate=0.02)))

    assert "merged (conv1)" in text("rtl").splitlines()[-1]
    assert "hazards" not in text("ideal")


def test_what_is_unknown_stays_unknown() -> None:
    text = report_table(as_json(on_device(simulated(device="xc7z020"), bram36=None)))
    assert "energy      unknown: static power of device xc7z020 is unknown" in text
    assert "unknown whether it fits: device xc7z020 states no bram36" in " ".join(text.split())
    assert "FPS/W" not in text


def test_an_accelerator_that_is_too_large() -> None:
    assert "DOES NOT FIT xcku115" in report_table(as_json(on_device(simulated(), luts=10)))


def test_a_report_stored_before_floors_and_utilisation() -> None:
    report = as_json(simulated())
    for name in ("floor_ms", "utilisation", "pipelined"):
        del report[name]
    for layer in report["layers"]:
        for name in ("groups", "encoder_width", "floor_cycles", "utilisation"):
            del layer[name]
    text = report_table(report)
    assert "–" in next(line for line in text.splitlines() if line.startswith("conv1  conv"))
    assert "floor " not in text.splitlines()[1]
    assert "More cores" not in text


@pytest.mark.parametrize(
    ("value", "like", "text"),
    [
        (0.0, None, "0"),
        (0.04567, None, "0.0457"),
        (4.126, None, "4.13"),
        (41.26, None, "41.3"),
        (0.9996, None, "1.00"),
        (1234567.8, None, "1,230,000"),
        (1234.5, 98765.4, "1,234"),
        (4.126, 412.6, "4"),
        (0.2, 412.6, "<1"),
        (0.004, 9.9, "<0.01"),
    ],
)
def test_numbers_have_three_digits(value: float, like: float | None, text: str) -> None:
    assert number(value, like) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (1e-5, "<0.1 %"), (0.051, "5.1 %"), (0.0996, "10 %"), (0.734, "73 %"), (12.5, "1,250 %")],
)
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text


def test_units_follow_the_size() -> None:
    assert scale(0.004, "s") == (1e-3, "ms")
    assert [quantity(value, "J") for value in (2.0, 4.2e-5, 3e-12)] == ["2.00 J", "42.0 µJ", "0.00300 nJ"]
    assert [frequency(value) for value in (1e5, 1e8, 1.5e8)] == ["100 kHz", "100 MHz", "150 MHz"]
    assert [amount(value) for value in (12.0, 12.5, 1234567)] == ["12", "12.5", "1,234,567"]
