"""The gate before every route: host, login, origin, role, and headers that every answer carries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response

from service.auth import COOKIE, Auth, check_role, is_own_origin, is_under, needed_role
from service.dashboard import is_read_only
from service.errors import NotAllowed, ServiceError, TooLarge

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

PUBLIC = ("/healthz", "/login", "/login.css")
OURS = ("/v1", "/ui", "/healthz", "/login", "/logout", "/openapi.json", "/metrics")
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
MAX_JSON_BYTES = 8 * 1024 * 1024
PROBLEM = "application/problem+json"

_FIELDS = {"type": "string", "title": "string", "status": "integer", "detail": "string"}
_SCHEMA = {
    "type": "object",
    "properties": {name: {"type": kind} for name, kind in _FIELDS.items()},
    "required": list(_FIELDS),
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {
        "description": "The request is refused, and nothing of it stored.",
        "content": {PROBLEM: {"schema": _SCHEMA}},
    },
    503: {"description": "The database is away for now; try again.", "content": {PROBLEM: {"schema": _SCHEMA}}},
}
"""What every operation may answer, as the OpenAPI document says it."""


class Gate:
    """ASGI middleware around the whole application.

    Args:
        app: The application behind it.
        auth: Tokens and cookies.
        loopback_only: The server is bound to loopback: other Host names are refused, which stops DNS rebinding.
    """

    def __init__(self, app: Any, auth: Auth, *, loopback_only: bool) -> None:
        self._app, self._auth, self._loopback_only = app, auth, loopback_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
            if not _is_blob(scope):
                receive = await _bounded(receive)
        except ServiceError as error:
            await self._refuse(error, scope)(scope, receive, send)
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Referrer-Policy", "same-origin")
                headers.setdefault("X-Frame-Options", "DENY")
            await send(message)

        await self._app(scope, receive, with_headers)

    def _check(self, scope: Scope) -> None:
        headers, method, path = Headers(scope=scope), scope["method"], scope["path"]
        host = headers.get("host", "")
        if self._loopback_only and host.rpartition(":")[0] not in LOOPBACK and host not in LOOPBACK:
            raise _status(ServiceError(f"this server answers to 127.0.0.1 and localhost only, not to {host!r}"), 421)
        if path in PUBLIC and method in ("GET", "HEAD"):
            return
        origin = headers.get("origin")
        if method not in ("GET", "HEAD") and origin is not None and not is_own_origin(origin, host):
            raise _status(NotAllowed(f"requests from {origin!r} are refused"), 403)
        length = headers.get("content-length", "0")
        if not _is_blob(scope) and not (length.isascii() and length.isdigit() and int(length[:20]) <= MAX_JSON_BYTES):
            raise _too_large()
        if path in PUBLIC:
            return
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE)
        check_role(self._auth.role(headers.get("authorization"), cookie), needed_role(method, path))
        if not any(is_under(path, root) for root in OURS) and not is_read_only(method, path):
            raise _status(
                NotAllowed("the dashboard only looks; start, stop and resume from /ui or the command line"), 403
            )

    def _refuse(self, error: ServiceError, scope: Scope) -> Response:
        wants_page = "text/html" in Headers(scope=scope).get("accept", "")
        if error.status == 401 and wants_page and scope["method"] == "GET":
            target = scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
            return RedirectResponse(f"/login?next={quote(target, safe='')}", status_code=303)
        return problem(error.status, str(error))


def problem(status: int, detail: str) -> JSONResponse:
    """An error as `application/problem+json` (RFC 9457)."""
    titles = {400: "Not valid", 401: "Log in", 403: "Not allowed", 404: "Not found", 409: "Conflict", 413: "Too large"}
    titles |= {421: "Wrong host", 503: "Not available"}
    body = {"type": "about:blank", "title": titles.get(status, "Error"), "status": status, "detail": detail}
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    if status == 503:
        headers["Retry-After"] = "1"
    return JSONResponse(body, status_code=status, media_type=PROBLEM, headers=headers)


async def _bounded(receive: Receive) -> Receive:
    """Read the body whole, so that its bound holds with or without Content-Length, and give it to the application.

    Raises:
        TooLarge: It is larger than `MAX_JSON_BYTES`; the rest is not read.
    """
    messages, size, more = [], 0, True
    while more:
        messages.append(message := await receive())
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
        if size > MAX_JSON_BYTES:
            raise _too_large()
    waiting = iter(messages)

    async def replay() -> Any:
        message = next(waiting, None)
        return await receive() if message is None else message

    return replay


def _is_blob(scope: Scope) -> bool:
    """Whether the body is a checkpoint or weights, which their routes bound themselves."""
    path: str = scope["path"]
    return bool(scope["method"] == "PUT" and path.startswith("/v1/leases/"))


def _too_large() -> TooLarge:
    return TooLarge(f"the body is larger than {MAX_JSON_BYTES} bytes")


def _status(error: ServiceError, status: int) -> ServiceError:
    error.status = status
    return error
