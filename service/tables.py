"""Tables for the terminal: studies, trials, fronts, and the live view of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from objectives.spec import OBJECTIVES

_CORES = "accelerator.neural_cores."
HARDWARE_ROWS = 12
"""Most rows of the table of other accelerators; the whole list is in the JSON."""

HEADS = {"accuracy": "acc. %", "latency_ms": "latency ms", "fps_per_watt": "FPS/W", "energy_uj": "energy µJ"}


def front_table(document: Mapping[str, Any]) -> RenderableType:
    """A Pareto front with each point's change against the baseline: accuracy in points, the rest in percent.

    Where trials search accelerators, a short table of all that is worth building stands before it.
    """
    points = _points_table(document)
    return Group(hardware_table(document), points) if document.get("hardware_front") else points


def front_words(document: Mapping[str, Any]) -> list[str]:
    """What is to be said below a front's table."""
    points, volume = len(document["front"]), document["hypervolume"]
    if not points:
        if document.get("limits"):
            return ["no point of the front keeps these limits"]
        return ["no feasible point yet; `spikefront show` lists the trials"]
    words = []
    if volume is not None:
        count = "1 point" if points == 1 else f"{points} points"
        whose = "hypervolume of the whole front" if document.get("limits") else "hypervolume"
        words += [f"{count}, {whose} {volume:.4f}; change against the baseline", FRONT_NOTE]
    if "knee" in document:
        words.append(f"knee: trial {document['knee']}, nearest to the best of everything, by ranks")
    if "best" in document:
        words.append(f"best {document['best']['objective']}: trial {document['best']['trial']}")
    return words


