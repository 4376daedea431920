"""A simulation's report as plain text: what an engineer wants to see at a glance in a terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

WIDTH = 120
"""Columns of the terminal the text is made for."""

WORK = ("accumulate", "activate")
"""Causes of cycles in which a layer's control waits for its cores; in all others control works, often beside them."""

PARTS = {"luts": "LUT", "flip_flops": "FF", "bram36": "BRAM36", "uram": "URAM", "dsp": "DSP"}
"""What a device is made of, as people call it."""

_PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
_DOING = {
    "fetch": "fetching",
    "compress": "compressing",
    "accumulate": "accumulating",
    "activate": "activating",
    "hand_over": "handing over",
    "wait": "waiting",
}
_LABEL = 12
_LONGEST_BAR = 24
_MISSING = "–"


def report_table(report: Mapping[str, Any]) -> str:
    """The report as text of at most 120 columns, for layer names of up to 16 characters.

    Args:
        report: What `Simulation.report()` returns, or was stored of it. Figures that an older report lacks
            are shown as a dash.
    """
    blocks = [f"{_heading(report)}\n{_summary(report)}", _layers(report), _causes(report)]
    if report["energy_uj"] is not None:
        blocks.append(_energies(report))
    blocks.append("\n".join(map(_paragraph, verdict(report))))
    if any(report["hazards"].values()):
        blocks.append(_hazards(report))
    return "\n\n".join(blocks) + "\n"


def verdict(report: Mapping[str, Any]) -> list[str]:
    """Sentences: which layer is the bottleneck, what it does most, and what more cores could do about it."""
    layer = next(layer for layer in report["layers"] if layer["name"] == report["bottleneck"])
    if report.get("pipelined"):
        return [
            f"{layer['name']} is the bottleneck: it works in {percent(layer['share'])} of the latency.",
            "Layers work side by side, so their shares do not add up to 100 %.",
        ]
    cause, cycles = max(layer["causes"].items(), key=lambda item: float(item[1]))
    part = percent(cycles / layer["cycles"])
    first = f"{layer['name']} takes {percent(layer['share'])} of the latency and spends {part} of that {_DOING[cause]}."
    return [first, *_head_room(layer, report)]


def scale(largest: float, unit: str) -> tuple[float, str]:
    """Size and name of the unit in which an SI value reads best: of 0.004 "s" it is `(0.001, "ms")`."""
    for size, prefix in _PREFIXES:
        if abs(largest) >= size:
            return size, prefix + unit
    return _PREFIXES[-1][0], _PREFIXES[-1][1] + unit


def quantity(value: float, unit: str) -> str:
    """An SI value with its unit, three significant digits: of 0.00412 "J" it is "4.12 mJ"."""
    size, name = scale(value, unit)
    return f"{number(value / size)} {name}"


def number(value: float, like: float | None = None) -> str:
    """Three significant digits, thousands parted by commas.

    Args:
        value: What to show. Where it is not 0 but rounds to it, it is shown as less than the last place.
        like: The largest number of a column: all then have its decimal places, and whole numbers are in full.
    """
    largest = abs(float(f"{value:.3g}") if like is None else like)
    decimals = 2 - math.floor(math.log10(largest)) if largest > 0 else 0
    if like is None:
        value = round(value, decimals)
    decimals = max(0, decimals)
    last = 10.0**-decimals
    return f"<{last:.{decimals}f}" if 0 < value < last / 2 else f"{value:,.{decimals}f}"


def amount(occupied: float) -> str:
    """How many of a device's part, where halves are legal."""
    return f"{occupied:,.0f}" if occupied == int(occupied) else f"{occupied:,.1f}"


def percent(share: float) -> str:
    """A share of 0 to 1, or beyond, in percent; with a decimal below 10 %."""
    if 0 < share < 0.0005:
        return "<0.1 %"
    return f"{share * 100:.1f} %" if 0 < share < 0.0995 else f"{share * 100:,.0f} %"


def words(name: str) -> str:
    """A key as people say it: "hand_over" is "hand over"."""
    return name.replace("_", " ")


