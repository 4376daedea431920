"""Run the study server in this process: bind, serve from a thread, tell others where it is."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn

from service.app import create_app
from service.auth import Auth, load_auth
from service.errors import RunFailed, UsageError
from service.record import Record
from service.settings import Settings
from storage.ownership import Ownership

log = logging.getLogger(__name__)

DEFAULT_PORT = 8600
START_S = 30.0
STOP_S = 10.0


@dataclass(frozen=True)
class Running:
    """A study server that answers.

    Attributes:
        url: Such as http://127.0.0.1:8600.
        auth: Its tokens; None for a server in another process.
    """

    url: str
    auth: Auth | None

    def login_url(self, path: str = "/ui") -> str:
        """A link that logs a browser in once; without the server's keys, the page itself."""
        return (
            f"{self.url}{path}" if self.auth is None else f"{self.url}/login?key={self.auth.one_time_key()}&next={path}"
        )


def bind(host: str, port: int | None) -> socket.socket:
    """A listening socket; without a port the usual one, or any other when that is taken.

    Raises:
        UsageError: The port is in use, or the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio turns Nagle's algorithm off: an answer's body would wait 40 ms for an ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for candidate in (port,) if port is not None else (DEFAULT_PORT, 0):
        try:
            listener.bind((host, candidate))
        except OSError as error:
            reason = error.strerror or str(error)
            continue
        listener.listen(128)
        listener.set_inheritable(False)
        return listener
    listener.close()
    raise UsageError(f"cannot listen on {host}:{port}: {reason}; give another --port (or --host)")


@contextlib.contextmanager
def serving(record: Record, settings: Settings, listener: socket.socket) -> Iterator[Running]:
    """Serve in a thread until the block ends.

    Raises:
        RunFailed: The server did not come up.
    """
    host, port = listener.getsockname()[:2]
    auth = load_auth(settings)
    instance = secrets.token_hex(8)
    ownership = Ownership(record.engine, lease_s=settings.lease_s)
    app = create_app(record, auth, settings, ownership, instance, loopback_only=host in ("127.0.0.1", "::1"))
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=2, server_header=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="server", daemon=True)
    thread.start()
    deadline = time.monotonic() + START_S
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RunFailed(f"the server did not come up on {host}:{port}; see the log")
        time.sleep(0.02)
    shown = f"[{host}]" if ":" in host else "127.0.0.1" if host == "0.0.0.0" else host
    running = Running(f"http://{shown}:{port}", auth)
    note = _write_note(settings.var, running.url, instance)
    try:
        with record.kept_alive(), ownership.kept():
            yield running
    finally:
        note.unlink(missing_ok=True)
        server.should_exit = True
        thread.join(STOP_S)
        listener.close()


def find_server(settings: Settings) -> Running | None:
    """The server that works on this var folder already, if one answers."""
    try:
        note = json.loads((settings.var / "server.json").read_text())
        url = str(note["url"])
        answer = httpx.get(f"{url}/healthz", timeout=5.0)
        is_the_one = answer.is_success and answer.json()["instance"] == note["instance"]
    except (OSError, ValueError, KeyError, TypeError, httpx.HTTPError):
        return None
    return Running(url, None) if is_the_one else None


def _write_note(var: Path, url: str, instance: str) -> Path:
    path = var / "server.json"
    temporary = path.with_suffix(f".{os.getpid()}.part")
    temporary.write_text(json.dumps({"url": url, "pid": os.getpid(), "instance": instance}))
    temporary.replace(path)
    return path
