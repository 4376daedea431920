"""Hard cases of bad input, each with the words of its refusal: nothing of it is stored, and a page never breaks."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from service.gate import MAX_JSON_BYTES
from service.studies import Studies
from storage.embedded import EmbeddedPostgres
from tests.support.apiscene import DIGEST, WEIGHTS, Scene, served
from tests.support.desk import made_up

HUGE = "1" + "0" * 400
POINT = '{"epoch": 1, "loss": 1, "accuracy": 0.5, "seconds": 1}'
VALUES = '"values": {"accuracy": 0.5, "latency_ms": 1.0, "fps_per_watt": 1.0}'
RUNG = '{"fence": FENCE, "rung": 0, "epoch": 1, ' + VALUES + "}"
COMPLETE = (
    f'{{"fence": FENCE, {VALUES}, "fits_device": true, "hazards": 0, "details": {{}}, "on_baseline_accelerator": null, '
    f'"weights": "{DIGEST}"}}'
)


def epochs(points: str) -> str:
    return f'{{"fence": FENCE, "epochs": [{points}]}}'


REFUSED: dict[str, tuple[str, str, int, str]] = {
    "fence 0": ("renew", '{"fence": 0}', 400, "fence: Input should be greater than or equal to 1"),
    "fence -1": ("renew", '{"fence": -1}', 400, "fence: Input should be greater than or equal to 1"),
    "fence 2**63": ("renew", f'{{"fence": {2**63}}}', 409, f"fence {2**63} was never given; the newest is FENCE"),
    "fence 2**64": ("renew", f'{{"fence": {2**64}}}', 409, f"fence {2**64} was never given; the newest is FENCE"),
    "two fences": ("renew", '{"fence": FENCE, "fence": 99}', 409, "fence 99 was never given; the newest is FENCE"),
    "loss 10**400": (
        "renew", epochs(POINT.replace('"loss": 1', f'"loss": {HUGE}')), 400,
        "epochs.0.loss: Input should be a valid number",
    ),
    "deep": ("renew", "[" * 100_000, 400, "There was an error parsing the body"),
    "deep inside": (
        "complete", COMPLETE.replace("{}", '{"a": ' + "[" * 33 + "]" * 33 + "}"), 400,
        "details: Value error, nested deeper than 32 levels",
    ),
    "hazards 10**400": (
        "complete", COMPLETE.replace('"hazards": 0', f'"hazards": {HUGE}'), 400,
        "hazards: Input should be less than or equal to 1000000000000000",
    ),
    "epochs out of reach": (
        "renew", epochs(POINT.replace('"epoch": 1', '"epoch": 10001')), 400,
        "epochs.0.epoch: Input should be less than or equal to 10000",
    ),
    "10**6 epochs": (
        "renew", epochs("1, " * 10**6 + "1"), 400,
        "epochs.0: Input should be a valid dictionary or object to extract fields from",
    ),
    "too many epochs": (
        "renew", epochs(", ".join([POINT] * 10_001)), 400,
        "epochs: Tuple should have at most 10000 items after validation, not 10001",
    ),
    "rung 65": (
        "rungs", RUNG.replace('"rung": 0', '"rung": 65'), 400, "rung: Input should be less than or equal to 64",
    ),
    "a rung of another attempt": (
        "complete", COMPLETE[:-1] + f', "rungs": [{RUNG.replace("FENCE", "7")}]}}', 400,
        "Value error, rungs: fence 7 in a report of fence FENCE; send the rungs of this attempt only",
    ),
    "a thousand values": (
        "rungs", RUNG.replace('"accuracy"', "".join(f'"k{n}": 1, ' for n in range(1000)) + '"accuracy"'), 400,
        "values: Value error, expected at most 64 keys, got 1003",
    ),
    "a million keys": (
        "renew", '{"fence": FENCE' + "".join(f', "k{n}": 1' for n in range(400_000)) + "}", 400,
        "Value error, expected at most 64 keys, got 400001",
    ),
    "nul in a value's name": (
        "rungs", RUNG.replace('"accuracy"', '"a\\u0000": 1, "accuracy"'), 400,
        "the database cannot hold this: unsupported Unicode escape sequence",
    ),
    "surrogate in a value's name": (
        "rungs", RUNG.replace('"accuracy"', '"\\ud800": 1, "accuracy"'), 400,
        "values.\ufffd\ufffd\ufffd.[key]: Input should be a valid string, unable to parse raw data as a unicode string",
    ),
    "digest in upper case": (
        "complete", COMPLETE.replace(DIGEST, DIGEST.upper()), 400,
        "weights: String should match pattern '^[0-9a-f]{64}$'",
    ),
    "weights never sent": (
        "complete", COMPLETE.replace(DIGEST, "0" * 64), 400,
        "weights: send the trained network before completing its trial",
    ),
    "a test of a trial in training": (
        "tested", '{"fence": FENCE, "values": {"accuracy": 0.5}}', 409,
        "trial NUMBER is in training; complete, fail or release it",
    ),
    **{
        f"accuracy {token}": (
            "complete", COMPLETE.replace("0.5", token), 400, "values.accuracy: Input should be a finite number",
        )
        for token in ("NaN", "Infinity", "-Infinity", "1e999")
    },
    **{
        f"{name} {value}": (
            "complete", COMPLETE.replace(f'"{name}": {was}', f'"{name}": {value}'), 400,
            f"values: Value error, {name}: expected {wanted}, got {shown}",
        )
        for name, was, value, wanted, shown in (
            ("accuracy", "0.5", "1e308", "0 to 1", "1e+308"), ("accuracy", "0.5", "-0.1", "0 to 1", "-0.1"),
            ("latency_ms", "1.0", "0", "1e-30 to 1e+30", "0"), ("latency_ms", "1.0", "-1", "1e-30 to 1e+30", "-1"),
            ("latency_ms", "1.0", "1e308", "1e-30 to 1e+30", "1e+308"),
            ("fps_per_watt", "1.0", "5e-324", "1e-30 to 1e+30", "4.94066e-324"),
        )
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def place(postgres: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with served(postgres, template, tmp_path_factory.mktemp("bad")) as made:
        yield made


@pytest.fixture
def scene(place: Scene) -> Scene:
    place.prepare()
    return place


def refused(scene: Scene, status: int, words: str, method: str, path: str, **request: Any) -> None:
    """The request is refused with exactly these words, and nothing of it stored."""
    before = scene.stored()
    answer = scene.call(method, path, **request)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json"), answer.text
    assert answer.json()["detail"] == words
    assert scene.stored() == before


@pytest.mark.parametrize(("ending", "body", "status", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_hard_report_is_refused_in_words_and_stores_nothing(
    scene: Scene, ending: str, body: str, status: int, words: str
) -> None:
    with scene.engine.connect() as connection:
        number = connection.scalar(text(f"SELECT number FROM public.trials WHERE trial_id = {scene.trial_id}"))
    words = words.replace("FENCE", str(scene.fence)).replace("NUMBER", str(number))
    sent = body.replace("FENCE", str(scene.fence)).encode()

    path = f"/v1/leases/{scene.trial_id}/{ending}"
    refused(scene, status, words, "POST", path, data=sent, headers={"Content-Type": "application/json"})


WORKER = "worker: String should match pattern '^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$'"
NAME = "study: String should match pattern '^[a-z0-9][a-z0-9._-]{0,62}$'"
TEXT = "Input should be a valid string, unable to parse raw data as a unicode string"


@pytest.mark.parametrize("odd", ["x" * 600, "a\0b", "a\u202eb", "a\x07b", "", "a b"],
                         ids=["600 characters", "nul", "right to left", "bell", "empty", "space"])  # fmt: skip
def test_odd_names_are_refused(scene: Scene, odd: str) -> None:
    right = scene.bodies()["leases"]

    refused(scene, 400, WORKER, "POST", "/v1/leases", json={**right, "worker": odd})
    refused(scene, 400, NAME, "POST", "/v1/leases", json={**right, "study": odd})


def test_a_lone_surrogate_is_refused(scene: Scene) -> None:
    refused(scene, 400, f"worker: {TEXT}", "POST", "/v1/leases", json={**scene.bodies()["leases"], "worker": "\ud800"})
    refused(scene, 400, f"yaml: {TEXT}", "POST", "/v1/studies", json={"yaml": "\ud800"})


def test_a_worker_tells_a_bounded_number_of_versions(scene: Scene) -> None:
    right = scene.bodies()["leases"]
    many = right["versions"] | {f"k{n}": "1" for n in range(100)}

    words = "versions: Value error, expected at most 64 keys, got 103"
    refused(scene, 400, words, "POST", "/v1/leases", json={**right, "versions": many})


@pytest.mark.parametrize("trial_id", [2**31, 2**63, 10**400])
def test_a_trial_beyond_the_database_s_integers_is_refused(scene: Scene, trial_id: int) -> None:
    words = "path.trial_id: Input should be less than or equal to 2147483647"
    refused(scene, 400, words, "POST", f"/v1/leases/{trial_id}/renew", json={"fence": 1})


def test_a_trial_that_nobody_has_is_not_found(scene: Scene) -> None:
    words = "trial 2147483647 has no lease; it was never handed out, or its study was deleted"
    refused(scene, 404, words, "POST", f"/v1/leases/{2**31 - 1}/renew", json={"fence": 1})


@pytest.mark.parametrize(
    ("digest", "data", "status", "words"),
    [
        ("0" * 64, b"x", 400, "the bytes do not hash to the digest sent with them; send them again"),
        (hashlib.sha256(b"").hexdigest(), b"", 400, "expected 1 to 268435456 bytes, got 0"),
        (DIGEST.upper(), WEIGHTS, 400, "path.digest: String should match pattern '^[0-9a-f]{64}$'"),
    ],
    ids=["wrong digest", "empty", "upper case"],
)
@pytest.mark.parametrize("kind", ["checkpoints", "weights", "hardware-front"])
def test_bytes_that_are_not_what_they_say_are_refused(
    scene: Scene, kind: str, digest: str, data: bytes, status: int, words: str
) -> None:
    path, headers = f"/v1/leases/{scene.trial_id}/{kind}/{digest}?epoch=1", {"X-Fence": str(scene.fence)}
    refused(scene, status, words, "PUT", path, data=data, headers=headers)


@pytest.mark.parametrize("fence", [2**63, 2**64])
def test_bytes_of_a_fence_never_given_are_refused(scene: Scene, fence: int) -> None:
    words = f"fence {fence} was never given; the newest is {scene.fence}"
    path = f"/v1/leases/{scene.trial_id}/weights/{DIGEST}"
    refused(scene, 409, words, "PUT", path, data=WEIGHTS, headers={"X-Fence": str(fence)})


def test_bytes_that_nobody_sent_are_not_found_and_make_no_event(scene: Scene) -> None:
    before = scene.stored()

    answer = scene.call("GET", f"/v1/leases/{scene.trial_id}/blobs/{scene.fence}/{'0' * 64}")

    assert answer.status_code == 404
    assert scene.stored() == before


def test_weights_that_were_torn_after_the_end_make_an_event(scene: Scene) -> None:
    path = f"/v1/leases/{scene.trial_id}"
    scene.call("POST", f"{path}/complete", json=scene.bodies()["complete"]).raise_for_status()
    (scene.artifacts / str(scene.trial_id) / f"{scene.fence}-{DIGEST}.safetensors").write_bytes(b"torn")

    answer = scene.call("GET", f"{path}/blobs/{scene.fence}/{DIGEST}")

    assert answer.status_code == 404
    last = scene.call("GET", "/v1/studies/tiny/events").json()[-1]
    assert (last["kind"], last["message"].rpartition(": ")[2]) == (
        "refused", "does not hash to its name; it was torn or altered",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("headers", "data", "words"),
    [
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, gzip.compress(b'{"fence": 1}'),
         "There was an error parsing the body"),
        ({"Content-Type": "text/plain"}, b'{"fence": 1}',
         "Input should be a valid dictionary or object to extract fields from"),
        ({"Content-Type": "multipart/form-data"}, b'{"fence": 1}',
         "Input should be a valid dictionary or object to extract fields from"),
        ({}, b'{"fence": 1}', "Input should be a valid dictionary or object to extract fields from"),
    ],
    ids=["gzip", "text", "form", "none"],
)  # fmt: skip
def test_bodies_in_another_dress_are_refused(scene: Scene, headers: dict[str, str], data: bytes, words: str) -> None:
    refused(scene, 400, words, "POST", f"/v1/leases/{scene.trial_id}/renew", data=data, headers=headers)


def test_a_body_over_the_limit_is_refused(scene: Scene) -> None:
    body = b'{"fence": 1}' + b" " * MAX_JSON_BYTES
    words = f"the body is larger than {MAX_JSON_BYTES} bytes"
    refused(scene, 413, words, "POST", f"/v1/leases/{scene.trial_id}/renew", data=body)


def test_epochs_repeated_and_out_of_order_make_one_curve_of_which_the_last_word_counts(scene: Scene) -> None:
    points = [{"epoch": epoch, "loss": loss, "accuracy": 0.5, "seconds": 1.0}
              for epoch, loss in ((2, 1.0), (1, 2.0), (2, 3.0))]  # fmt: skip

    answer = scene.call("POST", f"/v1/leases/{scene.trial_id}/renew", json={"fence": scene.fence, "epochs": points})

    assert (answer.status_code, answer.json()) == (200, {"stop": False})
    with scene.engine.connect() as connection:
        query = text("SELECT epoch, loss FROM spikefront.epoch WHERE trial_id = :id ORDER BY epoch")
        assert connection.execute(query, {"id": scene.trial_id}).all() == [(1, 2.0), (2, 3.0)]


def test_after_its_end_a_trial_takes_its_end_again_and_nothing_else(scene: Scene) -> None:
    path, right = f"/v1/leases/{scene.trial_id}", scene.bodies()
    assert scene.call("POST", f"{path}/complete", json=right["complete"]).status_code == 204
    ended = scene.stored()

    assert scene.call("POST", f"{path}/complete", json=right["complete"]).status_code == 204
    assert scene.stored() == ended
    other = {**right["complete"], "values": made_up(1)}
    refused(scene, 409, "the trial is finished", "POST", f"{path}/complete", json=other)
    for late in ("renew", "rungs", "fail", "release"):
        refused(scene, 409, "the trial is finished", "POST", f"{path}/{late}", json=right[late])
    for kind in ("checkpoints", "weights"):
        headers = {"X-Fence": str(scene.fence)}
        address = f"{path}/{kind}/{DIGEST}?epoch=1"
        refused(scene, 409, "the trial is finished", "PUT", address, data=WEIGHTS, headers=headers)


def test_after_a_take_over_the_old_attempt_takes_part_no_more(scene: Scene) -> None:
    path, right, old = f"/v1/leases/{scene.trial_id}", scene.bodies(), scene.fence
    scene.call("POST", f"{path}/release", json=right["release"]).raise_for_status()
    taken = {"trial_id": 0}
    while taken["trial_id"] != scene.trial_id:  # what other tests left comes first
        taken = scene.call("POST", "/v1/leases", json={**right["leases"], "worker": "second"}).json()["work"]
    assert taken["fence"] == old + 1

    words = f"fence {old} is old: second took the trial over with fence {old + 1}"
    for late in ("complete", "renew", "rungs", "fail", "release"):
        refused(scene, 409, words, "POST", f"{path}/{late}", json=right[late])


@pytest.mark.parametrize("path", ["/ui/s/%00", "/ui/s/a%00b", "/ui/s/%ff", "/ui/s/" + "x" * 600])
def test_the_page_of_an_odd_name_is_missing(scene: Scene, path: str) -> None:
    answer = scene.call("GET", path)

    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")


@pytest.mark.parametrize("last", ["\u00b2", "9" * 30, "-1", "x"])
def test_the_stream_overlooks_an_odd_last_event(scene: Scene, last: str) -> None:
    headers = {"Last-Event-ID": last.encode("latin-1")}
    with scene.call("GET", "/v1/studies/tiny/stream", headers=headers, stream=True) as answer:
        assert answer.status_code == 200
        assert next(answer.iter_lines()).startswith(b"id: ")


def test_a_bug_is_answered_with_a_problem(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Studies) -> list[str]:
        raise RuntimeError("of the test")

    monkeypatch.setattr(Studies, "names", broken)

    refused(scene, 500, "the server has a bug here; its log tells more", "GET", "/v1/studies")
