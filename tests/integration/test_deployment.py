"""Dockerfile and docker-compose.yml: what they promise, and their very commands run as processes."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
import yaml

from service.cli import app
from service.settings import Settings
from tests.support.ports import free_port
from tests.support.postgres import eventually, execute, shared_server
from tests.support.processes import Place, Started
from tests.support.studies import study_text

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
SECRETS = {
    name: f"{name.lower().replace('_', '-')}-of-the-test" for name in ("SPIKEFRONT_TOKEN", "SPIKEFRONT_WORKER_TOKEN")
}
SECRETS["POSTGRES_PASSWORD"] = "0123456789abcdef"
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[?-])(?P<rest>[^}]*))?\}")
LIMIT_S = 100.0


def interpolated(value: str, environment: dict[str, str]) -> str:
    """Compose's substitution, as far as our file uses it: `${NAME:?message}` and `${NAME:-default}`."""

    def one(match: re.Match[str]) -> str:
        if match["name"] in environment:
            return environment[match["name"]]
        assert match["kind"] == "-", f"{match['name']} is missing: {match['rest']}"
        return match["rest"]

    return VARIABLE.sub(one, value)


def instructions(word: str) -> list[str]:
    """Arguments of every instruction of this kind in the Dockerfile, continuation lines joined."""
    lines = [line for line in DOCKERFILE.splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [line.partition(" ")[2].strip() for line in joined if line.partition(" ")[0] == word]


def image_environment() -> dict[str, str]:
    """What ENV sets in the image."""
    return dict(pair.split("=", 1) for line in instructions("ENV") for pair in line.split())


# --- what the compose file promises ------------------------------------------------------------------------------


def test_the_parts_start_in_order_each_when_the_one_before_it_is_healthy() -> None:
    assert SERVICES.keys() == {"postgres", "server", "worker"}
    assert SERVICES["server"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert SERVICES["worker"]["depends_on"] == {"server": {"condition": "service_healthy"}}
    assert SERVICES["postgres"]["healthcheck"]["test"][:2] == ["CMD", "pg_isready"]
    assert "/healthz" in SERVICES["server"]["healthcheck"]["test"][-1]


@pytest.mark.parametrize("name", SERVICES)
def test_services_come_back_and_have_time_to_stop(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"
    assert re.fullmatch(r"\d+s", SERVICES[name]["stop_grace_period"])


def test_secrets_are_required_from_outside_with_words_that_help() -> None:
    required = {match["name"] for match in VARIABLE.finditer(TEXT) if match["kind"] == "?"}
    assert required == SECRETS.keys()
    for match in VARIABLE.finditer(TEXT):
        assert match["kind"] == "-" or len(match["rest"]) > 20, f"{match['name']} has no message"


def test_no_secret_stands_in_a_file_or_on_a_command_line() -> None:
    for service in SERVICES.values():
        assert "$" not in " ".join(service.get("command", []))
        for name, value in service["environment"].items():
            if re.search("TOKEN|PASSWORD|URL", name):
                assert VARIABLE.search(value), f"{name} is written out"
    secret = re.compile("TOKEN|PASSWORD|SECRET|DATABASE_URL")
    assert not [line for word in ("ENV", "ARG") for line in instructions(word) if secret.search(line)]


def test_each_part_gets_only_the_secrets_it_needs() -> None:
    worker = SERVICES["worker"]["environment"]
    assert "SPIKEFRONT_WORKER_TOKEN" in worker
    assert not {"SPIKEFRONT_TOKEN", "SPIKEFRONT_DATABASE_URL"} & worker.keys()
    assert SERVICES["server"]["environment"]["SPIKEFRONT_DATABASE_URL"].startswith("postgresql+psycopg2://")


def test_the_database_of_the_server_is_the_one_that_postgres_sets_up() -> None:
    given = SERVICES["postgres"]["environment"]
    place = f"{given['POSTGRES_USER']}:{given['POSTGRES_PASSWORD']}@postgres:5432/{given['POSTGRES_DB']}"
    assert SERVICES["server"]["environment"]["SPIKEFRONT_DATABASE_URL"] == f"postgresql+psycopg2://{place}"


def test_variables_are_settings_that_exist() -> None:
    known = {f"SPIKEFRONT_{name.upper()}" for name in Settings.model_fields}
    given = {name for service in SERVICES.values() for name in service["environment"]} | image_environment().keys()
    assert {name for name in given if name.startswith("SPIKEFRONT_")} <= known


def test_ports_are_published_on_loopback_only_unless_asked() -> None:
    published = {name: service.get("ports", []) for name, service in SERVICES.items()}
    assert published.keys() - {name for name, ports in published.items() if ports} == {"postgres", "worker"}
    assert [interpolated(port, {}) for port in published["server"]] == ["127.0.0.1:8600:8600"]


def test_the_worker_can_be_scaled() -> None:
    assert not {"container_name", "ports", "hostname"} & SERVICES["worker"].keys()


def test_what_must_last_lies_in_named_volumes() -> None:
    mounts = {name: dict(volume.split(":")[:2] for volume in service["volumes"]) for name, service in SERVICES.items()}
    assert mounts["postgres"]["postgres"] == "/var/lib/postgresql"
    assert mounts["server"]["var"] == image_environment()["SPIKEFRONT_VAR"]
    assert mounts["worker"]["data"] == mounts["server"]["data"] == image_environment()["SPIKEFRONT_DATA"]
    assert COMPOSE["volumes"].keys() == {"postgres", "var", "data"}


@pytest.mark.parametrize("name", ["server", "worker"])
def test_commands_are_commands_of_the_program(name: str) -> None:
    program, command, *arguments = SERVICES[name]["command"]
    assert program in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    typer.main.get_command(app).commands[command].make_context(command, list(arguments))  # type: ignore[attr-defined]


# --- what the image promises -------------------------------------------------------------------------------------


def test_the_image_runs_as_a_user_without_rights() -> None:
    assert instructions("FROM") == ["python:3.11-slim"]
    assert instructions("USER") == ["spikefront"]
    assert DOCKERFILE.index("\nUSER ") < DOCKERFILE.index("\nCMD ")


def test_run_time_folders_of_the_image_belong_to_its_user() -> None:
    environment = image_environment()
    assert environment["PYTHONSAFEPATH"] == "1"
    folders = re.search(r"install -d -o spikefront -g spikefront (.+)", DOCKERFILE)
    assert folders is not None
    assert set(re.findall(r"\$(\w+)", folders[1])) == {"NUMBA_CACHE_DIR", "SPIKEFRONT_VAR", "SPIKEFRONT_DATA"}
    assert all(environment[name].startswith("/var/") for name in re.findall(r"\$(\w+)", folders[1]))


def test_the_builder_gets_what_it_copies_and_nothing_else() -> None:
    rules = [
        line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line and line[0] != "#"
    ]
    assert rules[0] == "*"
    kept = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {source for line in instructions("COPY") for source in line.split()[:-1]}
    assert kept == copied
    assert all((ROOT / name).exists() for name in copied)
    assert not [name for name in (".env", ".git", "var", ".venv") if any(fnmatch(name, rule) for rule in kept)]


def test_the_image_installs_the_tested_versions() -> None:
    assert any("pip install -c constraints.txt ." in line for line in instructions("RUN"))


# --- the very commands, as processes -----------------------------------------------------------------------------


class Stack:
    """The services of the compose file as processes of this machine, under free ports.

    Args:
        folder: For what the processes write.
        database: Stands for the service `postgres`.
    """

    def __init__(self, folder: Path, database: str) -> None:
        self._folder, self._database, self._port = folder, database, free_port()
        self.url = f"http://127.0.0.1:{self._port}"

    def place(self, service: str, name: str) -> Place:
        """A folder and an environment such as the service's."""
        given = {variable: interpolated(value, SECRETS) for variable, value in SERVICES[service]["environment"].items()}
        ours = {
            name.removeprefix("SPIKEFRONT_"): value for name, value in given.items() if name.startswith("SPIKEFRONT_")
        }
        if "DATABASE_URL" in ours:
            ours["DATABASE_URL"] = self._database
        return Place(self._folder / name, settings=ours)

    def start(self, service: str, place: Place) -> Started:
        """The service's command."""
        return place.start(*map(self._here, SERVICES[service]["command"][1:]))

    def is_healthy(self) -> bool:
        """The server's health check, as it stands in the file."""
        words = SERVICES["server"]["healthcheck"]["test"]
        assert words[:2] == ["CMD", "python"]
        checked = subprocess.run([sys.executable, *map(self._here, words[2:])], capture_output=True, check=False)
        return checked.returncode == 0

    def _here(self, word: str) -> str:
        for there in ("http://server:8600", "http://127.0.0.1:8600"):
            word = word.replace(there, self.url)
        return str(self._port) if word == "8600" else word


def _terminated(started: Started) -> int:
    """Exit code after SIGTERM, as `docker compose stop` sends it."""
    started.process.send_signal(signal.SIGTERM)
    return started.wait()


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack on an empty database that belongs to a user without further rights."""
    password = SECRETS["POSTGRES_PASSWORD"]
    with shared_server() as server:
        execute(server, f"CREATE ROLE deployed LOGIN PASSWORD '{password}'")
        url = execute(server, "CREATE DATABASE deployed OWNER deployed")
        address = url.rpartition("@")[2].partition("/")[0]
        yield Stack(tmp_path, f"postgresql+psycopg2://deployed:{password}@{address}/deployed")


def test_server_and_two_workers_complete_a_study(stack: Stack, tmp_path: Path) -> None:
    assert not stack.is_healthy()
    with stack.place("server", "server") as place:
        server = stack.start("server", place)
        eventually(stack.is_healthy, "the server is healthy", LIMIT_S)
        with httpx.Client(
            base_url=stack.url, headers={"Authorization": f"Bearer {SECRETS['SPIKEFRONT_TOKEN']}"}
        ) as admin:
            text = study_text(budget={"trials": 500})
            admin.post("/v1/studies", json={"yaml": text}).raise_for_status()
            _work_to_the_end(stack, admin)
        _follow_in_the_server(place, tmp_path / "tiny.yaml", text)
        assert _terminated(server) == 130
    assert not [secret for secret in SECRETS.values() if secret in server.stdout() + server.stderr()]


def _work_to_the_end(stack: Stack, admin: httpx.Client) -> None:
    """`--scale worker=2`; the budget is cut once both have completed a trial, so that none can come too late."""
    with stack.place("worker", "worker-1") as one, stack.place("worker", "worker-2") as other:
        crew = stack.start("worker", one), stack.start("worker", other)
        eventually(
            lambda: _workers(admin) == {str(worker.pid) for worker in crew}, "both have completed a trial", LIMIT_S
        )
        asked = _get(admin, "/v1/studies/tiny")["trials"]["created"] + 2
        admin.post("/v1/studies/tiny/resume", json={"set": {"budget.trials": asked}}).raise_for_status()
        eventually(lambda: _get(admin, "/v1/studies/tiny")["state"] == "complete", "the study is complete", LIMIT_S)
        assert [_terminated(worker) for worker in crew] == [0, 0]
    counts = _get(admin, "/v1/studies/tiny")["trials"]
    assert counts["complete"] == counts["created"]
    assert counts["created"] >= asked


def _workers(admin: httpx.Client) -> set[str]:
    """Process ids (the end of a worker's name) of those who have completed a trial."""
    trials = _get(admin, "/v1/studies/tiny/trials")
    return {trial["attributes"]["worker"].rpartition("-")[2] for trial in trials if trial["state"] == "complete"}


def _get(admin: httpx.Client, path: str) -> Any:
    return admin.get(path, timeout=30).raise_for_status().json()


def _follow_in_the_server(place: Place, path: Path, text: str) -> None:
    """`docker compose exec server spikefront run FILE --workers 0`: no second server, no worker, the front."""
    path.write_text(text, encoding="utf-8")
    followed = place.run("run", str(path), "--workers", "0")
    assert followed.wait() == 0, followed.stderr()
    assert "Pareto front of tiny" in followed.stdout()
    assert "is complete" in followed.stderr()
