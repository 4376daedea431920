"""The worker's side of the protocol: HTTP with patience, so that trouble on the way never fails a trial."""

from __future__ import annotations

import hashlib
import logging
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
from pydantic import ValidationError

from service import wire
from service.errors import Conflict, LeaseLost, NotAllowed, NotFound, ServiceError, TooLarge, Unavailable, UsageError

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer", bound=wire.Message)

FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 3.0
HURRY_S = 5.0
_ERRORS: dict[int, type[ServiceError]] = {
    400: UsageError,
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    413: TooLarge,
}


class Client:
    """Calls to a study server.

    Network trouble and answers 5xx are repeated with jittered back-off until `patience_s` is over; every call of
    the protocol is safe to repeat.

    Attributes:
        in_hurry: Asked before each repetition; once it says so, a call is given up after `HURRY_S` at most.

    Args:
        url: Of the server, such as http://127.0.0.1:8600.
        token: Bearer token.
        patience_s: How long a call is repeated before it raises `Unavailable`.
    """

    def __init__(self, url: str, token: str, *, patience_s: float = 120.0, transport: Any = None) -> None:
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(30.0, connect=5.0),
            transport=transport,
        )
        self._patience_s = patience_s
        self.in_hurry: Callable[[], bool] = lambda: False

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def lease(self, request: wire.LeaseRequest) -> wire.Lease | wire.Idle:
        """Ask for something to do."""
        answer = self._call("POST", "/v1/leases", content=request.model_dump_json())
        return _read(wire.Offer, answer).work

    def renew(self, trial_id: int, message: wire.Renewal, *, patience_s: float | None = None) -> wire.Renewed:
        """Prolong a lease."""
        answer = self._call("POST", f"/v1/leases/{trial_id}/renew", patience_s, content=message.model_dump_json())
        return _read(wire.Renewed, answer)

    def rung(self, trial_id: int, message: wire.Rung, *, patience_s: float | None = None) -> wire.Decision:
        """Report a rung."""
        answer = self._call("POST", f"/v1/leases/{trial_id}/rungs", patience_s, content=message.model_dump_json())
        return _read(wire.Decision, answer)

    def gate(self, trial_id: int, message: wire.Bound, *, patience_s: float | None = None) -> wire.Decision:
        """Ask, before training, whether a trial is worth it."""
        answer = self._call("POST", f"/v1/leases/{trial_id}/gate", patience_s, content=message.model_dump_json())
        return _read(wire.Decision, answer)

    def checkpoint(self, lease: wire.Lease, epoch: int, data: bytes, *, patience_s: float | None = None) -> None:
        """Store a checkpoint."""
        path = f"/v1/leases/{lease.trial_id}/checkpoints/{_digest(data)}?epoch={epoch}"
        self._call("PUT", path, patience_s, content=data, headers={"X-Fence": str(lease.fence)})

    def weights(self, lease: wire.Lease, data: bytes) -> str:
        """Store the trained network; returns its digest."""
        return self._store(lease, "weights", data)

    def hardware_front(self, lease: wire.Lease, data: bytes) -> str:
        """Store the accelerators that a trial had to choose from; returns their digest."""
        return self._store(lease, "hardware-front", data)

    def blob(self, trial_id: int, blob: wire.Blob) -> bytes:
        """Fetch a checkpoint or weights.

        Raises:
            NotFound: They are not there, or not as they were written.
        """
        data = self._call("GET", f"/v1/leases/{trial_id}/blobs/{blob.fence}/{blob.sha256}").content
        if _digest(data) != blob.sha256:
            raise NotFound(f"trial {trial_id}: the bytes received do not hash to {blob.sha256}")
        return data

    def send(self, trial_id: int, ending: str, message: wire.Message, *, patience_s: float | None = None) -> None:
        """End a lease: `complete`, `fail`, `tested` or `release`."""
        self._call("POST", f"/v1/leases/{trial_id}/{ending}", patience_s, content=message.model_dump_json())

    def start(self, yaml: str, source: str) -> None:
        """Start a study on the server."""
        self._call("POST", "/v1/studies", content=wire.NewStudy(yaml=yaml, source=source).model_dump_json())

    def resume(self, study: str, changes: dict[str, Any]) -> None:
        """Let a study go on."""
        self._call("POST", f"/v1/studies/{study}/resume", content=wire.Change(set=changes).model_dump_json())

    def _store(self, lease: wire.Lease, kind: str, data: bytes) -> str:
        digest = _digest(data)
        path = f"/v1/leases/{lease.trial_id}/{kind}/{digest}"
        self._call("PUT", path, content=data, headers={"X-Fence": str(lease.fence)})
        return digest

    def _call(self, method: str, path: str, patience_s: float | None = None, **request: Any) -> httpx.Response:
        patience = self._patience_s if patience_s is None else patience_s
        headers = {"Content-Type": "application/json", **request.pop("headers", {})}

        def once() -> httpx.Response:
            response = self._http.request(method, path, headers=headers, **request)
            if response.is_success:
                return response
            raise _error(response)

        return _patiently(once, lambda: min(patience, HURRY_S) if self.in_hurry() else patience)


def _patiently(call: Callable[[], httpx.Response], patience_s: Callable[[], float]) -> httpx.Response:
    started, wait_s = time.monotonic(), FIRST_WAIT_S
    while True:
        try:
            return call()
        except (httpx.TransportError, Unavailable) as error:
            pause = wait_s * random.uniform(0.5, 1.5)
            if time.monotonic() + pause > started + patience_s():
                reason = str(error) or type(error).__name__
                raise Unavailable(
                    f"the study server does not answer: {reason}; is it running at that address?"
                ) from error
            log.debug("call repeated in %.1f s: %s", pause, error, extra={"action": "retry"})
            time.sleep(pause)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)


def _read(kind: type[_Answer], answer: httpx.Response) -> _Answer:
    try:
        return kind.model_validate_json(answer.content)
    except ValidationError as error:
        raise Unavailable(f"{answer.url} gave what is not the answer of a study server; check the address") from error


def _error(response: httpx.Response) -> ServiceError:
    try:
        detail = str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"{response.status_code} {response.reason_phrase}"
    if response.status_code >= 500:
        return Unavailable(detail)
    if response.status_code == 409:
        return LeaseLost(detail) if "/v1/leases/" in str(response.request.url) else Conflict(detail)
    error = _ERRORS.get(response.status_code, UsageError)(detail)
    error.status = response.status_code
    return error


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
