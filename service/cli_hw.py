"""The commands `spikefront hw ...`: the accelerator model on trained networks, and beside what was published."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from service.assignments import numbers
from service.console import Json, out, print_json, progress
from service.errors import UsageError
from service.settings import load_settings

if TYPE_CHECKING:
    from service.hardware import Sensitivity, Trained
    from service.record import Record

hw = typer.Typer(help="The accelerator model.", no_args_is_help=True)


class Report(StrEnum):
    """By which figure an accelerator is the best."""

    MIN_LATENCY = "min_latency"
    MAX_FPS_PER_WATT = "max_fps_per_watt"


Network = Annotated[
    str,
    typer.Argument(
        metavar="TRIAL",
        help="A trained network: a trial as STUDY/NUMBER, such as digits/17, or as STUDY NUMBER; "
        "or a checkpoint: the path of a .safetensors file with its settings.json beside it.",
    ),
]
Number = Annotated[int | None, typer.Argument(metavar="NUMBER", min=0, help="The trial's number, after a STUDY.")]
Images = Annotated[int | None, typer.Option(min=1, help="Use the first so many validation images; all without it.")]
Seed = Annotated[
    int | None,
    typer.Option(
        min=0, help="Seed of rate-coded input to a checkpoint; else the exported one, or 0. A trial has its own."
    ),
]

_PARTS = {"luts": "LUT", "flip_flops": "FF", "bram36": "BRAM", "uram": "URAM", "dsp": "DSP"}
_TRIAL = re.compile(r"(?P<study>[a-z0-9][a-z0-9._-]{0,62})/(?P<number>\d{1,9})")


@hw.command("simulate")
def simulate_network(
    trial: Network,
    number: Number = None,
    accelerator: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="YAML with the fields of a study's accelerator; the trial's own without it."),
    ] = None,
    images: Images = None,
    seed: Seed = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Also write the breakdown as an interactive figure.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Simulate a trained network on an accelerator.

    Latency, energy and resources, by layer and cause.

    Example: spikefront hw simulate digits/17 --accelerator small.yaml
    """
    from hwmodel.simulate import simulate
    from hwmodel.table import report_table
    from objectives.acceleratorfile import with_accelerator
    from objectives.hardware import accelerator_of
    from service.hardware import record_activity

    trained = _trained(trial, number, seed)
    if accelerator is not None:
        trained = replace(trained, settings=with_accelerator(trained.settings, accelerator))
    with _working(f"simulating {trained.name}"):
        activity = record_activity(trained, load_settings().data_folder, images)
        report = simulate(accelerator_of(trained.settings), activity.counts).report()
    if figure is not None:
        from hwmodel.figures import breakdown_figure

        _write(figure, breakdown_figure(report).to_html())
    if as_json:
        print_json(report)
        return
    place = "its own accelerator" if accelerator is None else f"the accelerator of {accelerator}"
    shown = f"{activity.accuracy * 100:.1f} % of {len(activity.correct):,} validation images right"
    out.print(f"{trained.name} on {place}: {shown}\n", soft_wrap=True)
    sys.stdout.write(report_table(report))


