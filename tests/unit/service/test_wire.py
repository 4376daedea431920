"""Messages are strict: what both ends may rely on."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from pydantic import ValidationError

from objectives.acceleratorspec import ChosenAccelerator
from service import wire
from tests.unit.service.factory import DIGEST, make_complete, make_lease, make_point


def _refuses(build: Callable[[], Any]) -> None:
    with pytest.raises(ValidationError):
        build()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none_are_refused_everywhere(bad: float) -> None:
    _refuses(lambda: make_complete(values={"accuracy": bad}))
    _refuses(lambda: make_complete(on_baseline_accelerator={"latency_ms": bad}))
    _refuses(lambda: make_complete(details={"a": bad}))
    _refuses(lambda: make_complete(details={"a": [{"b": [1.0, bad]}]}))
    _refuses(lambda: wire.Tested(fence=1, values={"accuracy": bad}))
    _refuses(lambda: wire.Rung(fence=1, rung=0, epoch=1, values={"accuracy": bad}))
    _refuses(lambda: wire.EpochPoint(epoch=1, loss=bad, accuracy=0.5, seconds=1))
    _refuses(lambda: wire.EpochPoint(epoch=1, loss=1, accuracy=0.5, seconds=bad))
    _refuses(lambda: wire.Change(set={"budget.hours": bad}))


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_they_are_refused_as_json_too(token: str) -> None:
    text = make_complete().model_dump_json()
    for known, name in (("0.9", "accuracy"), ("10", "images")):
        changed = text.replace(f'"{name}":{known}', f'"{name}":{token}')
        assert changed != text
        _refuses(partial(wire.Complete.model_validate_json, changed))
        _refuses(partial(wire.Complete.model_validate, json.loads(changed)))


@pytest.mark.parametrize("name", ["", "a b", "../x", "-a", "x" * 129, "a\n", "ä", "<b>"])
def test_names_of_workers(name: str) -> None:
    _refuses(lambda: wire.LeaseRequest(worker=name, versions={}))
    assert wire.LeaseRequest(worker="host-1.lab:42_a", versions={}).worker == "host-1.lab:42_a"


@pytest.mark.parametrize("digest", ["", DIGEST[:-1], DIGEST + "0", DIGEST.upper(), "../" + DIGEST[3:], DIGEST + "\n"])
def test_digests(digest: str) -> None:
    _refuses(lambda: make_complete(weights=digest))
    _refuses(lambda: make_complete(hardware_front=digest))
    _refuses(lambda: wire.Blob(fence=1, sha256=digest))


def test_unknown_keys_are_refused() -> None:
    _refuses(lambda: wire.Fence.model_validate({"fence": 1, "more": 1}))
    _refuses(lambda: wire.Complete.model_validate({**make_complete().model_dump(), "accuracy": 1.0}))


@pytest.mark.parametrize("fence", [0, -1, 1.5, None, "x"])
def test_fences_begin_at_one(fence: Any) -> None:
    _refuses(lambda: wire.Fence(fence=fence))
    _refuses(lambda: wire.Renewal(fence=fence))
    _refuses(lambda: make_complete(fence=fence))


def test_bounds_of_an_epoch() -> None:
    for fields in ({"epoch": 0}, {"epoch": 10_001}, {"accuracy": 1.01}, {"accuracy": -0.01}, {"seconds": -1}):
        _refuses(partial(wire.EpochPoint.model_validate, {**make_point().model_dump(), **fields}))


@pytest.mark.parametrize(
    ("name", "bad"),
    [("accuracy", -0.01), ("accuracy", 1.01), ("accuracy", 1e308), ("latency_ms", 0), ("latency_ms", -1),
     ("fps_per_watt", 5e-324), ("energy_uj", 1e308)],
)  # fmt: skip
def test_values_that_no_network_can_have_are_refused(name: str, bad: float) -> None:
    """One of them in one report would break the pages of every study: a latency of 0 is divided by."""
    _refuses(lambda: make_complete(values={name: bad}))
    _refuses(lambda: make_complete(on_baseline_accelerator={name: bad}))
    _refuses(lambda: wire.Tested(fence=1, values={name: bad}))
    _refuses(lambda: wire.Rung(fence=1, rung=0, epoch=1, values={name: bad}))


def test_accuracies_of_0_and_1_and_values_of_no_objective_are_taken() -> None:
    for values in ({"accuracy": 0.0}, {"accuracy": 1.0}, {"luts": 0.0}):
        assert make_complete(values=values).values == values


def test_a_result_brings_rungs_of_its_own_attempt_only() -> None:
    own, other = (wire.Rung(fence=fence, rung=0, epoch=1, values={}) for fence in (2, 1))
    assert make_complete(rungs=(own,)).rungs == (own,)
    _refuses(lambda: make_complete(rungs=(own, other)))


def test_hazards_are_bounded() -> None:
    assert make_complete(hazards=wire.MAX_HAZARDS).hazards == wire.MAX_HAZARDS
    _refuses(lambda: make_complete(hazards=wire.MAX_HAZARDS + 1))


MANY = {f"k{n}": "x" for n in range(1000)}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (wire.Fence, {"fence": 1, **MANY}),
        (wire.Renewal, {"fence": 1, "epochs": [{}] * 1000}),
        (wire.Renewal, {"fence": 1, "epochs": [MANY] * 1000}),
        (wire.Rung, {"fence": 1, "rung": 0, "epoch": 1, "values": MANY}),
        (wire.LeaseRequest, {"worker": "w", "versions": dict.fromkeys(MANY, 1)}),
        (wire.Change, {"set": {key: [] for key in MANY}}),
    ],
)
def test_a_message_with_a_thousand_mistakes_is_not_answered_with_a_thousand_problems(
    model: type[wire.Message], message: Any
) -> None:
    with pytest.raises(ValidationError) as refusal:
        model.model_validate(message)
    assert refusal.value.error_count() < 10


def test_free_text_is_bounded_and_storable() -> None:
    failed = wire.Failed(fence=1, error="E", message="a\0b\ud800", traceback="t")
    assert failed.message == "a\ufffdb?"
    failed.model_dump_json().encode()
    _refuses(lambda: wire.Failed(fence=1, error="E", message="x" * 20_001, traceback=""))


def test_what_is_free_in_a_message_is_storable_and_not_too_deep() -> None:
    complete = make_complete(details={"a\0": ["x\0y", {"b": "\ud800"}]})
    assert complete.details == {"a\ufffd": ["x\ufffdy", {"b": "?"}]}
    assert wire.Change(set={"notes": "a\0"}).set == {"notes": "a\ufffd"}
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    _refuses(lambda: make_complete(details={"a": deep}))


def test_a_lease_survives_its_json() -> None:
    chosen = ChosenAccelerator(neural_cores=(4, 5), encoder_widths=(None, 64))
    blobs = {"checkpoints": (wire.Blob(fence=1, sha256=DIGEST),), "weights": wire.Blob(fence=2, sha256=DIGEST)}
    lease = make_lease(**blobs, accelerator=chosen)
    offer = wire.Offer.model_validate_json(wire.Offer(work=lease).model_dump_json(by_alias=True))
    assert offer.work == lease
    assert isinstance(offer.work, wire.Lease)
    assert {name: type(value) for name, value in offer.work.params.items()} == {
        "beta": float, "threshold": float, "accelerator.neural_cores.0": int,
    }  # fmt: skip


def test_an_offer_tells_work_from_idleness() -> None:
    idle = wire.Offer.model_validate_json('{"work": {"task": "none", "retry_s": 0.5, "finished": true}}').work
    assert isinstance(idle, wire.Idle)
    _refuses(lambda: wire.Offer.model_validate_json('{"work": {"task": "dance"}}'))


def test_messages_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        make_complete().fence = 3  # type: ignore[misc]


def test_a_result_survives_its_json() -> None:
    complete = make_complete(details={"a": [1, 2.5, None, {"b": "text"}], "c": True})
    assert wire.Complete.model_validate_json(complete.model_dump_json()) == complete
