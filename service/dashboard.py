"""Optuna's dashboard behind our login, with Optuna 5's constraints shown and a front of feasible trials."""

from __future__ import annotations

import threading
from typing import Any

from a2wsgi import WSGIMiddleware
from optuna.storages import BaseStorage
from starlette.concurrency import run_in_threadpool


class Dashboard:
    """The dashboard as an ASGI application, to be mounted at `/` after every other route.

    It is imported with the first request: it loads scikit-learn, which would hold up every start of a server.
    """

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage
        self._app: Any = None
        self._loading = threading.Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        app = self._app or await run_in_threadpool(self._load)
        await app(scope, receive, send)

    def _load(self) -> Any:
        with self._loading:
            if self._app is None:
                from service.poll import mended

                self._app = WSGIMiddleware(mended(self._storage), workers=4)
            return self._app


def is_read_only(method: str, path: str) -> bool:
    """Whether a request to the dashboard changes no trial and no study; notes may be written."""
    return method in ("GET", "HEAD") or (method == "PUT" and path.endswith("/note"))
