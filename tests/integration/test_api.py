"""The HTTP surface of a real server: who may do what, and bad input that is a problem document, never a 500."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from objectives.studyfile import parse_study
from service import versions, wire
from service.gate import MAX_JSON_BYTES
from service.record import open_record
from service.server import bind, find_server, serving
from service.settings import Settings
from storage.embedded import EmbeddedPostgres
from tests.support.desk import Desk, made_up, opened
from tests.support.postgres import eventually, fresh_database, wait_until_stopped
from tests.support.studies import STUDY_YAML, study_text

TOKENS = {"token": SecretStr("an-admin"), "worker_token": SecretStr("a-worker"), "viewer_token": SecretStr("a-viewer")}


@pytest.fixture(scope="module")
def place(
    postgres: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Desk, str]]:
    """A server, and a desk on its database for what would need a worker."""
    var = tmp_path_factory.mktemp("api")
    settings = Settings(var=var, **TOKENS)  # type: ignore[arg-type]
    with (
        fresh_database(postgres, template) as url,
        open_record(url, var) as record,
        serving(record, settings, bind("127.0.0.1", 0)) as running,
        opened(url, var / "artifacts") as desk,
    ):
        yield desk, running.url


@pytest.fixture(scope="module")
def desk(place: tuple[Desk, str]) -> Desk:
    """The study `done` with a dead trial in it, and a running study `tiny`."""
    made = place[0]
    made.studies.start(parse_study(study_text("done", budget={"trials": 6})))
    made.drain("done")
    made.studies.start(parse_study(STUDY_YAML))
    return made


@pytest.fixture
def client(place: tuple[Desk, str], desk: Desk) -> Iterator[httpx.Client]:
    with as_role(place[1], "an-admin") as admin:
        yield admin


def as_role(url: str, token: str | None) -> httpx.Client:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=url, headers=headers, timeout=30)


def assert_problem(answer: httpx.Response, status: int) -> str:
    """The answer is a problem document of this status; returns its words."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == status
    assert "\n" not in document["detail"] or status == 400
    assert "Traceback" not in answer.text
    return str(document["detail"])


# --- what there is ----------------------------------------------------------------------------------------------


def test_the_openapi_document_lists_the_routes_of_the_api(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]

    leases = {f"/v1/leases{path}" for path in (
        "", "/{trial_id}/renew", "/{trial_id}/rungs", "/{trial_id}/checkpoints/{digest}",
        "/{trial_id}/weights/{digest}", "/{trial_id}/blobs/{fence}/{digest}", "/{trial_id}/complete",
        "/{trial_id}/fail", "/{trial_id}/tested", "/{trial_id}/release",
    )}  # fmt: skip
    studies = {f"/v1/studies{path}" for path in (
        "", "/{name}", "/{name}/front", "/{name}/trials", "/{name}/trials/{number}", "/{name}/events", "/{name}/stop",
        "/{name}/resume", "/{name}/stream",
    )}  # fmt: skip
    assert {path for path in paths if path.startswith("/v1")} >= leases | studies


def test_health_needs_no_login(place: tuple[Desk, str]) -> None:
    answer = httpx.get(place[1] + "/healthz")

    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"


def test_a_server_is_found_by_its_note_and_not_by_one_that_leads_to_another_server(
    place: tuple[Desk, str], tmp_path: Path
) -> None:
    """After kill -9 the note stays, and another server may get the port that stands in it."""
    var = place[0].folder.parent
    note = json.loads((var / "server.json").read_text())
    found = find_server(Settings(var=var))
    assert found is not None
    assert found.url == place[1]
    assert find_server(Settings(var=tmp_path)) is None

    notes: list[Any] = [{**note, "instance": "of a server that was killed"}, {"url": note["url"]}, {}, []]
    for stale in notes:
        (tmp_path / "server.json").write_text(json.dumps(stale))
        assert find_server(Settings(var=tmp_path)) is None
    (tmp_path / "server.json").write_text("torn {")
    assert find_server(Settings(var=tmp_path)) is None


def test_health_follows_the_database(tmp_path: Path) -> None:
    settings = Settings(var=tmp_path, **TOKENS)  # type: ignore[arg-type]
    with (
        EmbeddedPostgres(tmp_path / "postgres") as server,
        open_record(server.start(), tmp_path) as record,
        serving(record, settings, bind("127.0.0.1", 0)) as running,
    ):
        assert httpx.get(running.url + "/healthz").status_code == 200

        server.close()
        wait_until_stopped(server.folder)
        assert_problem(httpx.get(running.url + "/healthz", timeout=30), 503)
        with as_role(running.url, "an-admin") as admin:
            assert_problem(admin.get("/v1/studies"), 503)

        server.start()
        eventually(lambda: httpx.get(running.url + "/healthz").status_code == 200, "the server is well again")
        with as_role(running.url, "an-admin") as admin:
            assert admin.get("/v1/studies").json() == []
    wait_until_stopped(tmp_path / "postgres")


