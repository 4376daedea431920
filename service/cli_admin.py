"""The commands `spikefront admin ...`: backups of everything, and single studies as JSON."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from service.console import out
from service.errors import UsageError
from service.settings import Settings, load_settings

admin = typer.Typer(help="Back up, restore, and move studies.", no_args_is_help=True)


@admin.command("backup")
def back_up_all(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The backup to write, a tar file.")],
    force: Annotated[bool, typer.Option("--force", help="Replace FILE when it exists.")] = False,
) -> None:
    """Back up the whole database with its checkpoints and trained networks, while a server works or not.

    Example: spikefront admin backup monday.tar
    """
    from service.backup import back_up

    manifest = back_up(load_settings(), file, force=force)
    out.print(
        f"{file}: {_number(manifest.studies, 'study', 'studies')}, {_number(manifest.trials, 'trial', 'trials')}, "
        f"{_number(len(manifest.artifacts), 'artifact', 'artifacts')}; {file.stat().st_size / 1e6:.1f} MB",
        soft_wrap=True,
    )


@admin.command("restore")
def restore_all(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")],
    force: Annotated[bool, typer.Option("--force", help="Lose the studies that the database holds.")] = False,
) -> None:
    """Restore a backup into the database and the var folder of this environment; no server may run there.

    Trials that were running then go on from their checkpoints with `resume`.

    Example: spikefront admin restore monday.tar
    """
    from service.backup import restore

    done = restore(load_settings(), file, force=force)
    for count in done.lost:
        out.print(f"lost: {count.name}, {_number(count.trials, 'trial', 'trials')}", soft_wrap=True)
    made = f"{done.manifest.created:%Y-%m-%d %H:%M} UTC"
    out.print(
        f"restored as of {made}: {_number(done.manifest.studies, 'study', 'studies')}, "
        f"{_number(done.manifest.trials, 'trial', 'trials')}, "
        f"{_number(len(done.manifest.artifacts), 'artifact', 'artifacts')}",
        soft_wrap=True,
    )


@admin.command("export")
def export_study(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study.")],
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The JSON file to write, replaced when it exists.")
    ] = None,
) -> None:
    """Write a study as one JSON document, to FILE or to stdout; checkpoints and trained networks are not part of it.

    Example: spikefront admin export digits digits.json
    """
    from service.record import open_record
    from service.studyjson import export_text

    settings = load_settings()
    with open_record(_database_url(settings), settings.var) as record:
        text = export_text(record, study)
    if file is None:
        sys.stdout.write(text)
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror}; give another FILE") from error


@admin.command("import")
def import_study(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A study as `spikefront admin export` wrote it.")],
    name: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Another name; that in the file without it.")
    ] = None,
) -> None:
    """Read a study from JSON into this database: its trials, scores, curves and events, without trained networks.

    Example: spikefront admin import digits.json --as digits-of-monday
    """
    from service.record import open_record
    from service.studyjson import import_study as import_into
    from service.studyjson import read_document

    settings, document = load_settings(), read_document(file, name)
    with open_record(_database_url(settings), settings.var) as record:
        import_into(record, document)
    stored = document.study
    out.print(
        f"study {stored.name}: {_number(len(document.trials), 'trial', 'trials')}, {stored.state}", soft_wrap=True
    )


def _database_url(settings: Settings) -> str | None:
    return settings.database_url.get_secret_value() if settings.database_url else None


def _number(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
