"""`run` and `resume`: a server, local workers, and a view of them until the study ends."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from rich.console import Console
from rich.live import Live

from service.client import Client
from service.crew import Crew
from service.errors import RunFailed
from service.interrupt import HeldBack
from service.program import program
from service.record import open_record
from service.server import Running, bind, find_server, serving
from service.settings import Settings
from service.tables import live_view

POLL_S = 0.5
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Plan:
    """What is to be run.

    Attributes:
        study: Its name.
        yaml: Study file's text and where it came from, to start it; None to resume.
        changes: Fields to change on resume.
        workers: Local workers.
        host: Address to listen on.
        port: Port to listen on; None for any.
    """

    study: str
    yaml: tuple[str, str] | None
    changes: Mapping[str, Any]
    workers: int
    host: str
    port: int | None


@contextlib.contextmanager
def server_for(settings: Settings, host: str, port: int | None) -> Iterator[Running]:
    """The server of this var folder: the one that runs already, else one in this process."""
    running = find_server(settings)
    if running is not None:
        yield running
        return
    url = settings.database_url.get_secret_value() if settings.database_url else None
    listener = bind(host, port)
    with open_record(url, settings.var) as record, serving(record, settings, listener) as own:
        yield own


def run(plan: Plan, settings: Settings, console: Console, interrupts: HeldBack) -> dict[str, Any]:
    """Run a study to its end with local workers.

    Args:
        plan: What is to be run.
        settings: Of this process.
        console: Where progress is shown.
        interrupts: Released once there is a study to resume.

    Returns:
        The front's document.

    Raises:
        RunFailed: The study paused after failures, or workers keep dying.
        ServiceError, SpecError, StorageError: The study, the server or the database cannot be used.
    """
    with server_for(settings, plan.host, plan.port) as running:
        token = _admin_token(settings)
        client = Client(running.url, token, patience_s=PATIENCE_S)
        try:
            _begin(client, plan)
            interrupts.release()
            return _watched(plan, settings, running, token, console)
        except KeyboardInterrupt:
            console.print(f"interrupted; go on with: {program()} resume {plan.study}")
            raise
        finally:
            client.close()


def _begin(client: Client, plan: Plan) -> None:
    if plan.yaml is not None:
        client.start(*plan.yaml)
    client.resume(plan.study, dict(plan.changes))


def _watched(plan: Plan, settings: Settings, running: Running, token: str, console: Console) -> dict[str, Any]:
    view = _View(running.url, token, plan.study)
    if view.status()["state"] == "complete":
        console.print(f"study {plan.study} is complete; raise its budget to go on: "
                      f"{program()} resume {plan.study} --set budget.trials=N")  # fmt: skip
        return view.front()
    worker_token = running.auth.worker_token if running.auth else token
    crew = Crew(running.url, worker_token, plan.study, plan.workers, settings.var)
    link = running.login_url(f"/ui/s/{plan.study}")
    console.print(f"study {plan.study}: {plan.workers} workers; in the browser: {link}", soft_wrap=True)
    crew.start()
    try:
        _follow(view, crew, console, running.url + f"/ui/s/{plan.study}")
    finally:
        with _quiet(console, "saving running trials"):
            crew.stop()
    return view.front()


def _follow(view: _View, crew: Crew, console: Console, url: str) -> None:
    """Show progress until the study is not running any more."""
    shown, seen = console.is_terminal, 0
    with Live(console=console, refresh_per_second=4, transient=True) if shown else contextlib.nullcontext() as live:
        while True:
            status = view.status()
            for event in view.events(seen):
                seen = event["event_id"]
                if live is None or event["kind"] not in ("trial complete", "created", "changed"):
                    console.print(f"{event['at'][11:19]} {event['message']}", highlight=False, soft_wrap=True)
            if live is not None:
                live.update(live_view(status, url))
            if status["state"] == "paused":
                raise RunFailed(f"study {status['study']} is paused: {status['reason']}")
            if status["state"] != "running":
                return
            crew.tend()
            time.sleep(POLL_S)


class _View:
    """What a run asks its server for."""

    def __init__(self, url: str, token: str, study: str) -> None:
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30.0)
        self._path = f"/v1/studies/{study}"

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self._get("")
        return status

    def front(self) -> dict[str, Any]:
        front: dict[str, Any] = self._get("/front")
        return front

    def events(self, after: int) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self._get(f"/events?after={after}")
        return events

    def _get(self, path: str) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                answer = self._http.get(self._path + path)
                answer.raise_for_status()
                return answer.json()
            except (httpx.TransportError, httpx.HTTPStatusError) as error:
                if time.monotonic() > deadline:
                    raise RunFailed(f"the study server does not answer any more: {error}") from error
                time.sleep(POLL_S)


@contextlib.contextmanager
def _quiet(console: Console, words: str) -> Iterator[None]:
    with console.status(words) if console.is_terminal else contextlib.nullcontext():
        yield


def _admin_token(settings: Settings) -> str:
    if settings.token:
        return settings.token.get_secret_value()
    return (settings.var / "token").read_text().strip()
