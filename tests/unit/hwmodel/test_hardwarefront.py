"""The outcome of a sweep: columns, the best point, the trade-off, JSON, and why nothing fits."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from hwmodel.device import PARTS
from hwmodel.errors import AcceleratorError, DeviceError
from hwmodel.simulate import simulate
from hwmodel.sweep import sweep
from tests.unit.hwmodel.sweeps import (
    DENSE,
    ROUNDING,
    SPARSE,
    activity_of,
    swept,
    swept_on_a_thrifty_device,
    three,
)


@pytest.mark.parametrize("dense_first", [False, True])
@pytest.mark.parametrize("schedule", ["sequential", "ping_pong"])
@pytest.mark.parametrize("mode", ["ideal", "rtl"])
def test_a_point_simulated_has_the_figures_of_the_front(mode: str, schedule: str, dense_first: bool) -> None:
    accelerator = three(mode=mode, schedule=schedule, dense_first=dense_first)
    activity = activity_of(accelerator)
    front = sweep(accelerator, activity, DENSE if dense_first else SPARSE)
    assert front.energy_j is not None
    assert front.fps_per_watt is not None
    for index in range(0, len(front), 5):
        simulation = simulate(front.build(index), activity)
        assert simulation.latency_s.mean() == pytest.approx(front.latency_s[index], rel=ROUNDING)
        assert simulation.interval_s.mean() == pytest.approx(front.interval_s[index], rel=ROUNDING)
        assert simulation.energy_j.mean() == pytest.approx(front.energy_j[index], rel=ROUNDING)
        assert simulation.fps_per_watt == pytest.approx(front.fps_per_watt[index], rel=ROUNDING)
        assert [getattr(simulation.resources, part) for part in PARTS] == [
            getattr(front, part)[index] for part in PARTS
        ]
        assert simulation.fits_device


def test_a_front_s_columns_belong_together_and_are_sorted_by_latency() -> None:
    front = swept(SPARSE)
    assert (np.diff(front.latency_s) >= 0).all()
    assert front.neural_cores.shape == front.encoder_widths.shape == front.spike_buffers.shape == (len(front), 3)
    assert front.spike_buffers[:, 2].tolist() == [0] * len(front)
    dense = swept(DENSE, dense_first=True)
    assert dense.encoder_widths[:, 0].tolist() == [0] * len(dense)
    assert dense.swept == DENSE.size == 3 * (4 * 2 * 2) * (4 * 2)


def test_best_is_the_fastest_or_the_most_efficient() -> None:
    front = swept_on_a_thrifty_device()
    assert front.energy_j is not None
    fastest, thriftiest = front.best("min_latency"), front.best("max_fps_per_watt")
    assert front.latency_s[fastest] == front.latency_s.min() < front.latency_s[thriftiest]
    assert front.energy_j[thriftiest] == front.energy_j.min() < front.energy_j[fastest]


def test_ties_of_the_best_go_to_the_other_figure_then_to_the_fewest_parts() -> None:
    front = swept(SPARSE)
    first = {name: getattr(front, name)[:4] for name in ("neural_cores", "encoder_widths", "spike_buffers", *PARTS)}
    tied = replace(
        front,
        **first,
        interval_s=front.interval_s[:4],
        latency_s=np.array([2.0, 1.0, 1.0, 1.0]),
        energy_j=np.array([1.0, 3.0, 2.0, 2.0]),
    )
    tied = replace(tied, luts=np.array([1, 1, 9, 9]), flip_flops=np.array([1, 1, 8, 7]))
    assert tied.best("min_latency") == 3
    assert tied.best("max_fps_per_watt") == 0
    swapped = replace(tied, latency_s=np.array([4.0, 1.0, 3.0, 3.0]), energy_j=np.array([2.0, 3.0, 2.0, 2.0]))
    assert swapped.best("max_fps_per_watt") == 3


def test_without_static_power_the_fastest_is_known_and_the_most_efficient_is_not() -> None:
    front = swept(SPARSE, device="xcvu13p")
    assert front.latency_s[front.best("min_latency")] == front.latency_s.min()
    with pytest.raises(DeviceError, match="xcvu13p: static power is unknown"):
        front.best("max_fps_per_watt")


def test_trade_off_is_the_front_in_latency_and_energy_alone() -> None:
    front = swept_on_a_thrifty_device()
    assert front.energy_j is not None
    pairs = list(zip(front.latency_s, front.energy_j, strict=True))
    expected = [
        index
        for index, (latency, energy) in enumerate(pairs)
        if not any(a <= latency and b <= energy and (a, b) != (latency, energy) for a, b in pairs)
    ]
    assert front.trade_off().tolist() == expected
    assert 1 < len(expected) < len(front)


def test_trade_off_without_energy_is_the_least_latency() -> None:
    front = swept(SPARSE, device="xcvu13p")
    indices = front.trade_off()
    assert len(indices)
    assert set(front.latency_s[indices]) == {front.latency_s.min()}


@pytest.mark.parametrize("device", ["xcku115", "xcvu13p"])
def test_document_is_json_with_one_list_a_column(device: str) -> None:
    front = swept(SPARSE, device=device)
    document = json.loads(json.dumps(front.document()))
    assert document["layers"] == ["conv1", "conv2", "fc1"]
    assert (document["swept"], document["points"]) == (SPARSE.size, len(front))
    for name in ("neural_cores", "encoder_widths", "spike_buffers", "latency_s", "interval_s", *PARTS):
        assert document[name] == getattr(front, name).tolist()
    for name in ("energy_j", "fps_per_watt"):
        column = getattr(front, name)
        assert document[name] == (None if device == "xcvu13p" else column.tolist())
    assert document["trade_off"] == front.trade_off().tolist()


@pytest.mark.parametrize("schedule", ["sequential", "ping_pong"])
def test_an_empty_front_says_what_is_short_and_by_how_much(schedule: str) -> None:
    accelerator = three(schedule=schedule)
    smallest = simulate(three(neural_cores=[1, 2, 1], schedule=schedule), activity_of(accelerator)).resources
    front = sweep(accelerator, activity_of(accelerator), SPARSE, budget={"dsp": 5, "bram36": 1.5, "luts": 10**5})
    assert len(front) == 0
    assert front.trade_off().tolist() == []
    assert front.document()["points"] == 0
    assert smallest.dsp == 8
    short = (
        f"bram36: at least {smallest.bram36:g} needed, 1.5 allowed .*; dsp: at least 8 needed, 5 allowed .3 too many"
    )
    with pytest.raises(AcceleratorError, match=f"none of {SPARSE.size} accelerators fits .*: {short}") as error:
        front.best("min_latency")
    assert "luts" not in str(error.value)


def test_a_device_too_small_gives_an_empty_front() -> None:
    front = swept(SPARSE, device="xc7z045")
    tiny = replace(three().device, name="tiny", flip_flops=700)
    accelerator = replace(three(), device=tiny)
    assert len(front)
    with pytest.raises(
        AcceleratorError, match=r"fits device tiny and budget: flip_flops: at least [0-9,]+ needed, 700"
    ):
        sweep(accelerator, activity_of(accelerator)).best("max_fps_per_watt")


def test_an_unknown_report_is_refused() -> None:
    with pytest.raises(AcceleratorError, match="report 'best' is unknown; known: min_latency, max_fps_per_watt"):
        swept(SPARSE).best("best")  # type: ignore[arg-type]
