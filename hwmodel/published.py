"""Published figures beside ours: the SystemC model's latencies, and other FPGA accelerators.

The records lie in `records/*.yaml`, each with its source, what was taken from it and what was fitted. Nothing is
fitted to the other accelerators: they are of different architectures, and only orders of magnitude can agree.
Tables are Markdown with padded columns, so a terminal and a document show the same text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import Any

import numpy as np
import yaml

from hwmodel.accelerator import LayerShape, build_accelerator
from hwmodel.simulate import Simulation, simulate
from hwmodel.tlm import Ints, step_cycles, tlm_cycles

QUANTITIES = {
    "latency_ms": "latency [ms]",
    "fps": "FPS",
    "power_w": "power [W]",
    "energy_mj": "energy/image [mJ]",
    "fps_per_watt": "FPS/W",
    "luts": "LUT",
    "flip_flops": "FF",
    "bram36": "BRAM36",
}
"""What is compared, with the heading of each."""

IMAGES = 100
"""Synthetic images a comparison runs over."""

INPUT_RATE = 0.1307
"""Spikes a position and step at the first layer: the mean pixel of MNIST, as rate coding gives it."""

HIDDEN_RATE = 0.1
"""The same at all other layers; an assumption."""

SHARED_ASSUMPTIONS = (
    f"Spikes of {IMAGES} synthetic images: a constant rate at every position and step (binomial, fixed seed).",
    f"First layer: rate {INPUT_RATE}, the mean pixel of MNIST; other layers: {HIDDEN_RATE}, an assumption.",
    "Our accelerator: preset `event-driven-2023`, mode `ideal`, schedule `sequential`, so FPS = 1/latency.",
    "Our energies and resources are estimates, +-50 %; no board, processor or off-chip memory.",
    "Reported FPS and FPS/W are derived from a work's other figures unless it prints them.",
    "Works marked (quoted) were read in others' notes.",
)
"""What holds for every modelled row."""


@dataclass(frozen=True)
class Row:
    """One published latency of the SystemC model, beside ours.

    Attributes:
        block: Group of rows with one network and input: "A", "B", "C", "trace" or "step".
        case: LHR of the three layers, and for a layer-step which.
        published: Cycles as published.
        ours: Cycles from `tlm`.
        tolerance: How far ours may be off, in words.
        allowed: The same in cycles.
    """

    block: str
    case: str
    published: int
    ours: int
    tolerance: str
    allowed: float

    @property
    def error(self) -> float:
        """Relative error, above 0 when ours is longer."""
        return self.ours / self.published - 1

    @property
    def holds(self) -> bool:
        """Whether ours lies within the tolerance."""
        return abs(self.ours - self.published) <= self.allowed


@dataclass(frozen=True)
class Comparison:
    """One published accelerator beside ours.

    Attributes:
        name: The work.
        platform: Its FPGA and clock.
        task: Data set and network.
        source: Where the figures are from.
        reported: By the names of `QUANTITIES`; what a work does not report is missing.
        also: What it reports that has no counterpart here; empty if nothing.
        built: Our cores and how they were chosen; empty if not modelled.
        modelled: By the names of `QUANTITIES`; empty if not modelled, energies missing where unknown.
        assumptions: Of this work, besides `SHARED_ASSUMPTIONS`.
        reason: Why it is not modelled; empty if it is.
    """

    name: str
    platform: str
    task: str
    source: str
    reported: Mapping[str, float]
    also: str
    built: str
    modelled: Mapping[str, float]
    assumptions: tuple[str, ...]
    reason: str

    def ratio(self, quantity: str) -> float | None:
        """Ours over reported, or `None` where either is missing."""
        if quantity not in self.reported or quantity not in self.modelled:
            return None
        return self.modelled[quantity] / self.reported[quantity]


def tlm_rows() -> list[Row]:
    """Every recorded latency of the SystemC model beside ours: blocks A, B and C, a trace, single layer-steps."""
    record = _record("systemc")
    rows = [row for block in record["blocks"] for row in _block_rows(block)]
    return rows + _trace_rows(record["trace"]) + _step_rows(record["single_steps"])


def tlm_table() -> str:
    """`tlm_rows` as Markdown, then a line a block: worst error, and what was taken from the source or fitted."""
    rows = tlm_rows()
    head = ("block", "case", "published", "ours", "error", "tolerance", "holds")
    return f"{_markdown(head, map(_tlm_cells, rows))}\n\n{_bullets(_summaries(rows))}"


def accelerator_rows() -> list[Comparison]:
    """Every recorded accelerator, in order: an entry for each way ours was built, or one with the reason why not."""
    works = _record("accelerators")["works"]
    return [comparison for work in works for comparison in _compare(work)]


def accelerator_table() -> str:
    """`accelerator_rows` as Markdown: figures side by side, assumptions, then the works that are not modelled."""
    rows = accelerator_rows()
    modelled = [row for row in rows if not row.reason]
    head = ("work", "ours", "quantity", "reported", "modelled", "modelled / reported")
    figures = _markdown(head, [cells for row in modelled for cells in _comparison_cells(row)])
    skipped = _markdown(
        ("work", "FPGA, clock", "task", "reported", "not modelled because", "source"),
        [_skipped_cells(row) for row in rows if row.reason],
    )
    return "\n\n".join((figures, _bullets(_assumptions(modelled)), skipped))


def build_comparison(model: Mapping[str, Any], cores: Sequence[int]) -> Simulation:
    """Our accelerator for a recorded work's network, run on synthetic counts.

    Args:
        model: The `model` of a work in the record.
        cores: Cores a layer.

    Raises:
        AcceleratorError: The layers cannot exist, or the cores do not divide them.
    """
    shapes = [LayerShape(**layer) for layer in model["layers"]]
    accelerator = build_accelerator(
        shapes,
        cores,
        dense_first=False,
        time_steps=model["time_steps"],
        clock_hz=model["clock_hz"],
        mode="ideal",
        schedule="sequential",
        device=model["device"],
    )
    return simulate(accelerator, _synthetic(shapes, model["time_steps"]))


@cache
def _record(name: str) -> Any:
    text = files("hwmodel").joinpath("records", f"{name}.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def _block_rows(block: Mapping[str, Any]) -> list[Row]:
    totals = _totals(block["spikes"], block["steps"])
    tolerance = block["tolerance"]
    return [
        Row(
            block=block["name"],
            case=lhr,
            published=cycles,
            ours=int(tlm_cycles(_ratios(lhr), totals).latency[0]),
            tolerance=f"{tolerance * 100:g} %",
            allowed=tolerance * cycles,
        )
        for lhr, cycles in block["rows"].items()
    ]


def _trace_rows(trace: Mapping[str, Any]) -> list[Row]:
    allowed = trace["tolerance_cycles"]
    totals = _totals(trace["spikes"], len(trace["spikes"][0]))
    first = tlm_cycles(_ratios(trace["lhr"]), totals).ends[0, 0].tolist()
    return [
        Row("trace", f"{trace['lhr']}, layer {layer} ends step 0", cycles, ours, f"{allowed} cycles", allowed)
        for layer, (cycles, ours) in enumerate(zip(trace["first_step"], first, strict=True))
    ]


def _step_rows(single: Mapping[str, Any]) -> list[Row]:
    allowed = single["tolerance_cycles"]
    return [
        Row(
            block="step",
            case=f"layer {step['layer']}, {step['spikes']} spikes, LHR {step['lhr']}",
            published=step["cycles"],
            ours=step_cycles(step["layer"], step["spikes"], step["lhr"]),
            tolerance=f"{allowed} cycles",
            allowed=allowed,
        )
        for step in single["rows"]
    ]


def _ratios(lhr: str) -> list[int]:
    return [int(ratio) for ratio in lhr.split("x")]


def _totals(spikes: Sequence[int | Sequence[int]], steps: int) -> Ints:
    """One image `(1, steps, 3)`; a layer with one number has it in every step."""
    return np.stack([np.broadcast_to(np.array(layer, np.int64), steps) for layer in spikes], axis=1)[np.newaxis]


def _tlm_cells(row: Row) -> tuple[str, ...]:
    error = f"{row.error * 100:+.2f} %"
    holds = "yes" if row.holds else "NO"
    return row.block, row.case, f"{row.published:,}", f"{row.ours:,}", error, row.tolerance, holds


def _summaries(rows: Sequence[Row]) -> Iterable[str]:
    record = _record("systemc")
    origins = {block["name"]: f"{block['network']}: {block['origin']}" for block in record["blocks"]}
    origins |= {"trace": record["trace"]["origin"], "step": record["single_steps"]["origin"]}
    for name, group in groupby(rows, key=lambda row: row.block):
        block = list(group)
        worst = max(abs(row.error) for row in block)
        within = sum(row.holds for row in block)
        yield (
            f"{name}: {within} of {len(block)} within {block[0].tolerance}, worst {worst * 100:.2f} %. {origins[name]}"
        )


def _compare(work: Mapping[str, Any]) -> list[Comparison]:
    model = work.get("model")
    if model is None:
        return [_comparison(work, reason=work["not_modelled"])]
    return [
        _comparison(
            work,
            built=f"{'-'.join(map(str, build['cores']))} cores: {build['rule']}",
            modelled=_figures(build_comparison(model, build["cores"])),
            assumptions=(f"Built on {model['device']}.", *model["assumptions"]),
        )
        for build in model["builds"]
    ]


def _comparison(
    work: Mapping[str, Any],
    *,
    built: str = "",
    modelled: Mapping[str, float] | None = None,
    assumptions: tuple[str, ...] = (),
    reason: str = "",
) -> Comparison:
    return Comparison(
        name=work["name"],
        platform=work["platform"],
        task=work["task"],
        source=work["source"],
        reported=work["reported"],
        also=work.get("also", ""),
        built=built,
        modelled=modelled or {},
        assumptions=assumptions,
        reason=reason,
    )


def _figures(simulation: Simulation) -> dict[str, float]:
    used = simulation.resources
    figures: dict[str, float] = {
        "latency_ms": simulation.latency_ms,
        "fps": simulation.fps,
        "luts": used.luts,
        "flip_flops": used.flip_flops,
        "bram36": used.bram36,
    }
    if simulation.accelerator.device.static_w is None:
        return figures
    energy_mj = float(simulation.energy_j.mean()) * 1e3
    return figures | {
        "power_w": simulation.power_w,
        "energy_mj": energy_mj,
        "fps_per_watt": simulation.fps_per_watt,
    }


def _synthetic(shapes: Sequence[LayerShape], steps: int) -> list[Ints]:
    # RandomState, as its stream never changes; that of a Generator may, from one numpy to the next.
    random = np.random.RandomState(0)
    return [
        random.binomial(shape.in_frame, HIDDEN_RATE if index else INPUT_RATE, (IMAGES, steps, shape.in_channels))
        for index, shape in enumerate(shapes)
    ]


def _comparison_cells(row: Comparison) -> Iterable[tuple[str, ...]]:
    for quantity, heading in QUANTITIES.items():
        ratio = row.ratio(quantity)
        yield (
            row.name,
            row.built,
            heading,
            _number(row.reported[quantity]) if quantity in row.reported else "-",
            _number(row.modelled[quantity]) if quantity in row.modelled else "unknown",
            "-" if ratio is None else f"{ratio:.2f}",
        )


def _skipped_cells(row: Comparison) -> tuple[str, ...]:
    figures = [f"{QUANTITIES[quantity]} {_number(value)}" for quantity, value in row.reported.items()]
    reported = "; ".join([*figures, *filter(None, [row.also])])
    return row.name, row.platform, row.task, reported, row.reason, row.source


def _assumptions(rows: Sequence[Comparison]) -> Iterable[str]:
    yield from SHARED_ASSUMPTIONS
    for name, group in groupby(rows, key=lambda row: row.name):
        first = next(group)
        also = f" It also reports {first.also}." if first.also else ""
        yield f"{name} ({first.platform}; {first.task}; {first.source}).{also} {' '.join(first.assumptions)}"


def _number(value: float) -> str:
    """Four significant digits, with thousands apart."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"* {line}" for line in lines)


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    lines.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in lines)