def test_the_documents_of_a_study(client: httpx.Client) -> None:
    status = client.get("/v1/studies/done").json()
    front = client.get("/v1/studies/done/front").json()
    trials = client.get("/v1/studies/done/trials").json()
    events = client.get("/v1/studies/done/events").json()

    assert (status["state"], status["trials"]["complete"], status["trials"]["feasible"]) == ("complete", 6, 5)
    assert status["front_size"] == len(front["front"]) > 0
    assert all(point["test"] == {"accuracy": 0.5} for point in front["front"])
    assert [trial["trial"] for trial in trials] == list(range(6))
    assert events[0]["kind"] == "created"
    assert events[-1]["kind"] == "complete"
    assert [study["study"] for study in client.get("/v1/studies").json()][:2] == ["done", "tiny"]


def test_the_stream_begins_with_the_status(client: httpx.Client) -> None:
    with client.stream("GET", "/v1/studies/done/stream") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        first = [next(lines) for _ in range(3)]

    assert first[1] == "event: status"
    data = json.loads(first[2].removeprefix("data: "))
    assert data["status"]["study"] == "done"
    assert first[0] == f"id: {data['status']['last_event']}"
    assert data["front"]["front"]


def test_a_worker_s_whole_trial_over_http(place: tuple[Desk, str], desk: Desk) -> None:
    desk.studies.start(parse_study(study_text("wired", budget={"trials": 1})))
    request = wire.LeaseRequest(worker="w", versions=versions.installed(), study="wired").model_dump()
    with as_role(place[1], "a-worker") as worker:
        work = worker.post("/v1/leases", json=request).json()["work"]
        path, fence = f"/v1/leases/{work['trial_id']}", {"X-Fence": str(work["fence"])}
        data = b"bytes"
        digest = hashlib.sha256(data).hexdigest()
        assert worker.put(f"{path}/checkpoints/{digest}?epoch=1", content=data, headers=fence).status_code == 204
        assert worker.get(f"{path}/blobs/1/{digest}").content == data
        assert worker.put(f"{path}/weights/{digest}", content=data, headers=fence).status_code == 204
        report = {"fence": 1, "values": made_up(0), "fits_device": True, "hazards": 0, "details": {},
                  "on_baseline_accelerator": None, "weights": digest}  # fmt: skip
        assert worker.post(f"{path}/complete", json=report).status_code == 204
        assert worker.post(f"{path}/complete", json=report).status_code == 204
        words = assert_problem(worker.post(f"{path}/renew", json={"fence": 1}), 409)

    assert words == "the trial is finished"


# --- who may do what --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "method", "path", "status"),
    [
        (None, "GET", "/v1/studies", 401),
        (None, "GET", "/openapi.json", 401),
        (None, "GET", "/ui", 401),
        (None, "GET", "/", 401),
        (None, "GET", "/api/studies", 401),
        (None, "POST", "/v1/leases", 401),
        ("wrong", "GET", "/v1/studies", 401),
        ("a-viewer", "GET", "/v1/studies", 200),
        ("a-viewer", "GET", "/v1/leases/1/blobs/1/" + "0" * 64, 403),
        ("a-viewer", "POST", "/v1/leases", 403),
        ("a-viewer", "POST", "/v1/studies", 403),
        ("a-viewer", "POST", "/v1/studies/tiny/stop", 403),
        ("a-worker", "GET", "/v1/studies", 200),
        ("a-worker", "POST", "/v1/studies/tiny/stop", 403),
        ("a-worker", "DELETE", "/api/studies/1", 403),
    ],
)
def test_roles(place: tuple[Desk, str], desk: Desk, token: str | None, method: str, path: str, status: int) -> None:
    with as_role(place[1], token) as client:
        answer = client.request(method, path)

    if status == 200:
        assert answer.status_code == 200
    else:
        assert_problem(answer, status)
    assert desk.studies.row("tiny").state == "running"


def test_other_hosts_and_other_origins_are_refused(client: httpx.Client, desk: Desk) -> None:
    assert_problem(client.get("/v1/studies", headers={"Host": "evil.example"}), 421)
    assert_problem(client.get("/healthz", headers={"Host": "127.0.0.1.evil.example:80"}), 421)
    assert_problem(client.post("/v1/studies/tiny/stop", headers={"Origin": "https://evil.example"}), 403)
    assert desk.studies.row("tiny").state == "running"


