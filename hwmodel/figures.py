"""Figures for people: where an accelerator's time and energy go, and what other accelerators would give."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hwmodel.table import PARTS, amount, frequency, number, percent, quantity, scale, settings_line, words

# Blue is the cores at work, orange their control, green memory, grey waiting and idling: told apart by every eye.
CAUSE_COLOURS = {
    "accumulate": "#0072b2",
    "activate": "#56b4e9",
    "fetch": "#f6d3a8",
    "compress": "#e69f00",
    "hand_over": "#b35c00",
    "wait": "#9aa3ad",
}
"""Cycles by cause, in the order in which they are stacked."""

ENERGY_COLOURS = {
    "accumulate": "#0072b2",
    "activation": "#56b4e9",
    "encoder": "#e69f00",
    "weight_read": "#00664b",
    "membrane_read": "#009e73",
    "membrane_write": "#86cfb6",
    "clock": "#7f8893",
    "static": "#c5cbd2",
}
"""Energy by cause, in the order in which it is stacked."""

_FONT = '"Inter", "Segoe UI", "Liberation Sans", Arial, sans-serif'
_ROW, _BAR, _TOP, _BOTTOM, _ENTRY = 56, 36, 90, 55, 20
"""Heights of a layer's row, of its bar, of what is above and below all rows, and of a line of a legend [pixels]."""

_MANY_POINTS = 5000
"""More points than this are too slow to draw one by one."""


def breakdown_figure(report: Mapping[str, Any]) -> go.Figure:
    """Bars a layer: latency by cause with the floor of each layer on the left, energy by cause on the right.

    Args:
        report: What `Simulation.report()` returns, or was stored of it. A layer without a floor has no mark; where
            the energy is unknown, the right side says why.
    """
    figure = make_subplots(
        1,
        2,
        shared_yaxes=True,
        horizontal_spacing=0.05,
        subplot_titles=[
            "work by cause (layers side by side)" if report.get("pipelined") else "latency by cause",
            "energy by cause",
        ],
    )
    _latency_bars(figure, report)
    _floors(figure, report)
    if report["energy_uj"] is None:
        _no_energy(figure, report)
    else:
        _energy_bars(figure, report)
    _dress(figure, report)
    return figure