def settings_line(report: Mapping[str, Any]) -> str:
    """Mode, schedule, clock, device, steps and images in a line."""
    return (
        f"{report['mode']} mode, {words(report['schedule'])}, {frequency(report['clock_hz'])}, "
        f"{report['resources']['device']['name']}, {_many(report['time_steps'], 'step')}, "
        f"{_many(report['images'], 'image')}"
    )


def frequency(clock_hz: float) -> str:
    """A clock in MHz or kHz, as exact as it was given."""
    return f"{clock_hz / 1e6:g} MHz" if clock_hz >= 1e6 else f"{clock_hz / 1e3:g} kHz"


def _heading(report: Mapping[str, Any]) -> str:
    return _paragraph(f"{' '.join(layer['name'] for layer in report['layers'])}: {settings_line(report)}")


def _summary(report: Mapping[str, Any]) -> str:
    facts = [("latency", _latency(report)), ("throughput", f"{number(report['fps'])} FPS"), *_efficiency(report)]
    if report.get("utilisation") is not None:
        facts.append(("cores", f"each at work {percent(report['utilisation'])} of the time on average"))
    facts.append(("resources", _resources(report["resources"])))
    return "\n".join(_paragraph(f"{label:<{_LABEL}}{text}", hang=_LABEL) for label, text in facts)


def _latency(report: Mapping[str, Any]) -> str:
    """All figures in one unit, with the same decimals."""
    seconds = {name: value / 1e3 for name, value in report["latency_ms"].items()}
    size, unit = scale(seconds["mean"], "s")
    shown = {name: number(value / size, seconds["mean"] / size) for name, value in seconds.items()}
    text = f"{shown['mean']} {unit} mean, {shown['p50']} p50, {shown['p95']} p95, {shown['max']} max"
    floor_ms = report.get("floor_ms")
    if floor_ms is None:
        return text
    return f"{text}; floor {quantity(floor_ms / 1e3, 's')}, with as many cores as help"


