"""The worker's calls: patient with trouble on the way, exact about refusals, distrustful of bytes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

import httpx
import pytest

from service import client as client_module
from service import wire
from service.client import Client
from service.errors import Conflict, LeaseLost, NotAllowed, NotFound, ServiceError, TooLarge, Unavailable, UsageError
from tests.unit.service.factory import make_complete, make_lease, make_point

DATA = b"weights"
DIGEST = hashlib.sha256(DATA).hexdigest()
Handler = Callable[[httpx.Request], httpx.Response]


class Server:
    """Gives the answers in `script` one after the other, the last one for ever."""

    def __init__(self, *script: httpx.Response | Exception) -> None:
        self.script, self.seen = list(script), list[httpx.Request]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.seen.append(request)
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits are noted, and time passes by as much."""
    waits: list[float] = []
    real = time.monotonic()
    monkeypatch.setattr("service.client.time.monotonic", lambda: real + sum(waits))
    monkeypatch.setattr("service.client.time.sleep", waits.append)
    return waits


def _client(server: Handler, patience_s: float = 60.0) -> Client:
    return Client("http://server:1", "secret", patience_s=patience_s, transport=httpx.MockTransport(server))


def _problem(status: int, detail: str = "why") -> httpx.Response:
    return httpx.Response(status, json={"status": status, "detail": detail})


OK = httpx.Response(200, json={"stop": False})
RENEWAL = wire.Renewal(fence=1)


@pytest.mark.parametrize(
    "trouble",
    [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("cut"), _problem(503),
     _problem(500), httpx.Response(502, text="<html>bad gateway</html>")],
)  # fmt: skip
def test_trouble_is_repeated_until_it_is_over(trouble: httpx.Response | Exception, slept: list[float]) -> None:
    server = Server(trouble, trouble, trouble, OK)
    assert _client(server).renew(17, RENEWAL) == wire.Renewed(stop=False)
    assert len(server.seen) == 4
    assert len({request.content for request in server.seen}) == 1
    assert len(slept) == 3


def test_the_waits_grow_with_jitter_to_a_bound(slept: list[float]) -> None:
    with pytest.raises(Unavailable):
        _client(Server(httpx.ConnectError("refused"))).renew(17, RENEWAL)
    assert all(
        0.5 * nominal <= wait <= 1.5 * nominal for wait, nominal in zip(slept, (0.1, 0.2, 0.4, 0.8, 1.6), strict=False)
    )
    assert max(slept) <= 1.5 * client_module.LONGEST_WAIT_S
    assert len({round(wait, 6) for wait in slept[6:]}) > 1
    assert 50 < sum(slept) <= 60


@pytest.mark.parametrize("trouble", [httpx.ConnectError("refused"), _problem(503, "away"), httpx.ConnectTimeout("")])
def test_patience_ends_in_unavailable(trouble: httpx.Response | Exception) -> None:
    with pytest.raises(Unavailable, match=r"the study server does not answer: .+; is it running at that address"):
        _client(Server(trouble), patience_s=1.0).renew(17, RENEWAL)


def test_a_call_may_bring_its_own_patience(slept: list[float]) -> None:
    server = Server(_problem(503))
    with pytest.raises(Unavailable):
        _client(server, patience_s=1000.0).renew(17, RENEWAL, patience_s=0.0)
    assert (len(server.seen), slept) == (1, [])


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, UsageError), (401, NotAllowed), (403, NotAllowed), (404, NotFound), (409, LeaseLost), (413, TooLarge),
     (418, UsageError), (303, UsageError)],
)  # fmt: skip
def test_refusals_are_not_repeated(status: int, kind: type[ServiceError]) -> None:
    server = Server(_problem(status, "because"))
    with pytest.raises(kind, match="because") as caught:
        _client(server).renew(17, RENEWAL)
    assert caught.value.status == status
    assert len(server.seen) == 1


