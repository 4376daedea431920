"""Tokens, cookies and one-time keys."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from itsdangerous import URLSafeTimedSerializer

from service import auth as auth_module
from service.auth import Auth, check_role, is_own_origin, load_auth, needed_role
from service.errors import NotAllowed, UsageError
from service.settings import Settings

TOKENS: dict[auth_module.Role, str] = {"admin": "a-token", "worker": "w-token", "viewer": "v-token"}


@pytest.fixture
def auth() -> Auth:
    return Auth(TOKENS)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time as the signer sees it: `clock[0]` seconds later."""
    later = [0.0]
    real = time.time
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: real() + later[0])
    return later


@pytest.mark.parametrize("role", TOKENS)
def test_a_token_proves_its_role(auth: Auth, role: auth_module.Role) -> None:
    assert auth.role(f"Bearer {TOKENS[role]}", None) == role
    assert auth.role(f"bearer  {TOKENS[role]} ", None) == role


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer x", "Basic a-token", "a-token", "Bearer é", "Bearer a-token x"]
)
def test_other_headers_prove_nothing(auth: Auth, header: str) -> None:
    assert auth.role(header, None) is None


def test_a_wrong_header_is_not_saved_by_a_cookie(auth: Auth) -> None:
    assert auth.role("Bearer x", auth.redeem("a-token")) is None


def test_a_one_time_key_works_once(auth: Auth) -> None:
    key, other = auth.one_time_key(), auth.one_time_key()
    assert key != other
    assert auth.role(None, auth.redeem(key)) == "admin"
    assert auth.redeem(key) is None
    assert auth.redeem(other) is not None


def test_a_token_is_redeemed_for_its_own_role_again_and_again(auth: Auth) -> None:
    assert [auth.role(None, auth.redeem("v-token")) for _ in range(2)] == ["viewer", "viewer"]
    assert auth.redeem("") is None
    assert auth.redeem("x") is None


def test_no_cookie_proves_nothing(auth: Auth) -> None:
    assert auth.role(None, None) is None


def test_an_altered_cookie_is_refused(auth: Auth) -> None:
    cookie = auth.redeem("v-token")
    assert cookie is not None
    for place in range(0, len(cookie) - 1, 5):  # the last character has bits that base64 does not use
        altered = cookie[:place] + ("A" if cookie[place] != "A" else "B") + cookie[place + 1 :]
        assert auth.role(None, altered) is None
    assert auth.role(None, "") is None


def test_a_cookie_of_another_server_or_of_no_role_is_refused(auth: Auth) -> None:
    assert auth.role(None, Auth({**TOKENS, "admin": "other"}).redeem("v-token")) is None
    signer = URLSafeTimedSerializer("a-token", salt="spikefront-cookie")
    assert (
        auth.role(None, str(signer.dumps("admin"))) == "admin"
    )  # so the forgeries below are refused for what they say
    assert auth.role(None, str(signer.dumps("root"))) is None
    assert auth.role(None, str(URLSafeTimedSerializer("a-token", salt="x").dumps("admin"))) is None


def test_a_cookie_expires(auth: Auth, clock: list[float]) -> None:
    cookie = auth.redeem("a-token")
    clock[0] = auth_module.COOKIE_AGE_S - 60
    assert auth.role(None, cookie) == "admin"
    clock[0] = auth_module.COOKIE_AGE_S + 60
    assert auth.role(None, cookie) is None


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("GET", "/ui", "viewer"), ("HEAD", "/v1/studies", "viewer"), ("GET", "/v1/leasesx", "viewer"),
        ("POST", "/v1/leasesx", "admin"), ("POST", "/v1/leases", "worker"), ("GET", "/v1/leases/1/blobs/1/x", "worker"),
        ("PUT", "/v1/leases/1/weights/x", "worker"), ("POST", "/v1/studies", "admin"), ("DELETE", "/v1/studies/a",
         "admin"),
        ("OPTIONS", "/ui", "admin"), ("PUT", "/api/studies/1/note", "admin"),
    ],
)  # fmt: skip
def test_needed_role(method: str, path: str, role: str) -> None:
    assert needed_role(method, path) == role


def test_check_role() -> None:
    check_role("admin", "worker")
    check_role("worker", "viewer")
    with pytest.raises(NotAllowed, match="log in") as missing:
        check_role(None, "viewer")
    with pytest.raises(NotAllowed, match="needs the role admin, the token given has worker") as low:
        check_role("worker", "admin")
    assert (missing.value.status, low.value.status) == (401, 403)


@pytest.mark.parametrize(
    ("origin", "host", "own"),
    [
        ("http://127.0.0.1:8600", "127.0.0.1:8600", True), ("https://lab.example", "lab.example", True),
        ("http://127.0.0.1:8601", "127.0.0.1:8600", False), ("http://evil.example", "127.0.0.1:8600", False),
        ("null", "127.0.0.1:8600", False), ("null", "", False), ("", "", False), ("http://[", "127.0.0.1:8600", False),
        ("http://127.0.0.1:8600@evil.example", "127.0.0.1:8600", False), ("127.0.0.1:8600", "127.0.0.1:8600", False),
    ],
)  # fmt: skip
def test_is_own_origin(origin: str, host: str, own: bool) -> None:
    assert is_own_origin(origin, host) is own


def _settings(var: Path, **fields: str) -> Settings:
    return Settings(var=var, **fields)  # type: ignore[arg-type]  # text becomes a secret


def test_the_admin_token_is_made_once_and_kept_for_its_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPIKEFRONT_TOKEN", raising=False)
    load_auth(_settings(tmp_path / "var"))
    path = tmp_path / "var" / "token"
    token = path.read_text().strip()
    assert len(token) >= 40
    assert path.stat().st_mode & 0o077 == 0
    assert load_auth(_settings(tmp_path / "var")).role(f"Bearer {token}", None) == "admin"


def test_tokens_of_the_environment_win(tmp_path: Path) -> None:
    auth = load_auth(_settings(tmp_path, token="A", worker_token="W", viewer_token="V"))
    assert [auth.role(f"Bearer {token}", None) for token in "AWV"] == ["admin", "worker", "viewer"]
    assert not (tmp_path / "token").exists()
    assert auth.worker_token == "W"


def test_without_a_worker_token_a_random_one_is_made(tmp_path: Path) -> None:
    first, second = (load_auth(_settings(tmp_path, token="A")) for _ in range(2))
    assert first.worker_token != second.worker_token
    assert first.role(f"Bearer {first.worker_token}", None) == "worker"


def test_an_empty_token_file_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")
    with pytest.raises(UsageError, match="token: is empty; remove it"):
        load_auth(_settings(tmp_path))