def _efficiency(report: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Energy, power and FPS/W, each with the interval that follows from the one of FPS/W."""
    if report["energy_uj"] is None:
        yield "energy", f"unknown: {report['energy_unknown']}"
        return
    low, high = report["interval"]["low"], report["interval"]["high"]
    yield "energy", f"{_between(report['energy_uj'] / 1e6, 1 / high, 1 / low, 'J')} an image"
    yield "power", _between(report["power_w"], report["fps"] / high, report["fps"] / low, "W")
    yield "efficiency", _between(report["fps_per_watt"], low, high, "FPS/W")


def _between(value: float, low: float, high: float, unit: str) -> str:
    size, name = (1.0, unit) if unit == "FPS/W" else scale(value, unit)
    return f"{number(value / size)} {name} ({number(low / size)} to {number(high / size)})"


def _resources(resources: Mapping[str, Any]) -> str:
    shares = resources["utilisation"]
    used = [
        f"{amount(resources[name])} {label} ({_MISSING if shares[name] is None else percent(shares[name])})"
        for name, label in PARTS.items()
        if resources.get(name)
    ]
    return f"{', '.join(used)}; {_fits(resources)}"


def _fits(resources: Mapping[str, Any]) -> str:
    if resources["fits_device"] is None:
        return f"unknown whether it fits: {resources['fits_unknown']}"
    name: str = resources["device"]["name"]
    return f"fits {name}" if resources["fits_device"] else f"DOES NOT FIT {name}"


def _layers(report: Mapping[str, Any]) -> str:
    """A row a layer, with its share of the latency as a bar: waiting for its cores solid, the rest light."""
    layers = report["layers"]
    heads = ("layer", "kind", "cores", "groups", "encoder", "spikes/image", "cycles", "floor", "at work", "share")
    lines = _columns([heads, *(_layer(layer) for layer in layers)], "<<>>>>>>>>")
    room = min(_LONGEST_BAR, WIDTH - 2 - len(lines[0]))
    longest = max(layer["share"] for layer in layers)
    bars = ["█ cores  ░ control", *(_bar(layer, room / longest) for layer in layers)]
    return "\n".join(f"{line}  {bar}".rstrip() for line, bar in zip(lines, bars, strict=True))


def _layer(layer: Mapping[str, Any]) -> list[str]:
    worked = layer.get("utilisation")
    return [
        layer["name"],
        layer["kind"],
        str(layer["cores"]),
        _whole(layer.get("groups")),
        _whole(layer.get("encoder_width")),
        _whole(layer["spikes_per_image"]),
        _whole(layer["cycles"]),
        _whole(layer.get("floor_cycles")),
        _MISSING if worked is None else percent(worked),
        percent(layer["share"]),
    ]


def _whole(value: float | None) -> str:
    return _MISSING if value is None else f"{value:,.0f}"


def _bar(layer: Mapping[str, Any], columns: float) -> str:
    """Blocks for the layer's share, `columns` for 100 %."""
    worked = sum(layer["causes"].get(cause, 0.0) for cause in WORK) / sum(layer["causes"].values())
    length: int = round(layer["share"] * columns)
    solid: int = round(length * worked)
    return "█" * solid + "░" * (length - solid)


def _causes(report: Mapping[str, Any]) -> str:
    """Cycles by cause in percent of the layer's; the last row is of the latency."""
    layers = report["layers"]
    names = list(layers[0]["causes"])
    rows = [[layer["name"], *_shares([layer["causes"][name] for name in names])] for layer in layers]
    if not report.get("pipelined"):
        totals = [sum(layer["causes"][name] for layer in layers) for name in names]
        rows.append(["all", *_shares(totals)])
    return "\n".join(_columns([["cycles by cause, %", *map(words, names)], *rows], "<" + ">" * len(names)))


def _shares(cycles: Sequence[float]) -> list[str]:
    return [f"{100 * part / sum(cycles):.1f}" if part else _MISSING for part in cycles]


def _energies(report: Mapping[str, Any]) -> str:
    layers = report["layers"]
    names = list(layers[0]["energy_uj"])
    size, unit = scale(report["energy_uj"] / 1e6 / 100, "J")  # small enough a unit for the small parts
    energies = [[layer["energy_uj"][name] / 1e6 / size for name in names] for layer in layers]
    energies.append([sum(column) for column in zip(*energies, strict=True)])
    labels = [*(layer["name"] for layer in layers), "all"]
    rows = [
        [label, *(number(value, sum(energies[-1]) / 10) if value else _MISSING for value in (*row, sum(row)))]
        for label, row in zip(labels, energies, strict=True)
    ]
    heads = [f"energy, {unit}", *(words(name).replace("membrane", "memb.") for name in names), "all"]
    return "\n".join(_columns([heads, *rows], "<" + ">" * (len(names) + 1)))


def _head_room(layer: Mapping[str, Any], report: Mapping[str, Any]) -> Iterable[str]:
    """What more cores would do for a layer."""
    floor = layer.get("floor_cycles")
    if floor is None:
        return
    floor_s, now_s = floor / report["clock_hz"], layer["cycles"] / report["clock_hz"]
    if floor < layer["cycles"]:
        yield f"More cores cannot bring it below {quantity(floor_s, 's')} (now {quantity(now_s, 's')})."
    else:
        yield "More cores do not shorten it."


def _hazards(report: Mapping[str, Any]) -> str:
    """Events of the circuit's races, over all layers and images, and where they happened."""
    seen = ", ".join(f"{count:,} {name}" for name, count in report["hazards"].items() if count)
    where = " ".join(layer["name"] for layer in report["layers"] if any(layer["hazards"].values()))
    return _paragraph(f"{'hazards':<{_LABEL}}{seen} ({where})", hang=_LABEL)


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _columns(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Rows of cells as lines, each column as wide as its longest cell, on the side `<` or `>`."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)).rstrip()
        for row in rows
    ]


def _paragraph(text: str, *, hang: int = 0) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=" " * hang, break_on_hyphens=False)
