"""The documentation: generated pages are current, commands and settings exist, nothing is left out, no link is dead."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from fastapi.routing import APIRoute

from objectives.spec import Study
from objectives.studyfile import load_study
from service import lease
from service.cli import app
from service.routes import leases as lease_routes
from service.settings import Settings
from storage import tables

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TOLD = [page for page in PAGES if page.parent.name in ("howto",) or page.name in ("README.md", "architecture.md")]
SCRIPTS = [ROOT / "docker-compose.yml", ROOT / "Dockerfile"]
SOURCES = [path for name in ("service", "objectives", "hwmodel", "storage") for path in (ROOT / name).rglob("*.py")]
LINK = re.compile(r"\[(?:[^\]\[]|\[[^\]]*\])*\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
CALL = re.compile(r"""(?:^|[\s"'`(/])spikefront (?P<words>[a-z][^\n`|>&;"#)]*)""")
STUDY_NAME = "a-study"


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _fenced(page: Path) -> str:
    """Commands of a page: its shell blocks, continued lines joined."""
    text = page.read_text(encoding="utf-8")
    return "\n".join(match["text"] for match in FENCE.finditer(text) if match["kind"] == "sh").replace("\\\n", " ")


def _prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def _quoted(page: Path) -> str:
    """What stands between backticks, a piece a line."""
    return "\n".join(re.findall(r"`([^`]+)`", _prose(page))).replace("\\\n", " ")


def _split(words: list[str]) -> tuple[Any, str, list[str]]:
    """The command that words name, its name, and the arguments left."""
    command: Any = typer.main.get_command(app)
    name = "spikefront"
    while hasattr(command, "commands"):
        assert words, f"{name} needs a command"
        name, *words = words
        assert name in command.commands, f"spikefront has no command {name!r}"
        command = command.commands[name]
    return command, name, words


def _check_options(words: list[str]) -> None:
    command, name, rest = _split(words)
    known = {word for parameter in command.params for word in [*parameter.opts, *parameter.secondary_opts]}
    known |= {"--help", "-h"}
    unknown = [word for word in rest if word.startswith("-") and word.partition("=")[0] not in known]
    assert not unknown, f"spikefront {name} has no option {', '.join(unknown)}"


def _calls(text: str) -> Iterator[list[str]]:
    for match in CALL.finditer(text):
        yield shlex.split(match["words"].strip().rstrip(".,:"), comments=True)


# --- generated pages ---------------------------------------------------------------------------------------------


def test_generated_pages_are_current() -> None:
    stale = [_name(path) for path, text in _generate().pages().items() if path.read_text(encoding="utf-8") != text]
    assert not stale, f"run `make docs`: {', '.join(stale)}"


def test_every_key_of_a_study_stands_on_its_page() -> None:
    page = (ROOT / "docs" / "reference" / "study-file.md").read_text(encoding="utf-8")
    keys = set(Study.model_fields)
    for name, field in Study.model_fields.items():
        keys |= {f"{name}.{inner}" for inner in getattr(field.annotation, "model_fields", {})}
    assert not sorted(key for key in keys if f"| `{key}` |" not in page)


def test_every_setting_stands_on_its_page() -> None:
    page = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    assert not [name for name in Settings.model_fields if f"`SPIKEFRONT_{name.upper()}`" not in page]


def test_every_command_stands_on_its_page() -> None:
    page = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    names = [name for name, _ in _generate().commands(typer.main.get_command(app))]
    assert len(names) > 10
    assert not [name for name in names if f"\n## {name}\n" not in page]


def test_a_field_without_words_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    generate = _generate()
    monkeypatch.delitem(generate.WORDS, "beta")
    with pytest.raises(generate.Undocumented, match="beta"):
        generate.pages()


def test_words_without_a_field_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    generate = _generate()
    monkeypatch.setitem(generate.WORDS, "gone", "A field of old.")
    with pytest.raises(generate.Undocumented, match="gone"):
        generate.pages()


# --- commands, settings, targets ---------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_in_the_text_exist_with_their_options(page: Path) -> None:
    for words in _calls(_quoted(page)):
        _check_options(words)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_to_be_typed_are_complete(page: Path) -> None:
    for words in _calls(_fenced(page)):
        command, name, rest = _split(words)
        command.make_context(name, rest)


def test_pages_that_tell_how_have_commands() -> None:
    assert {page.stem for page in TOLD} >= {
        "README",
        "many-machines",
        "resume",
        "read-a-front",
        "own-postgres",
        "export",
    }
    assert not [_name(page) for page in TOLD if page.name != "architecture.md" and not list(_calls(_fenced(page)))]


def test_a_wrong_command_would_be_found() -> None:
    with pytest.raises(AssertionError, match="no command"):
        _check_options(["lunch"])
    with pytest.raises(AssertionError, match="no option --sett"):
        _check_options(["resume", STUDY_NAME, "--sett"])
    assert list(_calls('sbatch --wrap "spikefront worker --study a | b"')) == [["worker", "--study", "a"]]


@pytest.mark.parametrize("path", [*PAGES, *SCRIPTS], ids=_name)
def test_settings_that_are_named_exist(path: Path) -> None:
    known = {f"SPIKEFRONT_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"SPIKEFRONT_[A-Z_]+[A-Z]", path.read_text(encoding="utf-8"))) <= known


def test_settings_that_the_program_reads_exist() -> None:
    known = {f"SPIKEFRONT_{name.upper()}" for name in Settings.model_fields}
    for path in SOURCES:
        assert set(re.findall(r"SPIKEFRONT_[A-Z_]+[A-Z]", path.read_text(encoding="utf-8"))) <= known, path


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_make_targets_that_are_named_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][\w%-]*):", makefile, re.MULTILINE))
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"`make ([a-z-]+)`", text)) | set(
        re.findall(r"^make ([a-z-]+)", _fenced(page), re.MULTILINE)
    )
    assert {name for name in named if not name.startswith("bench-")} <= targets


# --- nothing left out, nothing dead ------------------------------------------------------------------------------


def test_every_table_and_every_call_of_the_protocol_is_explained() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    names = [table.name for table in tables.metadata.tables.values() if table.schema == tables.SCHEMA]
    assert not [name for name in names if f"`{name}`" not in page]
    routes: Any = lease_routes.router(None, None, None).routes  # type: ignore[arg-type]
    calls = [
        f"{method} {route.path}" for route in routes if isinstance(route, APIRoute) for method in route.methods or ()
    ]
    assert len(calls) > 5
    assert not [call for call in calls if f"`{call}`" not in page]


def test_the_events_of_a_lease_are_explained() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    events = [name for name in ("take", "renew", "release", "end") if callable(getattr(lease, name))]
    assert not [name for name in events if not re.search(rf"\b{name}\b", page)]


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*.yaml")), ids=_name)
def test_studies_that_come_with_the_program_are_valid(path: Path) -> None:
    assert load_study(path).study == path.stem


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_no_link_is_dead(page: Path) -> None:
    for match in LINK.finditer(FENCE.sub("", page.read_text(encoding="utf-8"))):
        target, _, anchor = match["target"].partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        linked = (page.parent / target).resolve() if target else page
        assert linked.exists(), f"{match['target']}: there is no {target}"
        assert not anchor or anchor in _anchors(linked), f"{match['target']}: there is no such heading"


def test_decisions_are_numbered_without_gaps() -> None:
    names = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("*.md"))
    assert [name[:4] for name in names] == [f"{number:04d}" for number in range(1, len(names) + 1)]


def _anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.+)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