@hw.command("sweep")
def sweep_network(
    trial: Network,
    number: Number = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PART=NUMBER", help="Use at most so many luts, flip_flops, bram36, uram or dsp; repeatable."
        ),
    ] = None,
    encoders: Annotated[
        str, typer.Option(metavar="DIVISORS", help="Encoder widths to try: the positions of a map divided by each.")
    ] = "4",
    report: Annotated[
        Report | None, typer.Option(help="Also print the breakdown of the accelerator that is best by this.")
    ] = None,
    limit: Annotated[int, typer.Option(min=2, help="Most rows of the table.")] = 20,
    images: Images = None,
    seed: Seed = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Also write the front as an interactive figure.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.csv", help="Also write every point of the front.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Sweep the accelerators that a trained network can have.

    Every number of cores of every layer; the front of those that fit is exact.

    Example: spikefront hw sweep digits/17 --budget luts=20000 --budget bram36=100
    """
    limits, divisors = numbers(budget or [], "--budget", "luts=20000"), _divisors(encoders)

    from hwmodel.figures import sweep_figure
    from hwmodel.table import report_table
    from service.hardware import front_csv, record_activity, swept

    trained = _trained(trial, number, seed)
    with _working(f"sweeping the accelerators of {trained.name}"):
        activity = record_activity(trained, load_settings().data_folder, images)
        sweep = swept(trained, activity, budget=limits, encoder_divisors=divisors)
        document = {"network": trained.name, "budget": limits, **sweep.document(limit)}
    if report is not None:
        document["report"] = sweep.report(report.value)
    if output is not None:
        _write(output, front_csv(sweep.front))
    if figure is not None:
        _write(figure, sweep_figure(document["front"]).to_html())
    if as_json:
        print_json(document)
        return
    _print_sweep(document)
    if report is not None:
        out.print(f"\nbest by {report}:\n")
        sys.stdout.write(report_table(document["report"]))


@hw.command("sensitivity")
def front_sensitivity(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study.")], as_json: Json = False
) -> None:
    """Show how far a front rests on the power constants.

    How many points stay, leave and enter when static power and the energies of events are off by 50 %.
    """
    from service.hardware import study_sensitivity

    with _record() as record:
        found = study_sensitivity(record, study)
    if as_json:
        print_json(found.document())
        return
    out.print(_sensitivity_table(found))
    out.print(found.summary())


@hw.command()
def published(as_json: Json = False) -> None:
    """Print published results beside ours.

    Exits 1 when one that has a tolerance is outside it.
    """
    from hwmodel.published import accelerator_rows, accelerator_table, tlm_rows, tlm_table

    rows = tlm_rows()
    if as_json:
        latencies = [{**asdict(row), "error": row.error, "holds": row.holds} for row in rows]
        print_json({"latencies": latencies, "accelerators": [asdict(row) for row in accelerator_rows()]})
    else:
        _print_markdown(f"## Latencies of the SystemC model, in cycles\n\n{tlm_table()}\n")
        _print_markdown(f"\n## Other accelerators\n\n{accelerator_table()}\n")
    if not all(row.holds for row in rows):
        raise typer.Exit(1)


@hw.command()
def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of test vectors (*.json).")],
    as_json: Json = False,
) -> None:
    """Compare the simulator with the simulated RTL.

    Exits 1 when a cycle count differs.
    """
    from hwmodel.vectors import verify_folder

    verification = verify_folder(folder)
    if as_json:
        print_json({"ok": verification.ok, **asdict(verification)})
    else:
        sys.stdout.write("\n".join(verification.lines()) + "\n")
    if not verification.ok:
        raise typer.Exit(1)


# --- what was asked ------------------------------------------------------------------------------------------------


def _trained(trial: str, number: int | None, seed: int | None) -> Trained:
    match = _TRIAL.fullmatch(trial)
    if number is None and match is not None:
        trial, number = match["study"], int(match["number"])
    if number is None and not trial.endswith(".safetensors"):
        raise UsageError(
            f"{trial}: expected a trial as STUDY/NUMBER, such as digits/17, or the path of a .safetensors file"
        )

    from service.hardware import trained_file, trained_trial

    if number is None:
        return trained_file(Path(trial), seed)
    with _record() as record:
        return trained_trial(record, load_settings().var / "artifacts", trial, number)


def _divisors(encoders: str) -> tuple[int, ...]:
    try:
        return tuple(int(divisor) for divisor in encoders.split(","))
    except ValueError as error:
        raise UsageError(f"--encoders {encoders}: expected whole numbers, such as 2,4,8") from error


@contextmanager
def _record() -> Iterator[Record]:
    from service.record import open_record

    settings = load_settings()
    url = settings.database_url.get_secret_value() if settings.database_url else None
    with open_record(url, settings.var) as record:
        yield record


# --- what is shown -------------------------------------------------------------------------------------------------


def _print_sweep(document: Mapping[str, Any]) -> None:
    front, rows = document["front"], document["trade_off"]
    within = "".join(f", {part} <= {most:,g}" for part, most in document["budget"].items())
    fit = "those that fit" if document["fit"] is None else f"{document['fit']:,} fit"
    out.print(
        f"{document['network']}: {document['swept']:,} accelerators swept, {fit} {front['device']}{within}, "
        f"{document['points']:,} on the exact front\n"
    )
    every = len(front["trade_off"])
    some = "" if len(rows) == every else f"; {len(rows)} of them, evenly chosen (--limit for more)"
    title = "one is the best in latency and FPS/W" if every == 1 else f"{every:,} of these trade latency for FPS/W"
    out.print(_sweep_table(document, title + some))
    for name, row in document["best"].items():
        out.print(f"{name}: {_found(row, document['own'])}")
    if not document["own"]["fits"]:
        out.print("the network's own accelerator does not fit")
    if front["energy_j"] is None:
        out.print(f"FPS/W is unknown: nobody has stated the static power of {front['device']}")


def _sweep_table(document: Mapping[str, Any], title: str) -> Table:
    """The network's own accelerator, then the trade-off; a column that would be 0 or the same in all rows is left out.

    Choices may be folded, numbers not.
    """
    rows = [document["own"], *document["trade_off"]]
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", padding=(0, 0, 0, 1), pad_edge=False)
    choices = {"": ["own", *("= own" if row["is_own"] else "" for row in rows[1:])]}
    choices["cores"] = [_joined(row["neural_cores"]) for row in rows]
    if len({tuple(row["encoder_widths"]) for row in rows}) > 1:
        choices["encoders"] = [_joined(row["encoder_widths"]) for row in rows]
    figures = dict(_figures(rows))
    for head in choices:
        table.add_column(head, min_width=len(head), overflow="fold")
    for head in figures:
        table.add_column(head, justify="right", no_wrap=True)
    for cells in zip(*choices.values(), *figures.values(), strict=True):
        table.add_row(*cells)
    return table


def _figures(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """Columns of numbers: their heads and cells."""
    from hwmodel.table import number, percent, scale

    size, unit = scale(max(row["latency_p95_ms"] for row in rows) / 1e3, "s")
    for name, head, factor in (
        ("latency_ms", unit, 1e-3 / size),
        ("latency_p95_ms", f"p95 {unit}", 1e-3 / size),
        ("fps_per_watt", "FPS/W", 1.0),
        ("energy_uj", "µJ", 1.0),
    ):
        if rows[0][name] is not None:
            largest = max(row[name] for row in rows) * factor
            yield head, [number(row[name] * factor, largest) for row in rows]
    for part, head in _PARTS.items():
        if any(row[part] for row in rows):
            shares = (row["utilisation"][part] for row in rows)
            yield head, ["–" if share is None else percent(share) for share in shares]
    if any(row["hazards"] for row in rows):
        yield "hazards", [f"{row['hazards']:,}" for row in rows]


def _joined(choices: Sequence[int | None]) -> str:
    return " ".join("–" if choice is None else str(choice) for choice in choices)


def _found(row: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """An accelerator in words, with its change against the network's own."""
    from hwmodel.table import number, quantity

    built = f"cores {_joined(row['neural_cores'])}, encoders {_joined(row['encoder_widths'])}"
    figures = [quantity(row["latency_ms"] / 1e3, "s") + _change(row, own, "latency_ms")]
    if row["fps_per_watt"] is not None:
        figures.append(f"{number(row['fps_per_watt'])} FPS/W" + _change(row, own, "fps_per_watt"))
    return ", ".join([built, *figures])


def _change(row: Mapping[str, Any], own: Mapping[str, Any], name: str) -> str:
    return f" ({(row[name] / own[name] - 1) * 100:+.0f} %)"


def _sensitivity_table(found: Sensitivity) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, title=f"front of {found.study}, {found.trials} feasible trials", title_justify="left"
    )
    for head in ("static power", "dynamic energy", "points", "stay", "leave", "enter"):
        table.add_column(head, justify="right")
    for change in found.changes:
        counts = (change.size, change.stay, change.leave, change.enter)
        table.add_row(_factor(change.static_factor), _factor(change.events_factor), *map(str, counts))
    return table


def _factor(factor: float) -> str:
    return "as it is" if factor == 1 else f"{(factor - 1) * 100:+.0f} %"


def _print_markdown(text: str) -> None:
    """As people read it in a terminal, as a document has it in a pipe."""
    if out.is_terminal:
        from rich.markdown import Markdown

        out.print(Markdown(text))
    else:
        sys.stdout.write(text)


@contextmanager
def _working(words: str) -> Iterator[None]:
    with progress.status(words) if progress.is_terminal else nullcontext():
        yield


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror}; give another path") from error