def test_a_conflict_outside_of_a_lease_is_no_lost_lease() -> None:
    calls: tuple[Callable[[Client], object], ...] = (
        lambda client: client.lease(wire.LeaseRequest(worker="w", versions={})),
        lambda client: client.start("study: a", "a.yaml"),
        lambda client: client.resume("a", {}),
    )
    for call in calls:
        with pytest.raises(Conflict) as caught:
            call(_client(Server(_problem(409))))
        assert not isinstance(caught.value, LeaseLost)


def test_a_refusal_without_a_problem_document_still_says_something() -> None:
    for body in (httpx.Response(404, text="<html>"), httpx.Response(404, json=[1]), httpx.Response(404, json={})):
        with pytest.raises(NotFound, match="404 Not Found"):
            _client(Server(body)).renew(17, RENEWAL)


@pytest.mark.parametrize(
    "body", ["", "<html>hotel login</html>", "{}", '{"stop": "perhaps"}', '{"stop": true, "x": 1}']
)
def test_an_answer_of_another_kind_of_server_is_unavailable(body: str) -> None:
    with pytest.raises(Unavailable, match="not the answer of a study server"):
        _client(Server(httpx.Response(200, text=body))).renew(17, RENEWAL)
    with pytest.raises(Unavailable, match="not the answer of a study server"):
        _client(Server(httpx.Response(200, text=body))).lease(wire.LeaseRequest(worker="w", versions={}))


def test_every_call_shows_the_token() -> None:
    server = Server(OK)
    _client(server).renew(17, wire.Renewal(fence=2, epochs=(make_point(),)))
    (request,) = server.seen
    assert request.headers["Authorization"] == "Bearer secret"
    assert (request.method, request.url.path) == ("POST", "/v1/leases/17/renew")
    assert wire.Renewal.model_validate_json(request.content).epochs == (make_point(),)


def test_lease_and_idle() -> None:
    lease = make_lease()
    for work in (lease, wire.Idle(retry_s=0.5, finished=True)):
        answer = httpx.Response(200, text=wire.Offer(work=work).model_dump_json(by_alias=True))
        assert _client(Server(answer)).lease(wire.LeaseRequest(worker="w", versions={})) == work


def test_bytes_are_sent_under_their_digest_and_fence() -> None:
    server = Server(httpx.Response(204))
    client, lease = _client(server), make_lease()
    assert client.weights(lease, DATA) == client.hardware_front(lease, DATA) == DIGEST
    client.checkpoint(lease, 4, DATA)
    paths = [f"/v1/leases/17/{kind}/{DIGEST}" for kind in ("weights", "hardware-front", "checkpoints")]
    paths[2] += "?epoch=4"
    assert [request.url.raw_path.decode() for request in server.seen] == paths
    assert all(request.headers["X-Fence"] == "2" and request.content == DATA for request in server.seen)


def test_bytes_that_arrive_altered_are_refused() -> None:
    blob = wire.Blob(fence=2, sha256=DIGEST)
    assert _client(Server(httpx.Response(200, content=DATA))).blob(17, blob) == DATA
    for altered in (DATA[:-1], DATA + b"x", b""):
        with pytest.raises(NotFound, match="do not hash to"):
            _client(Server(httpx.Response(200, content=altered))).blob(17, blob)


def test_endings_and_rungs() -> None:
    server = Server(httpx.Response(204))
    _client(server).send(17, "complete", make_complete())
    assert server.seen[0].url.path == "/v1/leases/17/complete"
    assert wire.Complete.model_validate_json(server.seen[0].content) == make_complete()
    decision = httpx.Response(200, json={"decision": "stop", "reason": "dominated"})
    rung = wire.Rung(fence=1, rung=0, epoch=1, values={"accuracy": 0.5})
    assert _client(Server(decision)).rung(17, rung) == wire.Decision(decision="stop", reason="dominated")


def test_the_token_is_not_in_errors() -> None:
    with pytest.raises(Unavailable) as caught:
        _client(Server(httpx.ConnectError("refused")), patience_s=0).renew(17, RENEWAL)
    assert "secret" not in str(caught.value)
