"""Who may do what: bearer tokens for programs, a signed cookie for browsers, one-time keys for printed links."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from itsdangerous import BadSignature, URLSafeTimedSerializer

from service.errors import NotAllowed, UsageError
from service.settings import Settings

Role = Literal["viewer", "worker", "admin"]
COOKIE = "spikefront"
COOKIE_AGE_S = 14 * 24 * 3600
_RANK: Mapping[Role, int] = {"viewer": 1, "worker": 2, "admin": 3}


class Auth:
    """Tokens by role, and the keys that browsers log in with.

    Args:
        tokens: Token of each role that has one; `admin` always has.
    """

    def __init__(self, tokens: Mapping[Role, str]) -> None:
        self._tokens = dict(tokens)
        self._signer = URLSafeTimedSerializer(tokens["admin"], salt="spikefront-cookie")
        self._once: set[str] = set()

    @property
    def worker_token(self) -> str:
        """The token that local workers are started with."""
        return self._tokens["worker"]

    def one_time_key(self) -> str:
        """A key for one login in a browser, as in a printed link."""
        key = secrets.token_urlsafe(18)
        self._once.add(key)
        return key

    def redeem(self, key: str) -> str | None:
        """The cookie for a one-time key or a token; None when it is neither."""
        with contextlib.suppress(KeyError):
            self._once.remove(key)  # one step, so that of two requests at once one fails
            return self._cookie("admin")
        role = self._role_of_token(key)
        return None if role is None else self._cookie(role)

    def role(self, authorization: str | None, cookie: str | None) -> Role | None:
        """The role that a request's header or cookie proves; None for none."""
        if authorization is not None:
            scheme, _, token = authorization.partition(" ")
            return self._role_of_token(token.strip()) if scheme.lower() == "bearer" else None
        if cookie is None:
            return None
        try:
            role: Role = self._signer.loads(cookie, max_age=COOKIE_AGE_S)
        except BadSignature:
            return None
        return role if role in _RANK else None

    def _cookie(self, role: Role) -> str:
        signed = self._signer.dumps(role)
        return signed if isinstance(signed, str) else signed.decode()

    def _role_of_token(self, token: str) -> Role | None:
        found: Role | None = None
        for role, own in self._tokens.items():
            if hmac.compare_digest(token.encode(), own.encode()):
                found = role
        return found


def needed_role(method: str, path: str) -> Role:
    """The least role for a request: look, lease, or everything."""
    if is_under(path, "/v1/leases"):
        return "worker"
    return "viewer" if method in ("GET", "HEAD") else "admin"


def is_under(path: str, root: str) -> bool:
    """Whether a path is `root` or lies below it; `/uix` does not lie under `/ui`."""
    return path == root or path.startswith(f"{root}/")


def check_role(role: Role | None, needed: Role) -> None:
    """Refuse a request whose role is too low.

    Raises:
        NotAllowed: No role (401) or too low a one (403).
    """
    if role is None:
        raise NotAllowed("log in, or send `Authorization: Bearer TOKEN`; the admin's token is in var/token")
    if _RANK[role] < _RANK[needed]:
        error = NotAllowed(f"this needs the role {needed}, the token given has {role}")
        error.status = 403
        raise error


def is_own_origin(origin: str, host: str) -> bool:
    """Whether an Origin header names the host that was asked."""
    try:
        origin_host = urlsplit(origin).netloc
    except ValueError:
        return False
    return origin_host != "" and origin_host == host


def load_auth(settings: Settings) -> Auth:
    """The tokens from the environment; the admin's is made and kept in `var/token` where there is none.

    Raises:
        UsageError: The file is empty: it would let everybody in.
    """
    admin = settings.token.get_secret_value() if settings.token else _kept_token(settings.var / "token")
    tokens: dict[Role, str] = {"admin": admin, "worker": secrets.token_urlsafe(32)}
    if settings.worker_token:
        tokens["worker"] = settings.worker_token.get_secret_value()
    if settings.viewer_token:
        tokens["viewer"] = settings.viewer_token.get_secret_value()
    return Auth(tokens)


def _kept_token(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if kept := path.read_text().strip():
            return kept
        raise UsageError(f"{path}: is empty; remove it, and a new token is made") from None
    token = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w") as file:
        file.write(token + "\n")
    return token
