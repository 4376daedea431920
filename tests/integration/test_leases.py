"""Leases on a real database: taken, renewed, expired, taken over, refused; and the checkpoints under them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from service import wire
from service.errors import LeaseLost, NotFound, UsageError
from service.pacing import MARGIN_S
from tests.support.desk import SHORT_S, Desk, completion, made_up, weights_of
from tests.support.postgres import eventually
from tests.support.processes import scalar


def test_a_held_lease_is_not_handed_out_again(desk: Desk) -> None:
    desk.start(budget={"trials": 1})
    desk.lease()

    offer = desk.ask(worker="second")

    assert isinstance(offer, wire.Idle)
    assert not offer.finished


def test_renewal_prolongs_a_lease(hasty: Desk) -> None:
    hasty.start(budget={"trials": 1})
    lease = hasty.lease()
    eventually(lambda: hasty.is_expired(lease.trial_id), "the lease is expired")

    point = wire.EpochPoint(epoch=1, loss=0.5, accuracy=0.25, seconds=0.1)
    renewed = hasty.reports.renew(lease.trial_id, wire.Renewal(fence=1, epochs=(point,)))

    assert not renewed.stop
    assert not hasty.is_expired(lease.trial_id)
    assert isinstance(hasty.ask(worker="second"), wire.Idle)
    assert hasty.studies.trial("tiny", 0)["curve"] == [point.model_dump()]
    assert hasty.studies.status("tiny").running[0]["accuracy"] == 0.25


def test_an_expired_lease_is_taken_over_in_place_with_its_checkpoint(hasty: Desk) -> None:
    hasty.start()
    old = hasty.lease(worker="first")
    blob = hasty.checkpoint(old, 1, b"after epoch 1")

    new = hasty.taken_over(old)

    assert (new.number, new.trial_id, new.params, new.seed) == (old.number, old.trial_id, old.params, old.seed)
    assert new.fence == old.fence + 1
    assert new.checkpoints == (blob,)
    assert hasty.reports.blob(new.trial_id, blob.fence, blob.sha256) == b"after epoch 1"
    assert hasty.events("taken over") == ["second takes trial 0 over from first, from epoch 1"]
    assert scalar(hasty.url, "SELECT count(*) FROM public.trials WHERE state = 'RUNNING'") == 1


def test_only_one_of_many_takes_an_expired_lease_over(hasty: Desk) -> None:
    hasty.start(budget={"trials": 1})
    old = hasty.lease()
    eventually(lambda: hasty.is_expired(old.trial_id), "the lease is expired")
    gate = threading.Barrier(6)

    def ask(number: int) -> wire.Lease | wire.Idle:
        gate.wait()
        return hasty.ask(worker=f"w{number}")

    with ThreadPoolExecutor(6) as pool:
        offers = list(pool.map(ask, range(6)))

    fences = [offer.fence for offer in offers if isinstance(offer, wire.Lease)]
    assert fences == [2]


def test_an_idle_worker_is_told_to_come_when_the_next_lease_runs_out(hasty: Desk) -> None:
    hasty.start(budget={"trials": 1})
    old = hasty.lease(worker="first")

    idle = hasty.ask(worker="second")

    assert isinstance(idle, wire.Idle)
    assert 0 < idle.retry_s <= SHORT_S + MARGIN_S
    time.sleep(idle.retry_s)
    assert hasty.lease(worker="second").trial_id == old.trial_id


LATE: dict[str, Callable[[Desk, wire.Lease], object]] = {
    "renew": lambda desk, old: desk.reports.renew(
        old.trial_id,
        wire.Renewal(fence=old.fence, epochs=(wire.EpochPoint(epoch=9, loss=9, accuracy=0.9, seconds=9),)),
    ),
    "rung": lambda desk, old: desk.judging.rung(
        old.trial_id, wire.Rung(fence=old.fence, rung=0, epoch=1, values=made_up(0))
    ),
    "gate": lambda desk, old: desk.judging.gate(
        old.trial_id, wire.Bound(fence=old.fence, values=made_up(0), fits_device=True)
    ),
    "checkpoint": lambda desk, old: desk.checkpoint(old, 9, b"late"),
    "weights": lambda desk, old: desk.reports.weights(old.trial_id, old.fence, "0" * 64, b"late"),
    "complete": lambda desk, old: desk.reports.complete(old.trial_id, completion(old, "0" * 64)),
    "fail": lambda desk, old: desk.reports.fail(
        old.trial_id, wire.Failed(fence=old.fence, error="Late", message="late", traceback="")
    ),
    "tested": lambda desk, old: desk.reports.tested(old.trial_id, wire.Tested(fence=old.fence, values={})),
    "release": lambda desk, old: desk.reports.release(old.trial_id, wire.Fence(fence=old.fence)),
}


@pytest.mark.parametrize("report", LATE.values(), ids=LATE.keys())
@pytest.mark.parametrize("is_over", [False, True], ids=["at work", "complete"])
def test_a_late_writer_is_refused_and_changes_nothing(
    hasty: Desk, report: Callable[[Desk, wire.Lease], object], is_over: bool
) -> None:
    hasty.start()
    old = hasty.lease(worker="first")
    hasty.checkpoint(old, 1, b"after epoch 1")
    new = hasty.taken_over(old)
    if is_over:
        hasty.complete(new)
    before, files = hasty.snapshot(), hasty.files(old.trial_id)

    with pytest.raises(LeaseLost, match="fence 1 is old: second took the trial over with fence 2"):
        report(hasty, old)

    assert hasty.snapshot() == before
    assert hasty.files(old.trial_id) == files


def test_a_lease_of_a_trial_that_was_never_handed_out_is_not_found(desk: Desk) -> None:
    desk.start()

    with pytest.raises(NotFound, match="trial 999 has no lease"):
        desk.reports.renew(999, wire.Renewal(fence=1))


def test_released_the_next_worker_gets_it_at_once(desk: Desk) -> None:
    desk.start()
    old = desk.lease(worker="first")
    blob = desk.checkpoint(old, 1, b"state")

    desk.reports.release(old.trial_id, wire.Fence(fence=1))
    new = desk.lease(worker="second")

    assert (new.number, new.fence, new.checkpoints) == (0, 2, (blob,))


def test_only_the_newest_two_checkpoints_are_kept(desk: Desk) -> None:
    desk.start()
    lease = desk.lease()

    blobs = [desk.checkpoint(lease, epoch, f"state {epoch}".encode()) for epoch in range(1, 5)]

    assert desk.files(lease.trial_id) == sorted(f"1-{blob.sha256}.safetensors" for blob in blobs[2:])
    desk.reports.release(lease.trial_id, wire.Fence(fence=1))
    assert desk.lease().checkpoints == (blobs[3], blobs[2])


def test_a_checkpoint_sent_twice_survives_the_one_that_pushes_its_first_copy_out(desk: Desk) -> None:
    desk.start()
    lease = desk.lease()

    for data in (b"same", b"same", b"same", b"other"):
        desk.checkpoint(lease, 1, data)

    desk.reports.release(lease.trial_id, wire.Fence(fence=1))
    for blob in desk.lease().checkpoints:
        desk.reports.blob(lease.trial_id, blob.fence, blob.sha256)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "gone"])
def test_a_damaged_checkpoint_is_refused_and_the_older_one_serves(desk: Desk, damage: str) -> None:
    desk.start()
    lease = desk.lease()
    older, newer = desk.checkpoint(lease, 1, b"older state"), desk.checkpoint(lease, 2, b"newer state")
    path = desk.folder / str(lease.trial_id) / f"1-{newer.sha256}.safetensors"
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"cut": b"newer", "flipped": b"neweR state", "empty": b""}[damage])

    with pytest.raises(NotFound):
        desk.reports.blob(lease.trial_id, newer.fence, newer.sha256)

    assert desk.reports.blob(lease.trial_id, older.fence, older.sha256) == b"older state"
    assert len(desk.events("refused")) == 1


def test_bytes_that_do_not_hash_to_their_digest_are_not_stored(desk: Desk) -> None:
    desk.start()
    lease = desk.lease()

    with pytest.raises(UsageError, match="do not hash"):
        desk.reports.checkpoint(lease.trial_id, 1, 1, "0" * 64, b"other")
    with pytest.raises(UsageError, match="expected 1 to"):
        desk.reports.weights(lease.trial_id, 1, "0" * 64, b"")

    assert desk.files(lease.trial_id) == []


def test_a_finished_trial_keeps_its_weights_only(desk: Desk) -> None:
    desk.start()
    lease = desk.lease()
    desk.checkpoint(lease, 1, b"state")

    message = desk.complete(lease)

    assert desk.files(lease.trial_id) == [f"1-{message.weights}.safetensors"]
    assert desk.reports.blob(lease.trial_id, 1, message.weights) == weights_of(lease)
