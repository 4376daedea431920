"""Dockerfile and docker-compose.yml: what they promise, and their very commands run as processes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
import yaml

from service.cli import app
from service.settings import Settings
from tests.support.postgres import eventually, execute, shared_server
from tests.support.studies import study_text

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
SECRETS = {name: f"{name.lower().replace('_', '-')}-of-the-test" for name in ("SPIKEFRONT_TOKEN", "SPIKEFRONT_WORKER_TOKEN")}
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
    rules = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
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
    """The services of the compose file as processes of this machine, under free ports."""

    def __init__(self, folder: Path, postgres_port: str) -> None:
        self.folder = folder
        self.port = free_port()
        self._addresses = {
            "@postgres:5432/": f"@127.0.0.1:{postgres_port}/",
            "http://server:8600": self.url,
            "http://127.0.0.1:8600": self.url,
        }

    @property
    def url(self) -> str:
        """Of the server."""
        return f"http://127.0.0.1:{self.port}"

    def environment(self, service: str, var: str) -> dict[str, str]:
        """The service's environment over that of the test, which keeps no setting of ours."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("SPIKEFRONT_")}
        given = {name: self._here(interpolated(value, SECRETS)) for name, value in SERVICES[service]["environment"].items()}
        folders = {"SPIKEFRONT_VAR": str(self.folder / var), "SPIKEFRONT_DATA": str(self.folder / "data")}
        return {**own, "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1", **given, **folders}

    @contextmanager
    def process(self, service: str, var: str) -> Iterator[subprocess.Popen[bytes]]:
        """The service's command; ended by SIGTERM, as `docker compose stop` does."""
        command = [sys.executable, "-m", "service.cli", *map(self._here, SERVICES[service]["command"][1:])]
        with (self.folder / f"{var}.log").open("wb") as log:
            running = subprocess.Popen(command, env=self.environment(service, var), stdout=log, stderr=log)
        try:
            yield running
        finally:
            running.send_signal(signal.SIGTERM)
            try:
                running.wait(30)
            finally:
                running.kill()

    def is_healthy(self) -> bool:
        """The server's health check, as it stands in the file."""
        words = SERVICES["server"]["healthcheck"]["test"]
        assert words[:2] == ["CMD", "python"]
        checked = subprocess.run([sys.executable, *map(self._here, words[2:])], capture_output=True, check=False)
        return checked.returncode == 0

    def log(self) -> str:
        """The server's log."""
        return (self.folder / "server.log").read_text(encoding="utf-8")

    def _here(self, word: str) -> str:
        for there, here in self._addresses.items():
            word = word.replace(there, here)
        return str(self.port) if word == "8600" else word


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack whose Postgres is set up as the image `postgres` does from its environment."""
    given = {name: interpolated(value, SECRETS) for name, value in SERVICES["postgres"]["environment"].items()}
    with shared_server() as server:
        execute(server, f"CREATE ROLE {given['POSTGRES_USER']} LOGIN PASSWORD '{given['POSTGRES_PASSWORD']}'")
        url = execute(server, f"CREATE DATABASE {given['POSTGRES_DB']} OWNER {given['POSTGRES_USER']}")
        yield Stack(tmp_path, url.rpartition("/")[0].rpartition(":")[2])


def test_server_and_two_workers_complete_a_study(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(study_text(budget={"trials": 500}), encoding="utf-8")
    admin = httpx.Client(base_url=stack.url, headers={"Authorization": f"Bearer {SECRETS['SPIKEFRONT_TOKEN']}"}, timeout=30)

    def status() -> dict[str, Any]:
        found: dict[str, Any] = admin.get("/v1/studies/tiny").raise_for_status().json()
        return found

    def workers() -> set[str]:
        trials = admin.get("/v1/studies/tiny/trials").raise_for_status().json()
        return {trial["attributes"]["worker"] for trial in trials if trial["state"] == "complete"}

    assert not stack.is_healthy()
    with admin, stack.process("server", "server") as server:
        eventually(stack.is_healthy, f"the server is healthy: {stack.log()}", LIMIT_S)
        admin.post("/v1/studies", json={"yaml": path.read_text(encoding="utf-8")}).raise_for_status()
        with stack.process("worker", "worker-1") as first, stack.process("worker", "worker-2") as second:
            eventually(lambda: len(workers()) == 2, "both workers have completed a trial", LIMIT_S)
            asked = status()["trials"]["created"] + 2
            change = {"set": {"budget.trials": asked}}
            admin.post("/v1/studies/tiny/resume", json=change).raise_for_status()
            eventually(lambda: status()["state"] == "complete", "the study is complete", LIMIT_S)
        assert (first.returncode, second.returncode) == (0, 0)
        assert {name.rpartition("-")[2] for name in workers()} == {str(first.pid), str(second.pid)}
        assert status()["trials"]["created"] == status()["trials"]["complete"] == asked
        assert_run_in_the_server_follows_the_study(stack, path)
    assert server.returncode == 130
    assert not [secret for secret in SECRETS.values() if secret in stack.log()]


def assert_run_in_the_server_follows_the_study(stack: Stack, path: Path) -> None:
    """`docker compose exec server spikefront run FILE --workers 0`: no second server, no worker, the front."""
    path.write_text(study_text(budget={"trials": 500}), encoding="utf-8")
    command = [sys.executable, "-m", "service.cli", "run", str(path), "--workers", "0"]
    environment = stack.environment("server", "server")
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=LIMIT_S)
    assert "Pareto front of tiny" in shown.stdout
    assert "is complete" in shown.stderr