def sweep_figure(document: Mapping[str, Any]) -> go.Figure:
    """The accelerators of a hardware front: latency against energy, coloured by the share of the LUTs they take.

    Those that no other beats in latency and energy are ringed; the others are better in some part of the device.
    Where the energy is unknown, LUTs stand against latency, coloured by the share of the block memories.

    Args:
        document: What `HardwareFront.document()` returns; a front without points gives empty axes and says so.
    """
    figure = go.Figure(layout=_sweep_layout(document))
    if not document["points"]:
        text = f"none of {document['swept']:,} accelerators fits"
        figure.add_annotation(text=text, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
        return figure
    size, unit = scale(min(document["latency_s"]), "s")
    latencies = [value / size for value in document["latency_s"]]
    heights, title = _heights(document)
    figure.add_trace(_accelerators(document, latencies, heights))
    if document["energy_j"] is not None:
        best = document["trade_off"]
        figure.add_trace(_trade_off([latencies[index] for index in best], [heights[index] for index in best]))
    figure.update_xaxes(title_text=f"latency of an image, {unit}", **_ticks(latencies))
    figure.update_yaxes(title_text=title, **_ticks(heights))
    return figure


def _latency_bars(figure: go.Figure, report: Mapping[str, Any]) -> None:
    layers = report["layers"]
    seconds = [sum(layer["causes"].values()) / report["clock_hz"] for layer in layers]
    size, unit = scale(max(seconds), "s")
    for cause, colour in _used(CAUSE_COLOURS, [layer["causes"] for layer in layers]):
        cycles = [layer["causes"][cause] for layer in layers]
        hover = [
            f"<b>{layer['name']}</b>: {words(cause)}<br>{quantity(part / report['clock_hz'], 's')}, {part:,.0f} cycles"
            f"<br>{percent(part / sum(layer['causes'].values()))} of the layer"
            for layer, part in zip(layers, cycles, strict=True)
        ]
        values = [part / report["clock_hz"] / size for part in cycles]
        figure.add_trace(_bars(layers, values, words(cause), colour, hover, legend="legend"), row=1, col=1)
    ends = [
        f"{number(value / size)} {unit}<br>{percent(layer['share'])}"
        for value, layer in zip(seconds, layers, strict=True)
    ]
    _ends(figure, layers, [value / size for value in seconds], ends, unit, column=1)


def _energy_bars(figure: go.Figure, report: Mapping[str, Any]) -> None:
    layers = report["layers"]
    joules = [sum(layer["energy_uj"].values()) / 1e6 for layer in layers]
    size, unit = scale(max(joules), "J")
    for cause, colour in _used(ENERGY_COLOURS, [layer["energy_uj"] for layer in layers]):
        parts = [layer["energy_uj"][cause] / 1e6 for layer in layers]
        hover = [
            f"<b>{layer['name']}</b>: {words(cause)}<br>{quantity(part, 'J')}<br>{percent(part / whole)} of the layer"
            for layer, part, whole in zip(layers, parts, joules, strict=True)
        ]
        values = [part / size for part in parts]
        figure.add_trace(_bars(layers, values, words(cause), colour, hover, legend="legend2"), row=1, col=2)
    whole = sum(joules)
    ends = [f"{number(value / size)} {unit}<br>{percent(value / whole)}" for value in joules]
    _ends(figure, layers, [value / size for value in joules], ends, unit, column=2)


def _floors(figure: go.Figure, report: Mapping[str, Any]) -> None:
    """A diamond on each bar at the latency that more cores cannot remove."""
    layers = [layer for layer in report["layers"] if layer.get("floor_cycles") is not None]
    size, _ = scale(max(sum(layer["causes"].values()) for layer in report["layers"]) / report["clock_hz"], "s")
    seconds = [layer["floor_cycles"] / report["clock_hz"] for layer in layers]
    if not layers:
        return
    figure.add_trace(
        go.Scatter(
            x=[value / size for value in seconds],
            y=[layer["name"] for layer in layers],
            name="floor (more cores)",
            mode="markers",
            cliponaxis=False,
            marker={"symbol": "diamond", "size": 11, "color": "white", "line": {"color": "black", "width": 2}},
            hovertext=[
                f"<b>{layer['name']}</b>: floor<br>{quantity(value, 's')} with as many cores as help"
                for layer, value in zip(layers, seconds, strict=True)
            ],
            hoverinfo="text",
            legend="legend",
        ),
        row=1,
        col=1,
    )


def _no_energy(figure: go.Figure, report: Mapping[str, Any]) -> None:
    middle = sum(figure.layout.xaxis2.domain) / 2
    text = "<br>".join(["unknown:", *textwrap.wrap(report["energy_unknown"], 40)])
    figure.add_annotation(text=text, showarrow=False, x=middle, y=0.5, xref="paper", yref="paper")
    figure.update_xaxes(visible=False, row=1, col=2)


def _used(colours: Mapping[str, str], layers: Sequence[Mapping[str, float]]) -> list[tuple[str, str]]:
    """Causes that occur at all, in the order of their colours."""
    return [(cause, colour) for cause, colour in colours.items() if any(layer.get(cause) for layer in layers)]


def _bars(
    layers: Sequence[Mapping[str, Any]],
    values: Sequence[float],
    name: str,
    colour: str,
    hover: Sequence[str],
    *,
    legend: str,
) -> go.Bar:
    return go.Bar(
        x=list(values),
        y=[layer["name"] for layer in layers],
        name=name,
        orientation="h",
        marker={"color": colour, "line": {"width": 0}},
        hovertext=list(hover),
        hoverinfo="text",
        legend=legend,
    )


def _ends(
    figure: go.Figure,
    layers: Sequence[Mapping[str, Any]],
    values: Sequence[float],
    texts: Sequence[str],
    unit: str,
    *,
    column: int,
) -> None:
    """Text after each bar, with room for it."""
    for layer, value, text in zip(layers, values, texts, strict=True):
        figure.add_annotation(
            x=value,
            y=layer["name"],
            text=text,
            align="left",
            showarrow=False,
            xanchor="left",
            xshift=11,
            row=1,
            col=column,
        )
    title = {"text": unit, "font": {"size": 13}}
    figure.update_xaxes(title=title, range=[0, 1.25 * max(values)], row=1, col=column)


def _dress(figure: go.Figure, report: Mapping[str, Any]) -> None:
    """Title, axes and legends; colours of text and ground are the template's, light or dark."""
    layers = report["layers"]
    labels = [f"<b>{layer['name']}</b><br>{_built(layer)}" for layer in layers]
    figure.update_yaxes(autorange="reversed", tickvals=[layer["name"] for layer in layers], showgrid=False)
    figure.update_yaxes(ticktext=labels, ticklabelstandoff=6, col=1)
    legends = [("time", "legend"), ("energy", "legend2")]
    lines = [1.6 + sum(trace.legend == legend for trace in figure.data) for _, legend in legends]
    rows = max(_ROW * len(layers), round(_ENTRY * sum(lines)))
    figure.update_layout(
        template="plotly_white",
        barmode="stack",
        bargap=1 - _BAR * len(layers) / rows,
        height=_TOP + rows + _BOTTOM,
        font={"family": _FONT, "size": 13},
        title={"text": _title(report), "x": 0.01, "y": 1 - 22 / (_TOP + rows + _BOTTOM), "yanchor": "top"},
        title_font_size=18,
        margin={"l": 10, "r": 10, "t": _TOP, "b": _BOTTOM},
    )
    for (title, legend), above in zip(legends, (0, lines[0]), strict=True):
        text = {"text": f"<b>{title}</b>", "font": {"size": 13}}
        place = {"x": 1.01, "xanchor": "left", "y": 1 - _ENTRY * above / rows, "yanchor": "top"}
        figure.update_layout({legend: {"title": text, "traceorder": "normal", **place}})


def _built(layer: Mapping[str, Any]) -> str:
    noun = {"dense": "row", "conv": "core", "fc": "core"}[layer["kind"]]
    return f"{layer['cores']} {noun}" if layer["cores"] == 1 else f"{layer['cores']} {noun}s"


def _title(report: Mapping[str, Any]) -> str:
    latency, figure = quantity(report["latency_ms"]["mean"] / 1e3, "s"), "FPS/W unknown"
    if report["fps_per_watt"] is not None:
        low, high = (number(report["interval"][end]) for end in ("low", "high"))
        figure = f"{number(report['fps_per_watt'])} FPS/W ({low} to {high})"
    return f"{latency} an image, {figure}<br><sup>{settings_line(report)}</sup>"


def _heights(document: Mapping[str, Any]) -> tuple[list[float], str]:
    """What the points of a front stand at, and what to call it."""
    if document["energy_j"] is None:
        return document["luts"], "LUTs (the energy is unknown)"
    size, unit = scale(min(document["energy_j"]), "J")
    return [value / size for value in document["energy_j"]], f"energy of an image, {unit}"


def _accelerators(document: Mapping[str, Any], latencies: Sequence[float], heights: Sequence[float]) -> Any:
    """A point an accelerator; very many are drawn by the graphics card."""
    part = "bram36" if document["energy_j"] is None else "luts"
    shares = [100 * used / document["limits"][part] for used in document[part]]
    bar: dict[str, Any] = {"title": {"text": f"{PARTS[part]}, % of<br>what is allowed", "font": {"size": 13}}}
    colours = shares
    if _spans_much(shares):
        colours, ticks = [math.log10(share) for share in shares], _one_two_five(shares)
        bar |= {"tickvals": [math.log10(tick) for tick in ticks], "ticktext": [f"{tick:g}" for tick in ticks]}
    kind = go.Scatter if len(latencies) <= _MANY_POINTS else go.Scattergl
    return kind(
        x=latencies,
        y=heights,
        name="accelerator",
        mode="markers",
        marker={"size": 8, "color": colours, "colorscale": "Viridis", "colorbar": {"thickness": 14, **bar}},
        hovertext=[_point(document, index) for index in range(document["points"])],
        hoverinfo="text",
        showlegend=False,
    )


def _trade_off(latencies: list[float], energies: list[float]) -> go.Scatter:
    """Rings, joined by the stairs below which no accelerator lies."""
    return go.Scatter(
        x=latencies,
        y=energies,
        name="best in latency and energy",
        mode="lines+markers",
        line={"shape": "hv", "width": 1.5, "color": "#d55e00"},
        marker={"symbol": "circle-open", "size": 10, "line": {"width": 1.5}},
        hoverinfo="skip",
    )


def _ticks(values: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis with readable ticks where the values span much, else a plain one."""
    if not _spans_much(values):
        return {}
    ticks = _one_two_five(values)
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:,.10g}" for tick in ticks]}


def _spans_much(values: Sequence[float]) -> bool:
    return max(values) > 5 * min(values) > 0


def _one_two_five(values: Sequence[float]) -> list[float]:
    """1, 2 and 5 of each decade in which there are values, all above 0."""
    first, last = (math.floor(math.log10(value)) for value in (min(values), max(values)))
    return [step * 10.0**decade for decade in range(first, last + 1) for step in (1, 2, 5)]


def _point(document: Mapping[str, Any], index: int) -> str:
    """What hovering over a point tells."""
    cores = ", ".join(
        f"{layer} {cores}" for layer, cores in zip(document["layers"], document["neural_cores"][index], strict=True)
    )
    lines = [f"<b>cores</b>: {cores}", quantity(document["latency_s"][index], "s")]
    if document["energy_j"] is not None:
        efficiency = f"{number(document['fps_per_watt'][index])} FPS/W"
        lines.append(f"{quantity(document['energy_j'][index], 'J')}, {efficiency}")
    parts = [f"{amount(document[part][index])} {label}" for part, label in PARTS.items() if document[part][index]]
    return "<br>".join([*lines, ", ".join(parts)])


def _sweep_layout(document: Mapping[str, Any]) -> go.Layout:
    title = f"{document['points']:,} of {document['swept']:,} accelerators: none is beaten in everything"
    settings = (
        f"{' '.join(document['layers'])}: {document['mode']} mode, {words(document['schedule'])}, "
        f"{frequency(document['clock_hz'])}, {document['device']}"
    )
    return go.Layout(
        template="plotly_white",
        height=560,
        font={"family": _FONT, "size": 13},
        title={"text": f"{title}<br><sup>{settings}</sup>", "x": 0.01, "y": 0.95, "yanchor": "top"},
        title_font_size=18,
        margin={"l": 10, "r": 10, "t": 80, "b": 55},
        legend={"x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom"},
    )