def hardware_table(document: Mapping[str, Any]) -> Table:
    """The front with each trial's other accelerators: at most `HARDWARE_ROWS` points, evenly over the list."""
    points = document["hardware_front"]
    shown_points = points if len(points) <= HARDWARE_ROWS else list(_evenly(points, HARDWARE_ROWS))
    rest = "" if shown_points is points else f", {len(shown_points)} shown"
    words = f"With each trial's other accelerators: {len(points)} points{rest}"
    table = Table(box=box.SIMPLE_HEAD, title=words, title_justify="left")
    table.add_column("trial", justify="right", no_wrap=True)
    for name in document["objectives"]:
        table.add_column(HEADS[name], justify="right", no_wrap=True)
    for head in ("LUTs", "BRAM36", "DSPs"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("accelerator", overflow="fold", ratio=1)
    for point in shown_points:
        values = (shown(name, point["values"][name]) for name in document["objectives"])
        parts = (number(point[part]) for part in ("luts", "bram36", "dsp"))
        reported = " (reported)" if point["chosen"] else ""
        table.add_row(str(point["trial"]), *values, *parts, _built(point) + reported)
    return table


def _points_table(document: Mapping[str, Any]) -> Table:
    objectives = document["objectives"]
    shown_points = [point for point in (document["baseline"], *document["front"]) if point is not None]
    has_test = any(point["test"] for point in shown_points)
    table = Table(box=box.SIMPLE_HEAD, title=f"Pareto front of {document['study']}", title_justify="left")
    table.add_column("trial", justify="right", no_wrap=True)
    for name in objectives:
        table.add_column(HEADS[name], justify="right", no_wrap=True)
        table.add_column("change", justify="right", no_wrap=True)
    if has_test:
        table.add_column("test %", justify="right", no_wrap=True)
    table.add_column("net alone*", justify="right", no_wrap=True)
    table.add_column("parameters", overflow="fold", ratio=1)
    for point in shown_points:
        table.add_row(*_front_cells(point, document["baseline"], objectives, has_test=has_test))
    return table


FRONT_NOTE = (
    "* latency of the same network on the baseline's accelerator: what the network gained, without the hardware"
)


def studies_table(statuses: Iterable[Mapping[str, Any]]) -> Table:
    """All studies, a line each."""
    table = Table(box=box.SIMPLE_HEAD)
    for head in ("study", "state", "trials", "failed", "front", "hypervolume"):
        table.add_column(head, justify="left" if head in ("study", "state") else "right")
    for status in statuses:
        trials = status["trials"]
        table.add_row(
            status["study"], _state(status), f"{_ended(trials)}/{trials['asked'] or '–'}", str(trials["failed"]),
            str(status["front_size"]), number(status["hypervolume"]),
        )  # fmt: skip
    return table


def stopping_words(status: Mapping[str, Any]) -> str:
    """How many trials were stopped early, and how many losers that were not turned out well; empty without any."""
    stopped, spared = status["trials"]["stopped"], status["spared"]
    if not stopped and not spared["complete"]:
        return ""
    words = f"{stopped} of {status['trials']['created']} trials stopped early"
    if spared["complete"]:
        words += f"; of {spared['complete']} losers trained to the end, {spared['on_front']} on the front"
    return words


def trials_table(trials: Sequence[Mapping[str, Any]], objectives: Sequence[str]) -> Table:
    """Every trial of a study, a line each."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("trial", justify="right")
    table.add_column("state")
    for name in objectives:
        table.add_column(HEADS[name], justify="right")
    table.add_column("s", justify="right")
    table.add_column("parameters", overflow="fold")
    for trial in trials:
        values = trial["values"] or {}
        state = trial["state"] + (" (infeasible)" if trial["feasible"] is False else "")
        table.add_row(
            str(trial["trial"]), state, *(shown(name, values.get(name)) for name in objectives),
            number(trial["seconds"]), _params(trial["params"]),
        )  # fmt: skip
    return table


def trial_details(trial: Mapping[str, Any]) -> RenderableType:
    """One trial: parameters, scores, learning curve, and where its accelerator's time and energy go."""
    facts, details = Table.grid(padding=(0, 2)), trial["details"] or {}
    facts.add_row("trial", str(trial["trial"]))
    facts.add_row("state", trial["state"])
    for name, value in trial["params"].items():
        facts.add_row(name, _value(value))
    for name, value in (trial["values"] or {}).items():
        facts.add_row(HEADS.get(name, name), shown(name, value))
    for name, value in (trial["test"] or {}).items():
        facts.add_row(f"test: {HEADS.get(name, name)}", shown(name, value))
    if search := details.get("hardware_search"):
        facts.add_row("accelerator", _found(details["accelerator_chosen"], search))
    if stopped := trial["attributes"].get("stopped"):
        facts.add_row("stopped early", Text(stopped))
    failure = trial["attributes"].get("failure")
    if failure:
        facts.add_row("failure", Text(f"{failure['class']}: {failure['message']}"))
        facts.add_row("", Text(failure["traceback"]))  # brackets in it are no markup
    curve = ", ".join(f"{point['accuracy'] * 100:.1f}" for point in trial["curve"])
    facts.add_row("validation accuracy by epoch, %", curve or "–")
    return Group(facts, layers_table(details["hardware"])) if details else facts


def layers_table(report: Mapping[str, Any]) -> Table:
    """Per layer: cycles by cause, spikes and energy of the mean image."""
    causes = sorted({cause for layer in report["layers"] for cause in layer["causes"]})
    table = Table(box=box.SIMPLE_HEAD, title="accelerator, mean image", title_justify="left")
    for head in ("layer", "cores", "cycles", "share %", *causes, "spikes", "energy µJ"):
        table.add_column(head, justify="left" if head == "layer" else "right")
    for layer in report["layers"]:
        energy = layer["energy_uj"]
        table.add_row(
            layer["name"], str(layer["cores"]), f"{layer['cycles']:.0f}", f"{layer['share'] * 100:.1f}",
            *(f"{layer['causes'].get(cause, 0):.0f}" for cause in causes), number(layer["spikes_per_image"]),
            number(sum(energy.values()) if isinstance(energy, Mapping) else energy),
        )  # fmt: skip
    return table


def live_view(status: Mapping[str, Any], url: str) -> RenderableType:
    """What a run shows while it lasts."""
    trials = status["trials"]
    asked, ended = trials["asked"], _ended(trials)
    head = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=asked or max(1, trials["created"]), completed=ended, width=30)
    eta = "" if status["eta_s"] is None else f"about {_span(status['eta_s'])} left"
    head.add_row(Text(status["study"], style="bold"), bar, f"{ended}/{asked or '–'} trials", eta)
    figures = Text(
        f"front {status['front_size']} points   hypervolume {number(status['hypervolume'])}   "
        f"complete {trials['complete']}   feasible {trials['feasible']}   failed {trials['failed']}"
    )
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("trial", "state", "epoch", "accuracy %", "worker"):
        table.add_column(name, justify="right" if name in ("trial", "epoch", "accuracy %") else "left")
    for lease in status["running"]:
        state = {"train": "training", "test": "test set"}[lease["task"]]
        epoch = f"{lease['epoch']}/{lease['epochs']}" if lease["task"] == "train" else ""
        table.add_row(
            str(lease["trial"]), "waiting for a worker" if lease["expired"] else state, epoch,
            shown("accuracy", lease["accuracy"]), lease["worker"],
        )  # fmt: skip
    return Group(head, figures, table, Text(f"in the browser: {url}", style="dim"))


