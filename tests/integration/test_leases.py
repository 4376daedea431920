"""The life of a trial on a real database, with workers that train nothing: handed out, taken over, ended, counted."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from pydantic import ValidationError
from sqlalchemy import text

from objectives.errors import SpecError
from service import wire
from service.errors import Conflict, LeaseLost, NotFound, SpecDiffers, UsageError
from tests.support.desk import Desk, completion, made_up, opened, weights_of
from tests.support.postgres import eventually
from tests.support.processes import audit, scalar
from tests.support.studies import make_study

SHORT_S = 0.4


@pytest.fixture
def desk(url: str, tmp_path: Path) -> Iterator[Desk]:
    """A desk with leases that outlast the test."""
    with opened(url, tmp_path) as place:
        yield place


@pytest.fixture
def hasty(url: str, tmp_path: Path) -> Iterator[Desk]:
    """A desk whose leases expire soon."""
    with opened(url, tmp_path, lease_s=SHORT_S) as place:
        yield place


def started(desk: Desk, **fields: Any) -> None:
    desk.studies.start(make_study(**fields))


def is_expired(desk: Desk, trial_id: int) -> bool:
    query = "SELECT expires_at <= clock_timestamp() FROM spikefront.lease WHERE trial_id = :id"
    return bool(scalar(desk.url, query, id=trial_id))


def taken_over(desk: Desk, old: wire.Lease, worker: str = "second") -> wire.Lease:
    eventually(lambda: is_expired(desk, old.trial_id), "the lease is expired")
    return desk.lease(worker=worker)


def snapshot(desk: Desk) -> list[Any]:
    """Everything that a refused writer must not change."""
    tables = ["public.trials", "public.trial_values", "public.trial_params", "public.trial_user_attributes",
              "public.trial_system_attributes", "spikefront.lease", "spikefront.epoch", "spikefront.rung",
              "spikefront.checkpoint", "spikefront.result", "spikefront.event", "spikefront.study"]  # fmt: skip
    with desk.record.engine.connect() as connection:
        return [sorted(map(repr, connection.execute(text(f"SELECT * FROM {table}")))) for table in tables]


def events(desk: Desk, kind: str) -> list[str]:
    return [event.message for event in desk.studies.events("tiny") if event.kind == kind]


# --- creation ---------------------------------------------------------------------------------------------------


def test_trial_0_is_the_baseline_with_its_parameters(desk: Desk) -> None:
    started(desk)

    lease = desk.lease()

    assert lease.number == 0
    assert lease.fence == 1
    assert lease.params == lease.baseline_params == {"beta": 0.25, "threshold": 1.0, "accelerator.neural_cores.0": 2}
    assert desk.record.optuna.get_trial(lease.trial_id).params == lease.params


def test_eight_workers_at_once_create_exactly_the_trials_asked_for(desk: Desk) -> None:
    started(desk, budget={"trials": 20})

    with ThreadPoolExecutor(8) as pool:
        reasons = list(pool.map(lambda number: desk.drain(worker=f"w{number}"), range(8)))

    assert set(reasons) == {"complete: the budget is spent"}
    trials = audit(desk.url, "tiny", 20)
    assert len({str(trial.params) for trial in trials}) > 15


def test_two_servers_on_one_database_create_exactly_the_trials_asked_for(url: str, tmp_path: Path) -> None:
    with opened(url, tmp_path) as first, opened(url, tmp_path) as second:
        started(first, budget={"trials": 15})

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: (first, second)[number % 2].drain(worker=f"w{number}"), range(4)))

    audit(url, "tiny", 15)


def test_the_same_order_gives_the_same_parameters(desk: Desk) -> None:
    for name in ("tiny", "again"):
        started(desk, name=name, budget={"trials": 13})
        desk.drain(name)

    first, second = desk.studies.trials("tiny"), desk.studies.trials("again")
    assert [trial["params"] for trial in first] == [trial["params"] for trial in second]


def test_a_warm_and_a_cold_sampler_suggest_the_same(url: str, tmp_path: Path) -> None:
    with opened(url, tmp_path) as warm:
        started(warm, budget={"trials": 12})
        started(warm, name="cold", budget={"trials": 12})
        warm.drain()
    for _ in range(12):
        with opened(url, tmp_path) as cold:  # a server restarted before every trial
            cold.serve(cold.lease("cold"))

    assert [t["params"] for t in cold.studies.trials("tiny")] == [t["params"] for t in cold.studies.trials("cold")]


def test_a_trial_enqueued_by_another_optuna_client_is_picked_up_and_counts(desk: Desk) -> None:
    started(desk)
    desk.serve(desk.lease())
    wanted = {"beta": 0.5, "threshold": 2.0, "accelerator.neural_cores.0": 4}
    optuna.load_study(study_name="tiny", storage=desk.url).enqueue_trial(wanted)

    lease = desk.lease()

    assert lease.number == 1
    assert lease.params == wanted
    desk.serve(lease)
    desk.drain()
    assert audit(desk.url, "tiny", 4)[1].params == wanted


def test_an_enqueued_trial_that_fixes_a_part_gets_the_rest_from_the_sampler(desk: Desk) -> None:
    started(desk)
    desk.serve(desk.lease())
    optuna.load_study(study_name="tiny", storage=desk.url).enqueue_trial({"beta": 0.5})

    lease = desk.lease()

    assert lease.params["beta"] == 0.5
    assert set(lease.params) == {"beta", "threshold", "accelerator.neural_cores.0"}


@pytest.mark.parametrize("fixed", [{"accelerator.neural_cores.0": 3}, {"beta": "much"}, {"beta": None}])
def test_an_enqueued_trial_with_an_impossible_value_fails_and_the_study_goes_on(desk: Desk, fixed: Any) -> None:
    started(desk)
    desk.serve(desk.lease())
    optuna.load_study(study_name="tiny", storage=desk.url).enqueue_trial(fixed)

    desk.drain()

    states = [trial["state"] for trial in desk.studies.trials("tiny")]
    assert states == ["complete", "failed", "complete", "complete"]
    assert next(iter(fixed)) in desk.studies.trials("tiny")[1]["attributes"]["failure"]["message"]


def test_a_running_trial_of_a_dead_optuna_client_is_adopted_after_two_lease_times(hasty: Desk) -> None:
    started(hasty, budget={"trials": 2})
    hasty.serve(hasty.lease())
    foreign = optuna.load_study(study_name="tiny", storage=hasty.url).ask()
    foreign.suggest_float("beta", 0.05, 0.95)
    assert isinstance(hasty.ask(), wire.Idle)

    eventually(lambda: isinstance(hasty.ask(worker="probe"), wire.Lease), "the trial is adopted", 5.0)
    eventually(lambda: is_expired(hasty, foreign._trial_id), "the probe's lease is expired")
    lease = hasty.lease()

    assert lease.trial_id == foreign._trial_id
    assert lease.number == 1
    assert lease.params["beta"] == foreign.params["beta"]
    hasty.complete(lease)
    hasty.drain()
    audit(hasty.url, "tiny", 2)


# --- leases -----------------------------------------------------------------------------------------------------


def test_a_held_lease_is_not_handed_out_again(desk: Desk) -> None:
    started(desk, budget={"trials": 1})
    desk.lease()

    offer = desk.ask(worker="second")

    assert isinstance(offer, wire.Idle)
    assert not offer.finished


def test_renewal_prolongs_a_lease(hasty: Desk) -> None:
    started(hasty, budget={"trials": 1})
    lease = hasty.lease()
    eventually(lambda: is_expired(hasty, lease.trial_id), "the lease is expired")

    point = wire.EpochPoint(epoch=1, loss=0.5, accuracy=0.25, seconds=0.1)
    renewed = hasty.reports.renew(lease.trial_id, wire.Renewal(fence=1, epochs=(point,)))

    assert not renewed.stop
    assert not is_expired(hasty, lease.trial_id)
    assert isinstance(hasty.ask(worker="second"), wire.Idle)
    assert hasty.studies.trial("tiny", 0)["curve"] == [point.model_dump()]
    assert hasty.studies.status("tiny").running[0]["accuracy"] == 0.25


def test_an_expired_lease_is_taken_over_in_place_with_its_checkpoint(hasty: Desk) -> None:
    started(hasty)
    old = hasty.lease(worker="first")
    blob = hasty.checkpoint(old, 1, b"after epoch 1")

    new = taken_over(hasty, old)

    assert (new.number, new.trial_id, new.params, new.seed) == (old.number, old.trial_id, old.params, old.seed)
    assert new.fence == old.fence + 1
    assert new.checkpoints == (blob,)
    assert hasty.reports.blob(new.trial_id, blob.fence, blob.sha256) == b"after epoch 1"
    assert events(hasty, "taken over") == ["second takes trial 0 over from first, from epoch 1"]
    assert scalar(hasty.url, "SELECT count(*) FROM public.trials WHERE state = 'RUNNING'") == 1


def test_only_one_of_many_takes_an_expired_lease_over(hasty: Desk) -> None:
    started(hasty, budget={"trials": 1})
    old = hasty.lease()
    eventually(lambda: is_expired(hasty, old.trial_id), "the lease is expired")
    gate = threading.Barrier(6)

    def ask(number: int) -> wire.Lease | wire.Idle:
        gate.wait()
        return hasty.ask(worker=f"w{number}")

    with ThreadPoolExecutor(6) as pool:
        offers = list(pool.map(ask, range(6)))

    fences = [offer.fence for offer in offers if isinstance(offer, wire.Lease)]
    assert fences == [2]


LATE: dict[str, Callable[[Desk, wire.Lease], object]] = {
    "renew": lambda desk, old: desk.reports.renew(
        old.trial_id,
        wire.Renewal(fence=old.fence, epochs=(wire.EpochPoint(epoch=9, loss=9, accuracy=0.9, seconds=9),)),
    ),
    "rung": lambda desk, old: desk.reports.rung(
        old.trial_id, wire.Rung(fence=old.fence, rung=0, epoch=1, values=made_up(0))
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
    started(hasty)
    old = hasty.lease(worker="first")
    hasty.checkpoint(old, 1, b"after epoch 1")
    new = taken_over(hasty, old)
    if is_over:
        hasty.complete(new)
    before, files = snapshot(hasty), hasty.files(old.trial_id)

    with pytest.raises(LeaseLost, match="fence 1 is old: second took the trial over with fence 2"):
        report(hasty, old)

    assert snapshot(hasty) == before
    assert hasty.files(old.trial_id) == files


def test_a_lease_of_a_trial_that_was_never_handed_out_is_not_found(desk: Desk) -> None:
    started(desk)

    with pytest.raises(NotFound, match="trial 999 has no lease"):
        desk.reports.renew(999, wire.Renewal(fence=1))


def test_released_the_next_worker_gets_it_at_once(desk: Desk) -> None:
    started(desk)
    old = desk.lease(worker="first")
    blob = desk.checkpoint(old, 1, b"state")

    desk.reports.release(old.trial_id, wire.Fence(fence=1))
    new = desk.lease(worker="second")

    assert (new.number, new.fence, new.checkpoints) == (0, 2, (blob,))


# --- artifacts --------------------------------------------------------------------------------------------------


def test_only_the_newest_two_checkpoints_are_kept(desk: Desk) -> None:
    started(desk)
    lease = desk.lease()

    blobs = [desk.checkpoint(lease, epoch, f"state {epoch}".encode()) for epoch in range(1, 5)]

    assert desk.files(lease.trial_id) == sorted(f"1-{blob.sha256}.safetensors" for blob in blobs[2:])
    desk.reports.release(lease.trial_id, wire.Fence(fence=1))
    assert desk.lease().checkpoints == (blobs[3], blobs[2])


def test_a_checkpoint_sent_twice_survives_the_one_that_pushes_its_first_copy_out(desk: Desk) -> None:
    started(desk)
    lease = desk.lease()

    for data in (b"same", b"same", b"same", b"other"):
        desk.checkpoint(lease, 1, data)

    desk.reports.release(lease.trial_id, wire.Fence(fence=1))
    for blob in desk.lease().checkpoints:
        desk.reports.blob(lease.trial_id, blob.fence, blob.sha256)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "gone"])
def test_a_damaged_checkpoint_is_refused_and_the_older_one_serves(desk: Desk, damage: str) -> None:
    started(desk)
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
    assert len(events(desk, "refused")) == 1


def test_bytes_that_do_not_hash_to_their_digest_are_not_stored(desk: Desk) -> None:
    started(desk)
    lease = desk.lease()

    with pytest.raises(UsageError, match="do not hash"):
        desk.reports.checkpoint(lease.trial_id, 1, 1, "0" * 64, b"other")
    with pytest.raises(UsageError, match="expected 1 to"):
        desk.reports.weights(lease.trial_id, 1, "0" * 64, b"")

    assert desk.files(lease.trial_id) == []


def test_a_finished_trial_keeps_its_weights_only(desk: Desk) -> None:
    started(desk)
    lease = desk.lease()
    desk.checkpoint(lease, 1, b"state")

    message = desk.complete(lease)

    assert desk.files(lease.trial_id) == [f"1-{message.weights}.safetensors"]
    assert desk.reports.blob(lease.trial_id, 1, message.weights) == weights_of(lease)


# --- the end of a trial -----------------------------------------------------------------------------------------


def test_completing_twice_is_a_success_and_with_other_values_refused(desk: Desk) -> None:
    started(desk)
    lease = desk.lease()
    message = desk.complete(lease)
    before = snapshot(desk)

    desk.reports.complete(lease.trial_id, message)
    with pytest.raises(LeaseLost, match="finished"):
        desk.reports.complete(lease.trial_id, completion(lease, message.weights, accuracy=0.123))

    assert snapshot(desk) == before


def test_a_completion_without_its_weights_is_refused_and_writes_nothing(desk: Desk) -> None:
    started(desk)
    lease = desk.lease()
    before = snapshot(desk)

    with pytest.raises(UsageError, match="send the trained network"):
        desk.reports.complete(lease.trial_id, completion(lease, "0" * 64))

    assert snapshot(desk) == before


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_values_that_are_no_numbers_are_refused(desk: Desk, number: float) -> None:
    started(desk)
    lease = desk.lease()

    with pytest.raises(ValidationError, match="finite"):
        completion(lease, "0" * 64, accuracy=number)


@pytest.mark.parametrize("change", [{"values": {"accuracy": 0.5}}, {"details": {"layer": [1.0, math.nan]}}])
def test_a_completion_that_lacks_a_value_or_brings_nan_writes_nothing(desk: Desk, change: dict[str, Any]) -> None:
    started(desk)
    lease = desk.lease()
    message = completion_of(desk, lease).model_copy(update=change)
    before = snapshot(desk)

    with pytest.raises(UsageError, match=r"latency_ms, fps_per_watt missing|NaN"):
        desk.reports.complete(lease.trial_id, message)

    assert snapshot(desk) == before


def completion_of(desk: Desk, lease: wire.Lease) -> wire.Complete:
    """A completion whose weights are stored."""
    data = weights_of(lease)
    digest = hashlib.sha256(data).hexdigest()
    desk.reports.weights(lease.trial_id, lease.fence, digest, data)
    return completion(lease, digest)


@pytest.mark.parametrize("where", ["error", "message", "traceback"])
def test_a_failure_is_stored_with_everything_needed_to_find_it(desk: Desk, where: str) -> None:
    started(desk)
    lease = desk.lease(worker="first")
    words = {"error": "TrainingError", "message": "loss is not finite", "traceback": "Traceback ..."}
    words[where] += " \x00\ud800 odd"  # no text for a database

    desk.reports.fail(lease.trial_id, wire.Failed(fence=1, **words))
    desk.reports.fail(lease.trial_id, wire.Failed(fence=1, **words))  # the reply was lost

    trial = optuna.load_study(study_name="tiny", storage=desk.url).trials[0]
    assert trial.state is TrialState.FAIL
    failure = trial.user_attrs["failure"]
    assert failure["class"].startswith("TrainingError")
    assert failure["message"].startswith("loss is not finite")
    assert failure["traceback"].startswith("Traceback ...")
    assert (failure["seed"], failure["worker"]) == (lease.seed, "first")
    assert len(events(desk, "failed")) == 1


def test_failures_alike_in_a_row_pause_the_study_with_their_message(desk: Desk) -> None:
    started(desk, budget={"trials": 20, "max_failures": 3})
    messages = ["no memory", "other", "no memory", "no memory", "no memory"]

    for message in messages:
        lease = desk.lease()
        desk.reports.fail(lease.trial_id, wire.Failed(fence=1, error="E", message=message, traceback=""))

    status = desk.studies.status("tiny")
    assert status.state == "paused"
    assert status.reason.startswith("the last 3 trials failed alike: no memory")
    offer = desk.ask()
    assert isinstance(offer, wire.Idle)
    assert offer.finished
    desk.studies.resume("tiny")
    assert desk.lease().number == 5


def test_a_test_report_for_a_trial_in_training_is_refused(desk: Desk) -> None:
    started(desk)
    lease = desk.lease()
    before = snapshot(desk)

    with pytest.raises(Conflict, match="in training"):
        desk.reports.tested(lease.trial_id, wire.Tested(fence=1, values={"accuracy": 1.0}))

    assert snapshot(desk) == before


# --- budget and end of a study ----------------------------------------------------------------------------------


def test_the_budget_of_epochs_ends_a_study(desk: Desk) -> None:
    started(desk, budget={"epochs": 5})
    for _ in range(3):
        lease = desk.lease()
        points = tuple(wire.EpochPoint(epoch=epoch, loss=1, accuracy=0.5, seconds=0.1) for epoch in (1, 2))
        desk.reports.renew(lease.trial_id, wire.Renewal(fence=1, epochs=points))
        desk.complete(lease)

    assert desk.drain() == "complete: the budget is spent"
    audit(desk.url, "tiny", 3)


def test_the_budget_of_hours_ends_a_study(desk: Desk) -> None:
    started(desk, budget={"hours": 1.0})
    desk.serve(desk.lease())
    desk.serve(desk.lease())
    scalar(desk.url, "UPDATE spikefront.study SET created_at = created_at - interval '61 minutes' RETURNING 1")

    desk.drain()

    audit(desk.url, "tiny", 2)


def test_a_study_is_complete_only_after_the_tests_of_its_front(desk: Desk) -> None:
    started(desk)
    for _ in range(4):
        lease = desk.lease()
        assert lease.task == "train"
        desk.complete(lease)
    wanted = {point["trial"] for point in desk.studies.front("tiny").points} | {0}

    tests = []
    while isinstance(offer := desk.ask(), wire.Lease):
        assert desk.studies.row("tiny").state == "running"
        tests.append(offer)
        desk.reports.tested(offer.trial_id, wire.Tested(fence=offer.fence, values={"accuracy": 0.5}))

    assert {lease.number for lease in tests} == wanted
    assert {lease.task for lease in tests} == {"test"}
    assert all(lease.weights is not None and lease.fence == 2 for lease in tests)
    assert desk.studies.row("tiny").state == "complete"
    assert all(point["test"] == {"accuracy": 0.5} for point in desk.studies.front("tiny").points)
    assert len(events(desk, "complete")) == 1
    audit(desk.url, "tiny", 4)


def test_a_test_that_failed_or_whose_worker_died_does_not_keep_a_study_open(hasty: Desk) -> None:
    started(hasty, budget={"trials": 1})
    hasty.complete(hasty.lease(), accuracy=0.9)
    dead = hasty.lease()
    assert dead.task == "test"

    again = taken_over(hasty, dead)
    hasty.reports.tested(again.trial_id, wire.Tested(fence=again.fence, values=None, error="DatasetError: gone"))

    assert again.task == "test"
    assert again.weights == dead.weights
    assert hasty.drain() == "complete: the budget is spent"
    assert events(hasty, "test failed") == ["trial 0 has no test score: DatasetError: gone"]


def test_the_front_is_what_optuna_calls_the_best_trials(desk: Desk) -> None:
    started(desk, budget={"trials": 14})
    desk.drain()

    best = optuna.load_study(study_name="tiny", storage=desk.url).best_trials
    points = {point["trial"]: list(point["values"].values()) for point in desk.studies.front("tiny").points}

    assert {trial.number: trial.values for trial in best} == points
    assert len(points) > 2
    states = [trial["feasible"] for trial in desk.studies.trials("tiny")]
    assert states.count(False) == 2


def test_constraints_are_stored_as_optuna_5_reads_them(desk: Desk) -> None:
    started(desk, constraints={"floor": {"accuracy": 0.2}, "fits_device": True})
    desk.complete(desk.lease(), accuracy=0.05)
    message = completion_of(desk, lease := desk.lease()).model_copy(update={"fits_device": False})
    desk.reports.complete(lease.trial_id, message)

    first, second = optuna.load_study(study_name="tiny", storage=desk.url).trials[:2]

    assert first.constraints == {"floor": pytest.approx(0.15), "fits_device": 0.0}
    assert second.constraints["fits_device"] == 1.0
    assert second.constraints["floor"] <= 0


# --- stop, resume, start again ----------------------------------------------------------------------------------


def test_a_raised_budget_goes_on_after_the_end(desk: Desk) -> None:
    started(desk)
    desk.drain()

    desk.studies.resume("tiny", {"budget.trials": 7})
    desk.drain()

    audit(desk.url, "tiny", 7)
    assert events(desk, "changed") == ["budget.trials = 7"]


def test_resuming_a_complete_study_without_a_change_leaves_it_complete(desk: Desk) -> None:
    started(desk)
    desk.drain()

    desk.studies.resume("tiny")

    assert desk.studies.row("tiny").state == "complete"


def test_a_stopped_study_asks_its_workers_for_their_trials_and_goes_on_later(desk: Desk) -> None:
    started(desk)
    lease = desk.lease()
    desk.studies.stop("tiny")

    assert desk.reports.renew(lease.trial_id, wire.Renewal(fence=1)).stop
    offer = desk.ask()
    assert isinstance(offer, wire.Idle)
    assert offer.finished
    desk.reports.release(lease.trial_id, wire.Fence(fence=1))
    desk.studies.resume("tiny")
    assert desk.lease().fence == 2
    with pytest.raises(NotFound, match="no study 'tinyy'; did you mean 'tiny'"):
        desk.studies.resume("tinyy")


def test_a_change_that_decides_results_or_is_not_valid_is_refused_and_writes_nothing(desk: Desk) -> None:
    started(desk)
    before = snapshot(desk)

    for changes in ({"train.epochs": 3}, {"budget.trials": 0}, {"budget.nonsense": 1}):
        with pytest.raises(SpecError):
            desk.studies.resume("tiny", changes)

    assert snapshot(desk) == before


def test_the_same_name_with_other_settings_is_refused_with_the_differences(desk: Desk) -> None:
    started(desk)
    before = snapshot(desk)

    with pytest.raises(SpecDiffers, match=r"time_steps: 4 -> 5.*resume tiny"):
        started(desk, time_steps=5)

    assert snapshot(desk) == before
    assert not desk.studies.start(make_study(budget={"trials": 9}))  # the budget is no part of what is compared


def test_six_that_start_the_same_study_at_once_make_one(desk: Desk) -> None:
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda _: desk.studies.start(make_study()), range(6)))

    assert made.count(True) == 1
    assert scalar(desk.url, "SELECT count(*) FROM public.trials") == 1


def test_a_start_that_was_killed_half_way_is_finished_by_the_next(desk: Desk) -> None:
    optuna.create_study(study_name="tiny", storage=desk.url, directions=["maximize", "minimize", "maximize"])

    assert desk.studies.start(make_study())

    desk.drain()
    audit(desk.url, "tiny", 4)


def test_an_optuna_study_of_somebody_else_is_left_alone(desk: Desk) -> None:
    foreign = optuna.create_study(study_name="tiny", storage=desk.url, directions=["maximize"] * 3)
    foreign.enqueue_trial({"x": 1})

    with pytest.raises(Conflict, match="spikefront did not make"):
        started(desk)

    assert foreign.metric_names is None


def test_an_empty_optuna_study_with_other_directions_is_left_alone(desk: Desk) -> None:
    foreign = optuna.create_study(study_name="tiny", storage=desk.url, directions=["maximize"])

    with pytest.raises(Conflict, match="spikefront did not make"):
        started(desk)

    assert foreign.metric_names is None


def test_other_versions_are_refused_unless_the_study_takes_any(desk: Desk) -> None:
    started(desk)

    with pytest.raises(Conflict, match=r"torch 1\.0 instead of"):
        desk.ask(torch="1.0")
    desk.studies.resume("tiny", {"versions": "any"})
    offer = desk.ask(torch="1.0")

    assert isinstance(offer, wire.Lease)
    marked = desk.record.optuna.get_trial(offer.trial_id).user_attrs["not bit-comparable"]
    assert marked["torch"] == "1.0"


def test_a_worker_for_any_study_passes_over_the_one_that_refuses_its_versions(desk: Desk) -> None:
    started(desk)
    started(desk, name="other", versions="any")

    with pytest.raises(Conflict, match="'tiny' wants the versions"):
        desk.ask("tiny", torch="1.0")
    offer = desk.ask(None, torch="1.0")

    assert isinstance(offer, wire.Lease)
    assert offer.study == "other"
