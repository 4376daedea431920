"""A study on a real database: its budget, its end, stop, resume, and who may start it again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest

from objectives.errors import SpecError
from service import wire
from service.errors import Conflict, NotFound, SpecDiffers
from tests.support.desk import Desk
from tests.support.processes import audit, scalar
from tests.support.studies import make_study


def test_the_budget_of_epochs_ends_a_study(desk: Desk) -> None:
    desk.start(budget={"epochs": 5})
    for _ in range(3):
        lease = desk.lease()
        points = tuple(wire.EpochPoint(epoch=epoch, loss=1, accuracy=0.5, seconds=0.1) for epoch in (1, 2))
        desk.reports.renew(lease.trial_id, wire.Renewal(fence=1, epochs=points))
        desk.complete(lease)

    assert desk.drain() == "complete: the budget is spent"
    audit(desk.url, "tiny", 3)


def test_the_budget_of_hours_ends_a_study(desk: Desk) -> None:
    desk.start(budget={"hours": 1.0})
    desk.serve(desk.lease())
    desk.serve(desk.lease())
    scalar(desk.url, "UPDATE spikefront.study SET created_at = created_at - interval '61 minutes' RETURNING 1")

    desk.drain()

    audit(desk.url, "tiny", 2)


def test_a_study_is_complete_only_after_the_tests_of_its_front(desk: Desk) -> None:
    desk.start()
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
    assert len(desk.events("complete")) == 1
    audit(desk.url, "tiny", 4)


def test_a_test_that_failed_or_whose_worker_died_does_not_keep_a_study_open(hasty: Desk) -> None:
    hasty.start(budget={"trials": 1})
    hasty.complete(hasty.lease(), accuracy=0.9)
    dead = hasty.lease()
    assert dead.task == "test"

    again = hasty.taken_over(dead)
    hasty.reports.tested(again.trial_id, wire.Tested(fence=again.fence, values=None, error="DatasetError: gone"))

    assert again.task == "test"
    assert again.weights == dead.weights
    assert hasty.drain() == "complete: the budget is spent"
    assert hasty.events("test failed") == ["trial 0 has no test score: DatasetError: gone"]


def test_the_front_is_what_optuna_calls_the_best_trials(desk: Desk) -> None:
    desk.start(budget={"trials": 14})
    desk.drain()

    best = optuna.load_study(study_name="tiny", storage=desk.url).best_trials
    points = {point["trial"]: list(point["values"].values()) for point in desk.studies.front("tiny").points}

    assert {trial.number: trial.values for trial in best} == points
    assert len(points) > 2
    states = [trial["feasible"] for trial in desk.studies.trials("tiny")]
    assert states.count(False) == 2


def test_constraints_are_stored_as_optuna_5_reads_them(desk: Desk) -> None:
    desk.start(constraints={"floor": {"accuracy": 0.2}, "fits_device": True})
    desk.complete(desk.lease(), accuracy=0.05)
    message = desk.completion(lease := desk.lease()).model_copy(update={"fits_device": False})
    desk.reports.complete(lease.trial_id, message)

    first, second = optuna.load_study(study_name="tiny", storage=desk.url).trials[:2]

    assert first.constraints == {"floor": pytest.approx(0.15), "fits_device": 0.0}
    assert second.constraints["fits_device"] == 1.0
    assert second.constraints["floor"] <= 0


def test_a_raised_budget_goes_on_after_the_end(desk: Desk) -> None:
    desk.start()
    desk.drain()

    desk.studies.resume("tiny", {"budget.trials": 7})
    desk.drain()

    audit(desk.url, "tiny", 7)
    assert desk.events("changed") == ["budget.trials = 7"]


def test_resuming_a_complete_study_without_a_change_leaves_it_complete(desk: Desk) -> None:
    desk.start()
    desk.drain()

    desk.studies.resume("tiny")

    assert desk.studies.row("tiny").state == "complete"


def test_a_stopped_study_asks_its_workers_for_their_trials_and_goes_on_later(desk: Desk) -> None:
    desk.start()
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
    desk.start()
    before = desk.snapshot()

    for changes in ({"train.epochs": 3}, {"budget.trials": 0}, {"budget.nonsense": 1}):
        with pytest.raises(SpecError):
            desk.studies.resume("tiny", changes)

    assert desk.snapshot() == before


def test_the_same_name_with_other_settings_is_refused_with_the_differences(desk: Desk) -> None:
    desk.start()
    before = desk.snapshot()

    with pytest.raises(SpecDiffers, match=r"time_steps: 4 -> 5.*resume tiny"):
        desk.start(time_steps=5)

    assert desk.snapshot() == before
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
        desk.start()

    assert foreign.metric_names is None


def test_an_empty_optuna_study_with_other_directions_is_left_alone(desk: Desk) -> None:
    foreign = optuna.create_study(study_name="tiny", storage=desk.url, directions=["maximize"])

    with pytest.raises(Conflict, match="spikefront did not make"):
        desk.start()

    assert foreign.metric_names is None


def test_other_versions_are_refused_unless_the_study_takes_any(desk: Desk) -> None:
    desk.start()

    with pytest.raises(Conflict, match=r"torch 1\.0 instead of"):
        desk.ask(torch="1.0")
    desk.studies.resume("tiny", {"versions": "any"})
    offer = desk.ask(torch="1.0")

    assert isinstance(offer, wire.Lease)
    marked = desk.record.optuna.get_trial(offer.trial_id).user_attrs["not bit-comparable"]
    assert marked["torch"] == "1.0"


def test_a_worker_for_any_study_passes_over_the_one_that_refuses_its_versions(desk: Desk) -> None:
    desk.start()
    desk.start(name="other", versions="any")

    with pytest.raises(Conflict, match="'tiny' wants the versions"):
        desk.ask("tiny", torch="1.0")
    offer = desk.ask(None, torch="1.0")

    assert isinstance(offer, wire.Lease)
    assert offer.study == "other"