def shown(name: str, value: float | None) -> str:
    """An objective's value in the unit of its column."""
    if value is None:
        return "–"
    return f"{value * 100:.1f}" if name == "accuracy" else number(value)


def number(value: float | None) -> str:
    """Three significant digits; a dash for the unknown."""
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def changed(name: str, change: float | None) -> str:
    """A change against the baseline with its sign and unit."""
    if change is None:
        return ""
    return f"{change:+.1f} pt" if name == "accuracy" else f"{change:+.0f} %"


def _front_cells(
    point: Mapping[str, Any], baseline: Mapping[str, Any] | None, objectives: Sequence[str], *, has_test: bool
) -> Iterable[str | Text]:
    yield Text("baseline", style="bold") if point is baseline else str(point["trial"])
    changes = point["vs_baseline"] or {}
    for name in objectives:
        yield shown(name, point["values"][name])
        yield "" if point is baseline else _coloured(name, changes.get(name))
    if has_test:
        yield shown("accuracy", (point["test"] or {}).get("accuracy"))
    yield "" if point is baseline else _net_alone(point, baseline)
    chosen = point.get("accelerator_chosen")
    yield ", ".join(filter(None, (_params(point["params"]), chosen and _built(chosen))))


def _net_alone(point: Mapping[str, Any], baseline: Mapping[str, Any] | None) -> str | Text:
    again = point["on_baseline_accelerator"]
    if again is None or baseline is None or baseline["on_baseline_accelerator"] is None:
        return "–"
    before = baseline["on_baseline_accelerator"]["latency_ms"]
    return _coloured("latency_ms", (again["latency_ms"] / before - 1) * 100)


def _coloured(name: str, change: float | None) -> Text:
    is_better = change is not None and change != 0 and (change > 0) == (OBJECTIVES[name] == "maximize")
    return Text(changed(name, change), style="green" if is_better else "yellow")


def _state(status: Mapping[str, Any]) -> str:
    is_idle = status["state"] == "running" and all(lease["expired"] for lease in status["running"])
    return "waiting for workers" if is_idle else str(status["state"])


def _params(params: Mapping[str, Any]) -> str:
    """Parameters in one line; the cores of all layers together."""
    cores = {name.rpartition(".")[2]: value for name, value in params.items() if name.startswith(_CORES)}
    words = [f"{_short(name)} {_value(value)}" for name, value in params.items() if not name.startswith(_CORES)]
    layers = [f"{int(layer) + 1}:{value}" for layer, value in sorted(cores.items(), key=lambda item: int(item[0]))]
    return ", ".join([*words, f"cores {' '.join(layers)}"] if layers else words)


def _built(accelerator: Mapping[str, Any]) -> str:
    """Cores of every layer of an accelerator, as `_params` writes them."""
    return "cores " + " ".join(f"{layer}:{cores}" for layer, cores in enumerate(accelerator["neural_cores"], start=1))


def _found(chosen: Mapping[str, Any], search: Mapping[str, Any]) -> str:
    """An accelerator with what it was chosen by, and out of how many."""
    if search["shortage"]:
        return f"{_built(chosen)}, which needs least: {search['shortage']}"
    return f"{_built(chosen)}: {search['report']} of {search['accelerators']:,} accelerators"


def _evenly(points: Sequence[Any], count: int) -> Iterator[Any]:
    """So many of the points, both ends among them, at even distances in the list."""
    for index in range(count):
        yield points[round(index * (len(points) - 1) / (count - 1))]


def _short(name: str) -> str:
    return name.removeprefix("train.").removeprefix("accelerator.")


def _value(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _ended(trials: Mapping[str, int]) -> int:
    return trials["complete"] + trials["failed"] + trials["stopped"]


def _span(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