def test_a_browser_logs_in_once_with_a_link_or_with_a_token(place: tuple[Desk, str], desk: Desk) -> None:
    with as_role(place[1], None) as browser:
        page = {"Accept": "text/html"}
        sent_away = browser.get("/ui/s/tiny?x=1", headers=page)
        assert sent_away.status_code == 303
        assert sent_away.headers["location"] == "/login?next=%2Fui%2Fs%2Ftiny%3Fx%3D1"
        assert browser.post("/login", data={"key": "wrong"}).status_code == 401

        entered = browser.post("/login", data={"key": "a-viewer", "next": "https://evil.example"})

        assert entered.headers["location"] == "/ui"
        assert "httponly" in entered.headers["set-cookie"].lower()
        assert browser.get("/v1/studies").status_code == 200
        assert_problem(browser.post("/v1/studies/tiny/stop"), 403)


# --- bad input --------------------------------------------------------------------------------------------------

DEEP = b"[" * 100_000
LEASE = {"worker": "w", "versions": {}}
COMPLETE = {"fence": 1, "values": {"accuracy": 0.5}, "fits_device": True, "hazards": 0, "details": {},
            "on_baseline_accelerator": None, "weights": "0" * 64}  # fmt: skip


def encoded(document: Any) -> bytes:
    return json.dumps(document).encode()


