"""The end of a trial on a real database: completed once, failed, refused, with nothing half-written."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from pydantic import ValidationError

from service import wire
from service.errors import Conflict, LeaseLost, UsageError
from storage import leases
from tests.support.desk import Desk, completion, made_up
from tests.unit.service.factory import make_point


def test_completing_twice_is_a_success_and_with_other_values_refused(desk: Desk) -> None:
    desk.start()
    lease = desk.lease()
    message = desk.complete(lease)
    before = desk.snapshot()

    desk.reports.complete(lease.trial_id, message)
    with pytest.raises(LeaseLost, match="finished"):
        desk.reports.complete(lease.trial_id, completion(lease, message.weights, accuracy=0.123))

    assert desk.snapshot() == before


def test_a_completion_brings_the_epochs_that_no_renewal_brought(desk: Desk) -> None:
    desk.start()
    lease = desk.lease()
    first, second, last = (make_point(epoch) for epoch in (1, 2, 3))
    desk.reports.renew(lease.trial_id, wire.Renewal(fence=lease.fence, epochs=(first, second)))

    message = desk.completion(lease).model_copy(update={"epochs": (second, last)})
    desk.reports.complete(lease.trial_id, message)

    with desk.record.engine.connect() as connection:
        assert leases.curve(connection, lease.trial_id) == [point.model_dump() for point in (first, second, last)]
        row = leases.locked(connection, lease.trial_id)
    assert row is not None
    assert (row.epoch, row.accuracy) == (3, last.accuracy)


def test_of_an_epoch_told_twice_the_later_counts(desk: Desk) -> None:
    desk.start()
    lease = desk.lease()
    first, again = make_point(1), make_point(1).model_copy(update={"loss": 0.125})

    desk.reports.renew(lease.trial_id, wire.Renewal(fence=lease.fence, epochs=(first, again)))

    with desk.record.engine.connect() as connection:
        assert leases.curve(connection, lease.trial_id) == [again.model_dump()]


def test_a_completion_brings_the_rungs_that_were_not_taken(desk: Desk) -> None:
    desk.start()
    lease = desk.lease()
    rung = wire.Rung(fence=lease.fence, rung=1, epoch=3, values=made_up(0))

    desk.reports.complete(lease.trial_id, desk.completion(lease).model_copy(update={"rungs": (rung,)}))

    with desk.record.engine.connect() as connection:
        (stored,) = leases.rungs(connection, lease.trial_id)
    assert (stored["rung"], stored["epoch"], stored["values"]) == (1, 3, made_up(0))


def test_a_completion_without_its_weights_is_refused_and_writes_nothing(desk: Desk) -> None:
    desk.start()
    lease = desk.lease()
    before = desk.snapshot()

    with pytest.raises(UsageError, match="send the trained network"):
        desk.reports.complete(lease.trial_id, completion(lease, "0" * 64))

    assert desk.snapshot() == before


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_values_that_are_no_numbers_are_refused(desk: Desk, number: float) -> None:
    desk.start()
    lease = desk.lease()

    with pytest.raises(ValidationError, match="finite"):
        completion(lease, "0" * 64, accuracy=number)


@pytest.mark.parametrize("change", [{"values": {"accuracy": 0.5}}, {"details": {"layer": [1.0, math.nan]}}])
def test_a_completion_that_lacks_a_value_or_brings_nan_writes_nothing(desk: Desk, change: dict[str, Any]) -> None:
    desk.start()
    lease = desk.lease()
    message = desk.completion(lease).model_copy(update=change)
    before = desk.snapshot()

    with pytest.raises(UsageError, match=r"latency_ms, fps_per_watt missing|NaN"):
        desk.reports.complete(lease.trial_id, message)

    assert desk.snapshot() == before


@pytest.mark.parametrize("where", ["error", "message", "traceback"])
def test_a_failure_is_stored_with_everything_needed_to_find_it(desk: Desk, where: str) -> None:
    desk.start()
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
    assert len(desk.events("failed")) == 1


def test_failures_alike_in_a_row_pause_the_study_with_their_message(desk: Desk) -> None:
    desk.start(budget={"trials": 20, "max_failures": 3})
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
    desk.start()
    lease = desk.lease()
    before = desk.snapshot()

    with pytest.raises(Conflict, match="in training"):
        desk.reports.tested(lease.trial_id, wire.Tested(fence=1, values={"accuracy": 1.0}))

    assert desk.snapshot() == before
