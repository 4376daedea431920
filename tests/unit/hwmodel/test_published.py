"""Published rows beside ours: tolerances, what the record must state, and the tables' text."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
import yaml

from hwmodel import published
from hwmodel.accelerator import LayerShape
from hwmodel.cores import divisors
from hwmodel.errors import AcceleratorError, DeviceError
from hwmodel.published import Comparison, Row, accelerator_rows, accelerator_table, tlm_rows, tlm_table
from hwmodel.tlm import tlm_cycles

TLM_ROWS = tlm_rows()
COMPARISONS = accelerator_rows()


def block(name: str) -> list[Row]:
    return [row for row in TLM_ROWS if row.block == name]


def compared(name: str, cores: str = "") -> Comparison:
    (found,) = [row for row in COMPARISONS if row.name == name and row.built.startswith(cores)]
    return found


def model_of(name: str) -> dict[str, Any]:
    text = files("hwmodel").joinpath("records", "accelerators.yaml").read_text(encoding="utf-8")
    (model,) = [work["model"] for work in yaml.safe_load(text)["works"] if work["name"] == name]
    return dict(model)


@pytest.mark.parametrize(("name", "rows", "tolerance"), [("A", 15, 0.005), ("B", 4, 0.0025), ("C", 6, 0.006)])
def test_every_row_of_a_block_is_within_its_tolerance(name: str, rows: int, tolerance: float) -> None:
    errors = {row.case: abs(row.error) for row in block(name)}
    assert len(errors) == rows
    assert max(errors.values()) <= tolerance
    assert all(row.holds for row in block(name))
    assert {row.tolerance for row in block(name)} == {f"{tolerance * 100:g} %"}


@pytest.mark.parametrize(("name", "cycles"), [("trace", [1678, 3655, 8609]), ("step", [1678, 1977, 4954])])
def test_the_published_trace_and_single_steps_are_met_exactly(name: str, cycles: list[int]) -> None:
    assert [row.published for row in block(name)] == cycles
    assert [row.ours for row in block(name)] == cycles
    assert {row.tolerance for row in block(name)} == {"2 cycles"}


@pytest.mark.parametrize(
    ("lhr", "spikes", "published", "percent"),
    [((4, 1, 1), (121, 354, 314), 36359, 1.1), ((4, 4, 8), (98, 64, 97), 52312, 0.38)],
)
def test_the_logged_input_rates_fit_worse_as_the_record_says(
    lhr: tuple[int, ...], spikes: tuple[int, ...], published: int, percent: float
) -> None:
    ours = tlm_cycles(lhr, np.full((1, 15, 3), spikes)).latency[0]
    assert (ours / published - 1) * 100 == pytest.approx(percent, abs=0.01)


def test_a_row_outside_its_tolerance_does_not_hold() -> None:
    row = Row("A", "1x1x1", published=1000, ours=1005, tolerance="0.5 %", allowed=5.0)
    assert row.holds
    assert not replace(row, ours=1006).holds
    assert not replace(row, ours=994).holds
    assert replace(row, ours=994).error == pytest.approx(-0.006)


def test_the_table_holds_every_row_and_a_line_a_block() -> None:
    lines = tlm_table().splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert len({len(line) for line in lines if line.startswith("|")}) == 1  # aligned
    assert len(table) == len(TLM_ROWS) + 2
    assert ["A", "5x5x9", "189,078", "189,510", "+0.23 %", "0.5 %", "yes"] in table
    assert ["step", "layer 1, 58 spikes, LHR 8", "1,977", "1,977", "+0.00 %", "2 cycles", "yes"] in table
    for row in TLM_ROWS:
        assert any(cells[:3] == [row.block, row.case, f"{row.published:,}"] for cells in table)
    for name in ("A", "B", "C", "trace", "step"):
        assert f"* {name}: {len(block(name))} of {len(block(name))} within" in tlm_table()
    assert "worst 0.38 %. 784-1024-1024-300: 15 steps, 119 / 354 / 314 spikes a step" in tlm_table()


def test_a_miss_is_shown_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "tlm_rows", lambda: [Row("A", "1x1x1", 1000, 1100, "0.5 %", 5.0)])
    assert "| +10.00 % | 0.5 %     | NO    |" in tlm_table()
    assert "* A: 0 of 1 within 0.5 %, worst 10.00 %." in tlm_table()


def test_tables_are_the_same_each_time() -> None:
    assert tlm_table() == tlm_table()
    assert accelerator_table() == accelerator_table()


def test_every_accelerator_is_either_modelled_or_says_why_not() -> None:
    assert len({(row.name, row.task) for row in COMPARISONS}) == 14
    for row in COMPARISONS:
        assert row.source
        assert row.reported
        assert set(row.reported) <= set(published.QUANTITIES)
        assert bool(row.reason) != bool(row.modelled)
        assert bool(row.modelled) == bool(row.built) == bool(row.assumptions)


def test_figures_stand_side_by_side() -> None:
    fast = compared("snn-fpga 2025, T = 100", "128-10")
    assert fast.ratio("latency_ms") == pytest.approx(fast.modelled["latency_ms"] / 0.52)
    assert fast.ratio("fps") is None
    # fc1 by its formula, at the mean of 784 * 0.1307 spikes a step; P = 200, so M = 4; fc2 is a tenth of it.
    spikes = 784 * 0.1307
    fc1 = 4 + 100 * (1 + 2 + 2 * 4) + 2 * 100 * spikes + 1 * (1 + 100 * (spikes + 2)) + 2 * 128
    assert fc1 / 100e6 * 1e3 < fast.modelled["latency_ms"] < 1.2 * fc1 / 100e6 * 1e3
    assert fast.modelled["fps"] == pytest.approx(1e3 / fast.modelled["latency_ms"])
    assert fast.modelled["fps_per_watt"] == pytest.approx(1e3 / fast.modelled["energy_mj"])
    assert fast.modelled["power_w"] == pytest.approx(fast.modelled["energy_mj"] / fast.modelled["latency_ms"])


def test_the_small_build_is_the_fastest_within_the_reported_luts() -> None:
    model = model_of("snn-fpga 2025, T = 100")
    small = compared("snn-fpga 2025, T = 100", "16-5")
    best = min(
        run.latency_ms
        for first in divisors(128)
        for second in divisors(10)
        if (run := published.build_comparison(model, [first, second])).resources.luts <= small.reported["luts"]
    )
    assert small.modelled["latency_ms"] == best


def test_unknown_energy_is_refused_and_shown_as_unknown() -> None:
    name = "SyncNN 2021, 4-bit"
    simulation = published.build_comparison(model_of(name), [32, 32, 256, 10])
    with pytest.raises(DeviceError, match="static power is unknown"):
        _ = simulation.fps_per_watt
    row = compared(name)
    assert {"power_w", "energy_mj", "fps_per_watt"}.isdisjoint(row.modelled)
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in accelerator_table().splitlines()]
    assert [name, row.built, "FPS/W", "-", "unknown", "-"] in cells


def test_one_step_bounds_the_frames_a_second_where_the_steps_are_not_known() -> None:
    model = model_of("SyncNN 2021, 4-bit")
    rates = [published.build_comparison({**model, "time_steps": steps}, [32, 32, 256, 10]).fps for steps in (1, 2, 4)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == compared("SyncNN 2021, 4-bit").modelled["fps"]


def test_the_modelled_networks_are_those_the_works_name() -> None:
    first, last = (
        [LayerShape(**layer).out_channels for layer in model_of(name)["layers"]]
        for name in ("snn-fpga 2025, T = 100", "SyncNN 2021, 4-bit")
    )
    assert first == [128, 10]
    assert last == [32, 32, 256, 10]


def test_cores_that_do_not_divide_are_refused() -> None:
    with pytest.raises(AcceleratorError, match="fc1 has 128 neurons"):
        published.build_comparison(model_of("snn-fpga 2025, T = 100"), [3, 10])


def test_the_accelerator_table_holds_every_work_with_its_figures_and_assumptions() -> None:
    text = accelerator_table()
    assert "| snn-fpga 2025, T = 100 | 128-10 cores: one core an output" in text
    assert "network, clock and device are not in the figures at hand" in text
    for row in COMPARISONS:
        assert f"| {row.name} " in text
        assert row.also in text
        assert row.reason in text
        assert row.source in text
        assert all(assumption in text for assumption in row.assumptions)
    for assumption in published.SHARED_ASSUMPTIONS:
        assert f"* {assumption}\n" in text


def test_rows_are_plain_enough_for_json() -> None:
    assert json.loads(json.dumps([asdict(row) for row in TLM_ROWS]))[0]["published"] == 34563
    assert json.loads(json.dumps([asdict(row) for row in COMPARISONS], allow_nan=False))[0]["reason"]