BAD_BODIES = {
    "no json": b"not json",
    "empty": b"",
    "a list": b"[]",
    "a number": b"1",
    "not utf-8": b'{"worker": "\xff"}',
    "deep": DEEP,
    "deep inside": b'{"worker": ' + DEEP,
    "nan": b'{"worker": NaN, "versions": {}}',
    "huge integer": b'{"worker": "w", "versions": {}, "study": ' + b"9" * 5000 + b"}",
    "unknown key": encoded({**LEASE, "admin": True}),
    "name as a number": encoded({**LEASE, "worker": 7}),
    "name as an object": encoded({**LEASE, "worker": {"a": 1}}),
    "name of another kind": encoded({**LEASE, "worker": "../../etc/passwd"}),
    "name with nul": encoded({**LEASE, "worker": "a\0b"}),
    "name with a line end": encoded({**LEASE, "worker": "name\n"}),
    "study with nul": encoded({**LEASE, "study": "a\0b"}),
    "study with a surrogate": b'{"worker": "w", "versions": {}, "study": "\\ud800"}',
    "versions as a list": encoded({**LEASE, "versions": []}),
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_bad_request_for_a_lease_is_a_problem(client: httpx.Client, body: bytes) -> None:
    assert_problem(client.post("/v1/leases", content=body, headers={"Content-Type": "application/json"}), 400)


BAD_REPORTS = {
    "accuracy nan": ("complete", encoded(COMPLETE).replace(b"0.5", b"NaN")),
    "accuracy infinite": ("complete", encoded(COMPLETE).replace(b"0.5", b"1e999")),
    "values as a list": ("complete", encoded({**COMPLETE, "values": [0.5]})),
    "details with nan": ("complete", encoded({**COMPLETE, "details": {"a": [float("nan")]}})),
    "details too deep": (
        "complete",
        encoded(COMPLETE).replace(b'"details": {}', b'"details": {"a": ' + b"[" * 40 + b"]" * 40 + b"}"),
    ),
    "hazards below 0": ("complete", encoded({**COMPLETE, "hazards": -1})),
    "hazards beyond a float": ("complete", encoded({**COMPLETE, "hazards": 10**400})),
    "digest with a path": ("complete", encoded({**COMPLETE, "weights": "../" * 21 + "a"})),
    "fence 0": ("renew", encoded({"fence": 0})),
    "epoch 0": ("renew", encoded({"fence": 1, "epochs": [{"epoch": 0, "loss": 1, "accuracy": 1, "seconds": 1}]})),
    "accuracy above 1": (
        "renew",
        encoded({"fence": 1, "epochs": [{"epoch": 1, "loss": 1, "accuracy": 2, "seconds": 1}]}),
    ),
    "rung beyond": ("rungs", encoded({"fence": 1, "rung": 10**9, "epoch": 1, "values": {}})),
    "failure as a number": ("fail", encoded({"fence": 1, "error": 1, "message": "m", "traceback": "t"})),
    "failure too long": ("fail", encoded({"fence": 1, "error": "E", "message": "m" * 30_000, "traceback": "t"})),
}


@pytest.fixture(scope="module")
def held(desk: Desk) -> wire.Lease:
    """A trial that is at work on while bad reports about it come."""
    desk.studies.start(parse_study(study_text("held")))
    return desk.lease("held")


@pytest.mark.parametrize(("ending", "body"), BAD_REPORTS.values(), ids=BAD_REPORTS.keys())
def test_a_bad_report_is_a_problem_and_changes_nothing(
    client: httpx.Client, desk: Desk, held: wire.Lease, ending: str, body: bytes
) -> None:
    path = f"/v1/leases/{held.trial_id}/{ending}"

    assert_problem(client.post(path, content=body, headers={"Content-Type": "application/json"}), 400)

    assert desk.studies.trial("held", 0)["state"] == "running"
    assert desk.studies.trial("held", 0)["curve"] == []


def test_text_that_json_can_but_the_database_cannot_hold_is_mended(
    place: tuple[Desk, str], client: httpx.Client, desk: Desk
) -> None:
    desk.studies.start(parse_study(study_text("mended")))
    lease = desk.lease("mended")
    digest = hashlib.sha256(b"w").hexdigest()
    path = f"/v1/leases/{lease.trial_id}"
    assert client.put(f"{path}/weights/{digest}", content=b"w", headers={"X-Fence": "1"}).status_code == 204
    body = {**COMPLETE, "values": made_up(0), "weights": digest, "details": {"nul \0": ["surrogate \ud800", 1]}}

    answer = client.post(f"{path}/complete", content=encoded(body), headers={"Content-Type": "application/json"})

    assert answer.status_code == 204
    assert desk.studies.trial("mended", 0)["details"] == {"nul \ufffd": ["surrogate ?", 1]}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/studies/absent", 404),
        ("/v1/studies/absent/front", 404),
        ("/v1/studies/absent/stream", 404),
        ("/v1/studies/tiny/trials/99", 404),
        ("/v1/studies/tiny/trials/" + "9" * 40, 404),
        ("/v1/studies/tiny/trials/-1", 400),
        ("/v1/studies/tiny/trials/zero", 400),
        ("/v1/studies/tiny/events?after=" + "9" * 40, 400),
        ("/v1/studies/tiny/events?limit=0", 400),
        ("/v1/studies/" + "x" * 64, 400),
        ("/v1/studies/%00", 400),
        ("/v1/studies/a%00b/front", 400),
        ("/v1/studies/%ff", 400),
        ("/v1/studies/UPPER", 400),
        ("/v1/studies/..%2f..%2fetc%2fpasswd", 404),
        ("/v1/studies/tiny'%3B%20DROP%20TABLE%20trials", 400),
        ("/v1/nowhere", 404),
        ("/v1/leases/1/blobs/1/" + "0" * 64, 404),
        ("/v1/leases/1/blobs/" + "9" * 300 + "/" + "0" * 64, 404),
        ("/v1/leases/1/blobs/1/..%2f..%2ftoken", 404),
        ("/v1/leases/1/blobs/1/" + "g" * 64, 400),
        ("/v1/leases/" + "9" * 30 + "/blobs/1/" + "0" * 64, 400),
    ],
)
def test_odd_addresses_are_problems(client: httpx.Client, path: str, status: int) -> None:
    assert_problem(client.get(path), status)


def test_the_wrong_method_is_a_problem(client: httpx.Client) -> None:
    assert "the API has no PUT /v1/studies;" in assert_problem(client.put("/v1/studies"), 404)
    assert_problem(client.delete("/v1/studies/tiny/stop"), 404)


def test_an_unknown_study_offers_the_nearest_name(client: httpx.Client) -> None:
    assert "did you mean 'tiny'" in assert_problem(client.get("/v1/studies/tinny"), 404)


