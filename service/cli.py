"""The command line: `spikefront run studies/digits.yaml`, and what goes with it."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Any

import typer

from hwmodel.errors import HwmodelError
from objectives.errors import ObjectivesError
from service import log
from service.cli_admin import admin
from service.cli_hw import hw
from service.console import Json, complain, flushed, news, out, print_json, progress, unwritten, write
from service.errors import RunFailed, ServiceError, Unavailable, UsageError
from service.interrupt import HeldBack
from service.program import program
from service.settings import Settings, load_settings
from storage.errors import StorageError

app = typer.Typer(
    help="Search the hyperparameters of spiking neural networks for accuracy, latency and frames per second per watt "
    "on an event-driven FPGA accelerator.\n\nBegin with: spikefront run studies/digits.yaml",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(hw, name="hw")
app.add_typer(admin, name="admin")

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study.")]
Workers = Annotated[int, typer.Option("--workers", "-w", min=0, max=256, help="Local workers; one core each.")]
Host = Annotated[str, typer.Option(help="Address to listen on; any but loopback needs SPIKEFRONT_TOKEN.")]
Port = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Port to listen on; without it 8600, or any free one.")
]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change a field, such as budget.trials=200.")
]


def _print_version(is_asked: bool) -> None:
    if is_asked:
        write(f"spikefront {installed_version('spikefront')}\n")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """What every command has in common."""


@app.command()
def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A study file; see docs/reference/study-file.md.")],
    workers: Workers = os.cpu_count() or 1,
    host: Host = "127.0.0.1",
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Run a study on this machine: server, workers, live view. Ctrl-C saves; `resume` goes on.

    The same file again goes on with the study, or says that it is complete.
    """
    with HeldBack() as interrupts:
        from objectives.studyfile import load_study
        from service.run import Plan

        study = load_study(file)
        plan = Plan(study.study, (file.read_text(encoding="utf-8"), str(file)), {}, workers, _checked(host), port)
        _run(plan, as_json, interrupts)


@app.command()
def resume(
    study: StudyName,
    sets: Sets = None,
    workers: Workers = os.cpu_count() or 1,
    host: Host = "127.0.0.1",
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Go on with a study that was interrupted, stopped or paused, or whose budget is to be raised.

    Example: spikefront resume digits --set budget.trials=200
    """
    with HeldBack() as interrupts:
        from service.run import Plan

        _run(Plan(study, None, _changes(sets), workers, _checked(host), port), as_json, interrupts)


@app.command()
def stop(study: StudyName) -> None:
    """Stop a study, wherever it runs: its trials are saved and handed back."""
    with _studies() as studies:
        studies.stop(study)
    out.print(f"study {study} is stopped; go on with: {program()} resume {study}")


@app.command()
def serve(host: Host = "127.0.0.1", port: Port = None) -> None:
    """Run the study server alone: pages in the browser, and work for workers anywhere."""
    from service.record import open_record
    from service.server import bind, find_server, serving

    settings = _settings()
    if (other := find_server(settings)) is not None:
        raise UsageError(f"a study server runs already at {other.url}; stop that one, or use another SPIKEFRONT_VAR")
    listener = bind(_checked(host), port)
    with open_record(_database_url(settings), settings.var) as record, serving(record, settings, listener) as running:
        news.print(f"study server at {running.url}; log in with: {running.login_url()}", soft_wrap=True)
        while True:
            signal.pause()


@app.command()
def worker(
    server: Annotated[str | None, typer.Option(help="URL of the study server; or SPIKEFRONT_SERVER.")] = None,
    study: Annotated[str | None, typer.Option(help="Work for this study only, and end with it.")] = None,
    name: Annotated[str | None, typer.Option(help="Name shown to people; host and process by default.")] = None,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Work for a study server: lease trials, train, report. SIGTERM or Ctrl-C saves and hands over.

    The token comes from SPIKEFRONT_TOKEN or SPIKEFRONT_WORKER_TOKEN; no database is needed here.
    """
    settings = _settings()
    url = server or settings.server
    token = settings.worker_token or settings.token
    if url is None or not url.startswith(("http://", "https://")):
        raise UsageError("no study server: give --server http://HOST:8600, or set SPIKEFRONT_SERVER")
    if token is None:
        raise UsageError("no token: set SPIKEFRONT_TOKEN (or SPIKEFRONT_WORKER_TOKEN) to the server's")
    log.set_up()
    _work(url, token.get_secret_value(), study, name, parent, settings)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A study file.")],
    estimate: Annotated[bool, typer.Option(help="Train a few batches to estimate the cost.")] = True,
    workers: Workers = os.cpu_count() or 1,
    as_json: Json = False,
) -> None:
    """Check a study file and estimate what running it costs; nothing is stored."""
    from objectives.studyfile import load_study
    from service.estimate import describe_study, estimate_cost

    study = load_study(file)
    facts = describe_study(study)
    if estimate:
        facts |= estimate_cost(study, _settings().data_folder, workers)
    if as_json:
        print_json(facts)
        return
    out.print(f"{file}: valid")
    for fact, value in facts.items():
        out.print(f"  {fact.replace('_', ' ')}: {value}")


