"""Figures: what is drawn follows from the report, and what is unknown is said."""

from __future__ import annotations

import json
from typing import Any

import plotly.graph_objects as go
import pytest

from hwmodel.cores import LayerShape
from hwmodel.figures import CAUSE_COLOURS, ENERGY_COLOURS, breakdown_figure, sweep_figure
from hwmodel.kernels import CAUSES
from hwmodel.power import ENERGY_CAUSES
from hwmodel.simulate import Simulation, simulate
from hwmodel.sweep import sweep
from hwmodel.table import number
from tests.unit.hwmodel.networks import SMALL, random_activity, small_accelerator


def simulated(**changes: Any) -> Simulation:
    accelerator = small_accelerator(**changes)
    return simulate(accelerator, random_activity(accelerator, seed=3))


def stored(document: dict[str, Any]) -> dict[str, Any]:
    """A report or front as read back from JSON."""
    loaded: dict[str, Any] = json.loads(json.dumps(document, allow_nan=False))
    return loaded


def swept(**changes: Any) -> dict[str, Any]:
    accelerator = small_accelerator(**changes)
    return stored(sweep(accelerator, random_activity(accelerator, seed=3)).document())


def bars(figure: go.Figure, legend: str) -> list[go.Bar]:
    return [trace for trace in figure.data if isinstance(trace, go.Bar) and trace.legend == legend]


def texts(figure: go.Figure) -> str:
    return "\n".join(annotation.text for annotation in figure.layout.annotations)


def test_bars_of_time_add_up_to_the_latency() -> None:
    report = stored(simulated().report())
    figure = breakdown_figure(report)
    assert figure.layout.xaxis.title.text == "µs"
    parts = bars(figure, "legend")
    for index, layer in enumerate(report["layers"]):
        assert sum(part.x[index] for part in parts) == pytest.approx(layer["cycles"] / 100e6 * 1e6)
    assert sum(sum(part.x) for part in parts) == pytest.approx(report["latency_ms"]["mean"] * 1e3)


def test_bars_of_energy_add_up_to_the_energy() -> None:
    report = stored(simulated(dense_first=True).report())
    figure = breakdown_figure(report)
    assert figure.layout.xaxis2.title.text == "µJ"
    assert sum(sum(part.x) for part in bars(figure, "legend2")) == pytest.approx(report["energy_uj"])


def test_every_cause_has_a_colour_of_its_own() -> None:
    assert set(CAUSE_COLOURS) == set(CAUSES)
    assert set(ENERGY_COLOURS) == set(ENERGY_CAUSES)
    for colours in (CAUSE_COLOURS, ENERGY_COLOURS):
        assert len(set(colours.values())) == len(colours)


def test_a_cause_that_does_not_occur_is_not_in_the_legend() -> None:
    accelerator = small_accelerator(shapes=SMALL[2:], neural_cores=[5, 2])
    report = simulate(accelerator, random_activity(accelerator, seed=3)).report()
    names = [part.name for part in bars(breakdown_figure(stored(report)), "legend")]
    assert "accumulate" in names
    assert "hand over" not in names


def test_each_layer_has_a_mark_at_its_floor() -> None:
    report = stored(simulated().report())
    marks = next(trace for trace in breakdown_figure(report).data if isinstance(trace, go.Scatter))
    assert list(marks.y) == ["conv1", "conv2", "fc1", "fc2"]
    assert list(marks.x) == pytest.approx([layer["floor_cycles"] / 100 for layer in report["layers"]])
    assert "with as many cores as help" in marks.hovertext[0]


def test_the_title_gives_latency_and_the_interval() -> None:
    report = stored(simulated().report())
    title = breakdown_figure(report).layout.title.text
    low, high = (number(report["interval"][end]) for end in ("low", "high"))
    assert title.startswith(f"{number(report['latency_ms']['mean'] * 1e3)} µs an image, ")
    assert f"{number(report['fps_per_watt'])} FPS/W ({low} to {high})" in title
    assert "ideal mode, sequential, 100 MHz, xcku115" in title


def test_layers_are_listed_from_the_top_with_their_cores() -> None:
    figure = breakdown_figure(stored(simulated(dense_first=True).report()))
    assert figure.layout.yaxis.autorange == "reversed"
    assert figure.layout.yaxis.ticktext[:2] == ("<b>conv1</b><br>4 rows", "<b>conv2</b><br>3 cores")


