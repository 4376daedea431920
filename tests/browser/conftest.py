"""A real Chromium on a real socket. A page that complains, breaks its CSP or leaves its origin fails the test."""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response
from playwright.sync_api import Browser, ConsoleMessage, Page, Route, sync_playwright

from service.errors import ServiceError
from service.gate import problem
from service.routes import pages, studies
from tests.support.synthetic import FakeStudies

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Watch:
    """What a page must not do. `allowed` holds parts of console messages that a test expects."""

    allowed: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    origin: str = ""

    def console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(part in message.text for part in self.allowed):
            self.seen.append(f"console {message.type}: {message.text}")

    def error(self, error: Any) -> None:
        self.seen.append(f"uncaught: {error}")

    def route(self, route: Route) -> None:
        url = urlsplit(route.request.url)
        if url.scheme in ("data", "blob") or f"{url.scheme}://{url.netloc}" == self.origin:
            route.continue_()
        else:
            self.seen.append(f"request left the origin: {route.request.url}")
            route.abort()


@pytest.fixture(scope="package")  # no longer: playwright keeps an event loop running in this thread
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert path, "no Chromium is installed; install the system's package `chromium`"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS, headless=True)
        yield browser
        browser.close()


@pytest.fixture
def watch() -> Watch:
    return Watch()


OpenPage = Callable[..., Page]
Theme = Literal["light", "dark"]


@pytest.fixture
def browser_page(request: pytest.FixtureRequest, browser: Browser, watch: Watch) -> Iterator[OpenPage]:
    """Open a page at a URL: `browser_page(url, width=390, theme="dark")`. Its context keeps no state between tests.

    A fixture called `site`, which serves the pages, is set up before: pages close before their server does.
    """
    if "site" in request.fixturenames:
        request.getfixturevalue("site")
    contexts = []

    def open_page(url: str, *, width: int = 1280, height: int = 900, theme: Theme = "light", **more: Any) -> Page:
        parts = urlsplit(url)
        watch.origin = f"{parts.scheme}://{parts.netloc}"
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme, **more)
        contexts.append(context)
        page = context.new_page()
        page.on("console", watch.console)
        page.on("pageerror", watch.error)
        page.route("**/*", watch.route)
        page.goto(url, wait_until="domcontentloaded")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert watch.seen == []


@contextlib.contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an ASGI application on a free port of the loopback; the URL has no slash at the end."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        config = uvicorn.Config(app, log_level="critical", lifespan="off", ws="none", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=20)


def pages_app(fake: FakeStudies) -> FastAPI:
    """The pages and the API they call, over synthetic studies."""
    app = FastAPI()
    app.include_router(studies.router(fake))  # type: ignore[arg-type]
    app.include_router(pages.router(fake))  # type: ignore[arg-type]

    @app.exception_handler(ServiceError)
    def service_error(request: Request, error: ServiceError) -> Response:
        return problem(error.status, str(error))

    return app