def test_bodies_above_their_bound_are_refused_unread(client: httpx.Client) -> None:
    headers = {"Content-Length": str(MAX_JSON_BYTES + 1), "Content-Type": "application/json"}
    assert_problem(client.post("/v1/leases", content=b" " * (MAX_JSON_BYTES + 1), headers=headers), 413)

    def endless() -> Iterator[bytes]:
        for _ in range(MAX_JSON_BYTES // 65536 + 2):
            yield b" " * 65536

    assert_problem(client.post("/v1/leases", content=endless()), 413)


def test_a_checkpoint_that_is_not_what_its_digest_says_is_refused(client: httpx.Client, held: wire.Lease) -> None:
    path = f"/v1/leases/{held.trial_id}/checkpoints/{'0' * 64}"

    assert "do not hash" in assert_problem(client.put(f"{path}?epoch=1", content=b"x", headers={"X-Fence": "1"}), 400)
    assert_problem(client.put(f"{path}?epoch=1", content=b"x"), 400)
    assert_problem(client.put(f"{path}?epoch=1", content=b"x", headers={"X-Fence": "one"}), 400)
    assert_problem(client.put(path, content=b"x", headers={"X-Fence": "1"}), 400)
    assert_problem(client.put(f"{path}?epoch=1", content=b"x", headers={"X-Fence": "2"}), 409)


# --- studies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (STUDY_YAML.replace("time_steps: 4", "time_steps: 0"), "lab.yaml:5: time_steps: expected"),
        (STUDY_YAML.replace("loss:", "losss:"), "lab.yaml:6: losss: unknown key"),
        (STUDY_YAML.replace("network:", "network: ["), "lab.yaml:"),
        (study_text("../../x"), "lab.yaml:1: study: expected 1 to 63 of a-z"),
        ("", "lab.yaml:1: a study file is a mapping"),
        ("[" * 5000, "lab.yaml:"),
        ('notes: "a\\0b"\n' + STUDY_YAML.replace("study: tiny", "study: nul"), ""),
    ],
    ids=["T = 0", "unknown key", "malformed", "odd name", "empty", "deep", "nul"],
)
def test_a_bad_study_file_is_shown_with_file_and_line(client: httpx.Client, desk: Desk, text: str, words: str) -> None:
    before = desk.studies.names()

    assert words in assert_problem(client.post("/v1/studies", json={"yaml": text, "source": "lab.yaml"}), 400)

    assert desk.studies.names() == before


def test_start_stop_and_resume(client: httpx.Client) -> None:
    body = {"yaml": study_text("posted"), "source": "lab.yaml"}
    assert client.post("/v1/studies", json=body).json() == {"study": "posted", "created": True}
    assert client.post("/v1/studies", json=body).json() == {"study": "posted", "created": False}
    other = {"yaml": study_text("posted", time_steps=5), "source": "lab.yaml"}
    assert "time_steps: 4 -> 5" in assert_problem(client.post("/v1/studies", json=other), 409)

    assert client.post("/v1/studies/posted/stop").json()["state"] == "stopped"
    change = {"set": {"budget.trials": 9}}
    assert client.post("/v1/studies/posted/resume", json=change).json()["state"] == "running"
    assert client.get("/v1/studies/posted").json()["trials"]["asked"] == 9
    assert_problem(client.post("/v1/studies/done/stop"), 409)
    client.post("/v1/studies/posted/stop")


@pytest.mark.parametrize(
    "change",
    [{"train.epochs": 3}, {"budget.trials": 0}, {"budget.trials": "many"}, {"nonsense": 1}, {"budget.trials.x": 1},
     {"study": "other"}, {"": 1}, {"budget": 1}],
)  # fmt: skip
def test_a_bad_change_is_a_problem(client: httpx.Client, desk: Desk, change: dict[str, Any]) -> None:
    before = desk.studies.spec("tiny")

    assert_problem(client.post("/v1/studies/tiny/resume", json={"set": change}), 400)

    assert desk.studies.spec("tiny") == before


# --- Optuna's dashboard -----------------------------------------------------------------------------------------


def test_the_dashboard_shows_constraints_and_a_feasible_front_and_takes_no_writes(
    client: httpx.Client, desk: Desk
) -> None:
    study_id = desk.studies.row("done").study_id
    running = desk.lease("tiny")

    assert "<title>" in client.get("/", follow_redirects=True).text
    listed = client.get("/api/studies").json()["study_summaries"]
    assert {study["study_name"] for study in listed} >= {"done", "tiny"}
    detail = client.get(f"/api/studies/{study_id}?after=0").json()
    assert [len(trial["constraints"]) for trial in detail["trials"]] == [2] * 6
    assert detail["objective_names"] == ["accuracy", "latency_ms", "fps_per_watt"]
    best = {trial["number"] for trial in detail["best_trials"]}
    assert best == {point["trial"] for point in desk.studies.front("done").points}
    assert 4 not in best  # the dead one

    assert_problem(client.delete(f"/api/studies/{study_id}"), 403)
    assert_problem(
        client.post(f"/api/trials/{running.trial_id}/tell", json={"state": "Complete", "values": [1, 1, 1]}), 403
    )
    assert_problem(client.post("/api/studies", json={"study_name": "x", "directions": ["minimize"]}), 403)
    assert desk.studies.trial("tiny", running.number)["state"] == "running"