@app.command("studies")
def list_studies(as_json: Json = False) -> None:
    """List all studies."""
    from service.tables import studies_table

    with _studies() as studies:
        documents = [studies.status(name).document() for name in studies.names()]
    if as_json:
        print_json(documents)
    elif documents:
        out.print(studies_table(documents))
    else:
        out.print(f"no study yet; start one: {program()} run studies/digits.yaml")


@app.command()
def show(
    study: StudyName,
    trial: Annotated[int | None, typer.Argument(metavar="TRIAL", help="Number of a trial.")] = None,
    as_json: Json = False,
) -> None:
    """Show a study and its trials, or one trial with its learning curve and its accelerator's report."""
    from service.tables import stopping_words, studies_table, trial_details, trials_table

    with _studies() as studies:
        if trial is not None:
            document = studies.trial(study, trial)
            print_json(document) if as_json else out.print(trial_details(document))
            return
        status = studies.status(study).document()
        trials, objectives = studies.trials(study), studies.spec(study).objectives
    if as_json:
        print_json({**status, "list": trials})
        return
    out.print(studies_table([status]))
    for words in (status["reason"], stopping_words(status)):
        if words:
            out.print(words)
    out.print(trials_table(trials, objectives))


@app.command()
def pareto(
    study: StudyName,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="Only points that keep it: a cost at most, a gain at least; repeat it."
        ),
    ] = None,
    best: Annotated[str | None, typer.Option(metavar="NAME", help="Name the best point in this objective.")] = None,
    as_json: Json = False,
) -> None:
    """Print a study's Pareto front, each point with its change against the baseline.

    Example: spikefront pareto digits --limit latency_ms=0.5 --best accuracy
    """
    from service.assignments import numbers
    from service.choosing import chosen

    limits = numbers(limit or [], "--limit", "latency_ms=0.5")
    with _studies() as studies:
        _print_front(chosen(studies.front(study).document(), limits, best), as_json)


@app.command()
def export(
    what: Annotated[
        str, typer.Argument(metavar="STUDY|TRIAL", help="A study's front; or a trial as STUDY/NUMBER: digits/17.")
    ],
    form: Annotated[str, typer.Option("--format", "-f", help="Of a front: csv, json or markdown.")] = "csv",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="File for a front, stdout without it; folder for a trial, STUDY-NUMBER without it."
        ),
    ] = None,
    trial: Annotated[int | None, typer.Option(help="Export this trial of a study; the same as STUDY/NUMBER.")] = None,
) -> None:
    """Export a front as a table, or a trial as a folder: network, accelerator, activity, NIR graphs, model card.

    Example: spikefront export digits/17 --output folder
    """
    from service.export import export_trial, front_text

    settings, named = _settings(), _trial_named(what) if trial is None else (what, trial)
    with _studies() as studies:
        if named is not None:
            folder = output or Path(f"{named[0]}-{named[1]}")
            exported = export_trial(studies, settings.var / "artifacts", settings.data_folder, named, folder)
            out.print("\n".join(map(str, exported.files)), soft_wrap=True)
            out.print("\n".join(exported.notes), soft_wrap=True, highlight=False)
            return
        text = front_text(studies.front(what), form)
    if output is None:
        write(text)
    else:
        output.write_text(text, encoding="utf-8")


