"""The gate: who gets through to the application behind it, and with which answer the others are sent away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.responses import PlainTextResponse, Response

from service import gate as gate_module
from service.auth import COOKIE, Auth
from service.gate import MAX_JSON_BYTES, PROBLEM, PROBLEMS, Gate, problem
from service.routes import login

URL = "http://127.0.0.1:8600"
ADMIN = {"Authorization": "Bearer a-token"}
WORKER = {"Authorization": "Bearer w-token"}
VIEWER = {"Authorization": "Bearer v-token"}
OWN = {"Origin": URL}


class Client:
    """Calls an application without a socket, and keeps its cookies as a browser does."""

    def __init__(self, app: Any, base_url: str = URL) -> None:
        self.app, self._base_url, self.cookies = app, base_url, httpx.Cookies()

    def request(self, method: str, path: str, **request: Any) -> httpx.Response:
        return asyncio.run(self._request(method, path, **request))

    def get(self, path: str, **request: Any) -> httpx.Response:
        return self.request("GET", path, **request)

    def post(self, path: str, **request: Any) -> httpx.Response:
        return self.request("POST", path, **request)

    def put(self, path: str, **request: Any) -> httpx.Response:
        return self.request("PUT", path, **request)

    async def _request(self, method: str, path: str, **request: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url=self._base_url, cookies=self.cookies) as client:
            answer = await client.request(method, path, **request)
            self.cookies = client.cookies
        return answer


async def _chunks(*parts: bytes) -> AsyncIterator[bytes]:
    """A body without Content-Length."""
    for part in parts:
        yield part


@pytest.fixture
def auth() -> Auth:
    return Auth({"admin": "a-token", "worker": "w-token", "viewer": "v-token"})


def _app(auth: Auth) -> FastAPI:
    app = FastAPI()
    app.include_router(login.router(auth))

    @app.api_route("/{path:path}", methods=["GET", "POST", "PUT", "DELETE"])
    async def anything(request: Request, path: str) -> Response:
        return PlainTextResponse(f"{request.method} {path} {len(await request.body())}")

    return app


@pytest.fixture
def client(auth: Auth) -> Client:
    return Client(Gate(_app(auth), auth, loopback_only=True))


def test_no_token_and_wrong_token_are_401(client: Client) -> None:
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic a-token"}, {"Cookie": f"{COOKIE}=x"}):
        answer = client.get("/v1/studies", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["status"] == 401


@pytest.mark.parametrize(
    ("headers", "method", "path", "status"),
    [
        (VIEWER, "GET", "/v1/studies", 200), (VIEWER, "POST", "/v1/studies", 403), (VIEWER, "POST", "/v1/leases", 403),
        (WORKER, "POST", "/v1/leases", 200), (WORKER, "POST", "/v1/studies", 403), (WORKER, "GET", "/ui", 200),
        (ADMIN, "POST", "/v1/studies", 200), (ADMIN, "POST", "/v1/leases/1/renew", 200),
        (WORKER, "POST", "/v1/leasesx", 403),
    ],
)  # fmt: skip
def test_roles(client: Client, headers: dict[str, str], method: str, path: str, status: int) -> None:
    assert client.request(method, path, headers=headers).status_code == status


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8600", "127.0.0.1.evil.example", "localhost.evil:1", "", "[::2]:8600"]
)
def test_another_host_is_421_even_for_public_pages(client: Client, host: str) -> None:
    for path in ("/healthz", "/login", "/v1/studies"):
        assert client.get(path, headers={**ADMIN, "Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8600", "localhost:1", "localhost", "[::1]:8600", "[::1]"])
def test_loopback_hosts_are_ours(client: Client, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


def test_any_host_is_served_when_bound_elsewhere(auth: Auth) -> None:
    client = Client(Gate(_app(auth), auth, loopback_only=False), "http://lab.example")
    assert client.get("/v1/studies", headers=VIEWER).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:8601", "http://[", "", "127.0.0.1:8600"]
)
@pytest.mark.parametrize("path", ["/v1/studies", "/login", "/logout", "/v1/leases"])
def test_a_foreign_origin_is_403_on_writes(client: Client, path: str, origin: str) -> None:
    assert client.post(path, headers={**ADMIN, "Origin": origin}).status_code == 403


def test_own_origin_none_and_reads_are_let_through(client: Client) -> None:
    assert client.post("/v1/studies", headers={**ADMIN, **OWN}).status_code == 200
    assert client.post("/v1/studies", headers=ADMIN).status_code == 200
    assert client.get("/v1/studies", headers={**ADMIN, "Origin": "http://evil.example"}).status_code == 200


def test_a_page_without_cookie_leads_to_the_login(client: Client) -> None:
    answer = client.get("/ui/a?pair=1&sel=2", headers={"Accept": "text/html,*/*"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/login?next=%2Fui%2Fa%3Fpair%3D1%26sel%3D2")
    assert client.post("/ui", headers={"Accept": "text/html"}).status_code == 401
    assert client.get("/ui", headers={"Accept": "application/json"}).status_code == 401
    low = client.get("/v1/leases/1/blobs/1/x", headers={**VIEWER, "Accept": "text/html"})
    assert low.status_code == 403


def test_public_pages_need_no_login(client: Client) -> None:
    for path in ("/healthz", "/login", "/login.css"):
        assert client.get(path).status_code == 200
    for path in ("/healthzx", "/login/x", "/loginx"):
        assert client.get(path).status_code == 401


def test_a_cookie_opens_the_pages(client: Client, auth: Auth) -> None:
    answer = client.get(f"/login?key={auth.one_time_key()}&next=/ui/a")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/ui/a")
    for words in ("HttpOnly", "SameSite=lax", "Path=/"):
        assert words in answer.headers["Set-Cookie"]
    assert client.get("/ui").status_code == 200
    assert client.post("/v1/studies", headers=OWN).status_code == 200


def test_a_key_opens_once_and_a_wrong_one_never(client: Client, auth: Auth) -> None:
    key = auth.one_time_key()
    assert client.post("/login", data={"key": key}, headers=OWN).status_code == 303
    client.cookies.clear()
    for wrong in (key, "x"):
        answer = client.post("/login", data={"key": wrong}, headers=OWN)
        assert answer.status_code == 401
        assert "Set-Cookie" not in answer.headers
    assert client.get("/ui").status_code == 401


def test_logout_forgets_the_cookie(client: Client, auth: Auth) -> None:
    client.get(f"/login?key={auth.one_time_key()}")
    assert client.post("/logout", headers=OWN).status_code == 303
    assert client.get("/ui").status_code == 401


@pytest.mark.parametrize(
    "target", ["//evil.example", "/\\evil.example", "http://evil.example", "evil", "", "\\/evil", "/\t/evil.example",
               "/\n/evil.example", " //evil.example", "/\r\nSet-Cookie: a=b", "javascript:alert(1)"],
)  # fmt: skip
def test_the_login_leads_nowhere_else(client: Client, auth: Auth, target: str) -> None:
    answer = client.get("/login", params={"key": auth.one_time_key(), "next": target})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/ui")
    answer = client.post("/login", data={"key": "v-token", "next": target}, headers=OWN)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/ui")


@pytest.mark.parametrize("path", ["/v1/studies", "/login", "/logout", "/api/studies/1/note", "/v1/leases"])
def test_a_large_body_is_413(client: Client, path: str) -> None:
    method = "PUT" if path.endswith("note") else "POST"
    body = b"x" * (MAX_JSON_BYTES + 1)
    assert client.request(method, path, headers=ADMIN, content=body).status_code == 413
    chunks = (body[start : start + (1 << 20)] for start in range(0, len(body), 1 << 20))
    answer = client.request(method, path, headers=ADMIN, content=_chunks(*chunks))
    assert answer.status_code == 413
    assert answer.json()["detail"] == f"the body is larger than {MAX_JSON_BYTES} bytes"


def test_a_body_at_the_limit_arrives_whole(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "MAX_JSON_BYTES", 10)
    assert client.post("/v1/a", headers=ADMIN, content=b"x" * 10).text == "POST v1/a 10"
    assert client.post("/v1/a", headers=ADMIN, content=_chunks(b"xxx", b"", b"xx")).text == "POST v1/a 5"
    assert client.post("/v1/a", headers=ADMIN, content=_chunks(b"x" * 10, b"x")).status_code == 413
    assert client.post("/v1/a", headers=ADMIN).text == "POST v1/a 0"


def test_a_lying_content_length_is_413(client: Client) -> None:
    for length in ("-1", "x", "1e3", "²", "9" * 30, "9" * 5000):
        headers = [
            (b"host", b"127.0.0.1"),
            (b"authorization", b"Bearer a-token"),
            (b"content-length", length.encode("latin-1")),
        ]
        assert _asgi(client.app, headers, "/v1/studies", "POST")["status"] == 413


def test_checkpoints_and_weights_have_a_bound_of_their_own(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "MAX_JSON_BYTES", 10)
    assert client.put("/v1/leases/1/weights/x", headers=WORKER, content=b"x" * 11).status_code == 200
    assert client.put("/v1/leases", headers=WORKER, content=b"x" * 11).status_code == 413
    assert client.post("/v1/leases/1/complete", headers=WORKER, content=b"x" * 11).status_code == 413


@pytest.mark.parametrize(
    "path", ["/api/studies", "/dashboard", "/v1x", "/v1x/y", "/uix", "/ui.js", "/healthzz", "/loginx", "/v1%2fstudies"]
)
def test_the_dashboard_only_looks(client: Client, path: str) -> None:
    assert client.get(path, headers=ADMIN).status_code == 200
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        expected = {403} if path != "/v1%2fstudies" else {200, 403, 404, 405}
        assert client.request(method, path, headers=ADMIN).status_code in expected


def test_a_note_may_be_written_by_an_admin_only(client: Client) -> None:
    assert client.put("/api/studies/1/note", headers=ADMIN).status_code == 200
    assert client.put("/api/studies/1/note", headers=WORKER).status_code == 403
    assert client.post("/api/studies/1/note", headers=ADMIN).status_code == 403


def test_a_problem_has_the_fields_that_the_document_says() -> None:
    (schema,) = {repr(documented["content"][PROBLEM]["schema"]): documented["content"][PROBLEM]["schema"]
                 for documented in PROBLEMS.values()}.values()  # fmt: skip
    answer = problem(409, "words")

    assert answer.media_type == PROBLEM
    assert list(json.loads(answer.body)) == schema["required"] == list(schema["properties"])


def test_every_answer_of_the_application_carries_the_headers(client: Client) -> None:
    for answer in (client.get("/ui", headers=ADMIN), client.get("/login")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "same-origin"


def test_bytes_that_are_no_text_in_the_query_are_no_error(client: Client) -> None:
    start = _asgi(client.app, [(b"host", b"localhost"), (b"accept", b"text/html")], "/ui", "GET", query=b"a=\xff")
    assert start["status"] == 303


def test_other_protocols_are_passed_on(auth: Auth) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    asyncio.run(Gate(app, auth, loopback_only=True)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert seen == ["lifespan"]


def _asgi(app: Any, headers: list[tuple[bytes, bytes]], path: str, method: str, query: bytes = b"") -> Any:
    """The start of the answer to a request that no client would send."""
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query,
             "headers": headers, "http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 80)}  # fmt: skip
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]