def test_unknown_energy_is_said_instead_of_drawn() -> None:
    figure = breakdown_figure(stored(simulated(device="xc7z020").report()))
    assert bars(figure, "legend2") == []
    assert "unknown:<br>static power of device xc7z020 is<br>unknown" in texts(figure)
    assert "FPS/W unknown" in figure.layout.title.text


def test_a_report_stored_before_floors_has_bars_but_no_marks() -> None:
    report = stored(simulated().report())
    del report["pipelined"]
    for layer in report["layers"]:
        del layer["floor_cycles"]
    figure = breakdown_figure(report)
    assert len(bars(figure, "legend")) == len(CAUSES)
    assert not any(isinstance(trace, go.Scatter) for trace in figure.data)


def test_a_pipeline_says_that_layers_work_side_by_side() -> None:
    third = LayerShape("fc3", "fc", in_channels=1, in_frame=10, out_channels=6, out_frame=1, kernel=0)
    result = simulated(shapes=[*SMALL[2:], third], neural_cores=[5, 2, 3], mode="tlm")
    figure = breakdown_figure(stored(result.report()))
    assert "work by cause (layers side by side)" in texts(figure)
    assert not any(isinstance(trace, go.Scatter) for trace in figure.data)


def test_a_front_shows_every_accelerator_and_rings_the_best() -> None:
    document = swept()
    figure = sweep_figure(document)
    points, best = figure.data
    assert len(points.x) == len(points.y) == document["points"]
    assert list(points.x) == pytest.approx([value * 1e6 for value in document["latency_s"]])
    assert list(points.y) == pytest.approx([value * 1e6 for value in document["energy_j"]])
    assert list(best.x) == pytest.approx([document["latency_s"][index] * 1e6 for index in document["trade_off"]])
    assert figure.layout.xaxis.title.text == "latency of an image, µs"
    assert figure.layout.yaxis.title.text == "energy of an image, µJ"
    assert f"{document['points']:,} of {document['swept']:,} accelerators" in figure.layout.title.text
    cores = document["neural_cores"][0]
    assert points.hovertext[0].startswith(
        f"<b>cores</b>: conv1 {cores[0]}, conv2 {cores[1]}, fc1 {cores[2]}, fc2 {cores[3]}<br>"
    )
    assert f"{number(document['fps_per_watt'][0])} FPS/W" in points.hovertext[0]


def test_a_front_without_energy_shows_resources() -> None:
    document = swept(device="xc7z020")
    figure = sweep_figure(document)
    (points,) = figure.data
    assert list(points.y) == document["luts"]
    assert "the energy is unknown" in figure.layout.yaxis.title.text
    assert "FPS/W" not in points.hovertext[0]


def test_an_empty_front_says_so() -> None:
    accelerator = small_accelerator()
    activity = random_activity(accelerator, seed=3)
    document = stored(sweep(accelerator, activity, budget={"luts": 1}).document())
    figure = sweep_figure(document)
    assert not figure.data
    assert texts(figure) == f"none of {document['swept']:,} accelerators fits"


def test_values_that_span_much_stand_on_readable_logarithmic_axes() -> None:
    document = {**swept(), "points": 2, "latency_s": [1e-3, 4e-2], "energy_j": [1e-3, 2e-3], "luts": [500, 600]}
    document |= {"trade_off": [0]}
    figure = sweep_figure(document)
    assert figure.layout.xaxis.type == "log"
    assert figure.layout.xaxis.ticktext == ("1", "2", "5", "10", "20", "50")
    assert figure.layout.yaxis.type is None


def test_very_many_accelerators_are_left_to_the_graphics_card() -> None:
    document = swept()
    many = 5001
    columns = ("latency_s", "energy_j", "fps_per_watt", "neural_cores", "luts", "flip_flops", "bram36", "uram", "dsp")
    document |= {name: document[name][:1] * many for name in columns}
    document |= {"points": many, "trade_off": [0]}
    assert sweep_figure(document).data[0].type == "scattergl"
    assert sweep_figure(swept()).data[0].type == "scatter"