@app.command("replay")
def replay_trial(
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="A complete trial as STUDY/NUMBER, such as digits/17.")],
    as_json: Json = False,
) -> None:
    """Train a trial again from its record, and say whether it comes out equal bit for bit; exits 1 when it does not.

    Example: spikefront replay digits/17
    """
    from service.record import open_record
    from service.replay import replay

    settings, named = _settings(), _trial_named(trial)
    if named is None:
        raise UsageError(f"{trial}: expected a trial as STUDY/NUMBER, such as digits/17")
    with open_record(_database_url(settings), settings.var) as record:
        done = replay(
            record,
            settings.var,
            settings.data_folder,
            named,
            shown=lambda epoch: None if as_json else out.print(epoch.line(), highlight=False),
        )
    if as_json:
        print_json(done.document())
    else:
        out.print(done.summary(), soft_wrap=True, highlight=False)
    if not done.is_bit_equal:
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; our own errors become one line and an exit code."""
    log.set_up(logging.WARNING)
    signal.signal(signal.SIGTERM, _interrupt)
    code = _ended()
    refused = flushed()
    if refused is not None and code in (None, 0):
        code = _unwritten(refused)
    sys.exit(code)


def _ended() -> str | int | None:
    """Run the command; its exit code, as `SystemExit` has it."""
    try:
        app()
    except SystemExit as ended:
        return ended.code
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    except (RunFailed, Unavailable) as error:
        complain(str(error))
        return 1
    except (ServiceError, ObjectivesError, HwmodelError, StorageError) as error:
        complain(str(error))
        return 2
    except OSError as error:
        if flushed() is None:
            raise  # nothing is wrong with stdout
        return _unwritten(error)
    return 0


def _unwritten(error: OSError) -> int:
    """Exit code of a command whose result could not be written; a reader that left needs no words."""
    if not isinstance(error, BrokenPipeError):
        complain(unwritten(error))
    return 1


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _settings() -> Settings:
    return load_settings()


def _database_url(settings: Settings) -> str | None:
    return settings.database_url.get_secret_value() if settings.database_url else None


def _checked(host: str) -> str:
    if host not in ("127.0.0.1", "localhost", "::1") and not _settings().token:
        raise UsageError(f"--host {host} is not loopback: set SPIKEFRONT_TOKEN to a secret of yours first")
    return host


def _trial_named(text: str) -> tuple[str, int] | None:
    """Study and number of a trial such as `digits/17`; None of anything else."""
    study, _, number = text.rpartition("/")
    return (study, int(number)) if study and number.isascii() and number.isdecimal() else None


def _changes(sets: list[str] | None) -> dict[str, Any]:
    from pydantic import ValidationError

    from service import wire

    changes: dict[str, Any] = {}
    for item in sets or []:
        name, equals, value = item.partition("=")
        if not equals:
            raise UsageError(f"--set {item}: expected FIELD=VALUE, such as budget.trials=200")
        try:
            changes[name] = json.loads(value)
        except ValueError:
            changes[name] = value
    try:
        return wire.Change(set=changes).set
    except ValidationError as error:
        name = ".".join(map(str, error.errors()[0]["loc"][1:2]))
        raise UsageError(f"--set {name}: expected a number, true, false or text, as in budget.trials=200") from error


def _run(plan: Any, as_json: bool, interrupts: HeldBack) -> None:
    from service.run import run as run_plan

    document = run_plan(plan, _settings(), progress, interrupts)
    _print_front(document, as_json)
    if not as_json:
        out.print(f"the front again:  {program()} pareto {plan.study}\n"
                  f"in the browser:   {program()} serve\n"
                  "read on:          README.md, docs/architecture.md", soft_wrap=True)  # fmt: skip


def _work(url: str, token: str, study: str | None, name: str | None, parent: int | None, settings: Settings) -> None:
    from service.client import Client
    from service.worker import Place, Worker, default_name

    place_name = name or default_name()
    place = Place(place_name, settings.data_folder, settings.var / "spool" / place_name, parent)
    client = Client(url, token)
    working = Worker(client, place, study)
    client.in_hurry = working.is_stopping
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: working.stop())
    try:
        reason = working.run()
    finally:
        client.close()
    logging.getLogger(__name__).warning("worker %s ends: %s", place_name, reason)


@contextmanager
def _studies() -> Iterator[Any]:
    from service.record import open_record
    from service.studies import Studies

    settings = _settings()
    with open_record(_database_url(settings), settings.var) as record:
        yield Studies(record)


def _print_front(document: dict[str, Any], as_json: bool) -> None:
    from service.tables import front_table, front_words

    if as_json:
        print_json(document)
        return
    out.print(front_table(document))
    for words in front_words(document):
        out.print(words)


if __name__ == "__main__":
    main()
