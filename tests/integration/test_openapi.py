"""The server keeps its OpenAPI document, whatever comes: no 5xx, no hang, and nothing stored by a refused request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from storage.embedded import EmbeddedPostgres
from tests.support.apiscene import DIGEST, LIMIT_S, Scene, served

STREAM_S = 0.3
"""The stream of events has no end: it is read for so long."""

PAGES = ("/v1/studies", "/v1/studies/tiny/trials", "/ui/s/tiny")
"""What one accepted report could spoil for everybody."""
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

OPERATIONS = [
    "GET /healthz", "GET /metrics", "POST /v1/leases", "POST /v1/leases/{trial_id}/renew",
    "POST /v1/leases/{trial_id}/gate", "POST /v1/leases/{trial_id}/rungs",
    "PUT /v1/leases/{trial_id}/checkpoints/{digest}",
    "PUT /v1/leases/{trial_id}/weights/{digest}", "PUT /v1/leases/{trial_id}/hardware-front/{digest}",
    "GET /v1/leases/{trial_id}/blobs/{fence}/{digest}", "POST /v1/leases/{trial_id}/complete",
    "POST /v1/leases/{trial_id}/fail", "POST /v1/leases/{trial_id}/tested", "POST /v1/leases/{trial_id}/release",
    "POST /v1/studies", "GET /v1/studies", "GET /v1/studies/{name}", "GET /v1/studies/{name}/front",
    "GET /v1/studies/{name}/trials", "GET /v1/studies/{name}/trials/{number}", "GET /v1/studies/{name}/events",
    "POST /v1/studies/{name}/stop", "POST /v1/studies/{name}/resume", "GET /v1/studies/{name}/stream",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(postgres: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with served(postgres, template, tmp_path_factory.mktemp("openapi")) as made:
        yield made


@pytest.fixture(scope="module")
def document(place: Scene) -> Any:
    return schemathesis.openapi.from_dict(place.call("GET", "/openapi.json").json())


def test_every_operation_of_the_document_is_tried(document: Any) -> None:
    assert sorted(found.ok().label for found in document.get_all_operations()) == sorted(OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_server_keeps_its_document(place: Scene, document: Any, operation: str) -> None:
    keep_trying(place, document, operation, examples=6)


@pytest.mark.full
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_server_keeps_its_document_for_long(place: Scene, document: Any, operation: str) -> None:
    keep_trying(place, document, operation, examples=200)


def keep_trying(scene: Scene, document: Any, label: str, *, examples: int) -> None:
    """Send requests to one operation that fit the document, that do not, and that are right but for one field."""
    operation = document.find_operation_by_label(label)
    modes = [
        GenerationMode.POSITIVE,
        *([GenerationMode.NEGATIVE] if operation.path_parameters or operation.body else []),
    ]

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],  # the database goes on from request to request: nothing to be made smaller
        suppress_health_check=list(HealthCheck),
    )
    @given(case=st.one_of([operation.as_strategy(mode) for mode in modes]), data=st.data())
    def attempt(case: Case[Any], data: st.DataObject) -> None:
        scene.prepare()
        if data.draw(st.booleans()):
            aim(scene, case, data)
        before = scene.stored()

        limit_s = STREAM_S if label.endswith("/stream") else LIMIT_S
        answer = case.call(base_url=scene.url, session=scene.session, timeout=limit_s)

        case.validate_response(answer, checks=CHECKS)
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == ["application/problem+json"]
            assert answer.json()["status"] == answer.status_code
        if answer.status_code >= 400 or operation.method.upper() == "GET":
            assert scene.stored() == before
        else:
            assert [page for page in PAGES if scene.call("GET", page).status_code != 200] == []

    attempt()


def aim(scene: Scene, case: Case[Any], data: st.DataObject) -> None:
    """Turn a request into one for what is there, right but for one field of its body."""
    there = {"trial_id": scene.trial_id, "fence": scene.fence, "digest": DIGEST, "name": "tiny", "number": 0}
    case.path_parameters = {name: there[name] for name in case.path_parameters or {}}
    if "X-Fence" in (case.headers or {}):
        case.headers["X-Fence"] = str(scene.fence)
    right = scene.bodies().get(case.path.rpartition("/")[2])
    if right is not None and isinstance(case.body, dict):
        names = st.sampled_from(sorted(case.body)) if case.body else st.none()
        odd = data.draw(names, label="the odd field")
        case.body = right if odd is None else {**right, odd: case.body[odd]}
