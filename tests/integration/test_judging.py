"""Trials that are stopped early: when, what is left of them, and what reports come to that are late or told again."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from service import wire
from service.errors import LeaseLost, UsageError
from tests.support.desk import Desk
from tests.support.processes import scalar

RUNGS = {"epochs": 9, "batch": 32, "lr": 5.0e-3}
GOOD = {"accuracy": 0.9, "latency_ms": 1.0, "fps_per_watt": 900.0}
WORSE = {"accuracy": 0.8, "latency_ms": 2.0, "fps_per_watt": 500.0}
SILENT = {"accuracy": 0.1, "latency_ms": 0.1, "fps_per_watt": 9000.0}


def start(desk: Desk, *, spare: int = 0, name: str = "moasha", **fields: Any) -> None:
    desk.start(**{"train": RUNGS, "budget": {"trials": 12}, "stopping": {"name": name, "spare": spare}, **fields})


def tell(desk: Desk, lease: wire.Lease, values: dict[str, float], *, rung: int = 0) -> wire.Decision:
    return desk.judging.rung(lease.trial_id, wire.Rung(fence=lease.fence, rung=rung, epoch=3**rung, values=values))


def ask(desk: Desk, lease: wire.Lease, values: dict[str, float], *, fits: bool = True) -> wire.Decision:
    message = wire.Bound(fence=lease.fence, values={**values, "accuracy": 1.0}, fits_device=fits)
    return desk.judging.gate(lease.trial_id, message)


def stopped(desk: Desk) -> wire.Lease:
    """A trial that two better ones have made lose at its first rung, with a checkpoint; it is stopped there."""
    for _ in range(2):
        assert tell(desk, desk.lease(), GOOD).decision == "continue"
    lease = desk.lease()
    desk.checkpoint(lease, 1, b"after epoch 1")
    desk.reports.renew(lease.trial_id, wire.Renewal(fence=lease.fence, epochs=(point(1),)))
    assert tell(desk, lease, WORSE).decision == "stop"
    return lease


def point(epoch: int) -> wire.EpochPoint:
    return wire.EpochPoint(epoch=epoch, loss=0.5, accuracy=0.5, seconds=1.0)


def trial(desk: Desk, lease: wire.Lease) -> optuna.trial.FrozenTrial:
    study = optuna.load_study(study_name="tiny", storage=desk.url)
    return study.get_trials()[lease.number]


def test_a_stopped_trial_ends_pruned_without_values_and_its_checkpoints_are_gone(desk: Desk) -> None:
    start(desk)
    lease = stopped(desk)

    found = trial(desk, lease)
    assert (found.state, found.values, found.intermediate_values) == (TrialState.PRUNED, None, {})
    assert found.user_attrs["stopped"] == "place 3 of 3 at this rung, the better 1 go on"
    assert desk.files(lease.trial_id) == []
    assert desk.events("stopped early") == [
        "trial 2 stopped at epoch 1 of 9: place 3 of 3 at this rung, the better 1 go on"
    ]
    assert desk.studies.trial("tiny", 2)["state"] == "stopped"
    assert [one["decision"] for one in desk.studies.trial("tiny", 2)["rungs"]] == ["stop"]


def test_a_report_told_again_is_answered_as_before_and_changes_nothing(desk: Desk) -> None:
    start(desk)
    lease = stopped(desk)
    before = desk.snapshot()

    again = tell(desk, lease, WORSE)

    assert (again.decision, again.reason) == ("stop", "place 3 of 3 at this rung, the better 1 go on")
    assert desk.snapshot() == before


def test_what_was_decided_stays_decided_when_others_come(desk: Desk) -> None:
    """A worker that lost the answer asks again, when by now it would lose."""
    start(desk)
    desk.lease()  # the baseline
    early = desk.lease()
    first = tell(desk, early, WORSE)
    for _ in range(5):
        tell(desk, desk.lease(), GOOD)

    again = tell(desk, early, WORSE)

    assert (first.decision, first.reason) == ("continue", "1 at this rung, too few to compare")
    assert again == first
    assert tell(desk, desk.lease(), WORSE).decision == "stop", "one that comes now loses"


@pytest.mark.parametrize("report", ["renew", "rung", "checkpoint", "complete", "release"])
def test_nothing_is_taken_for_a_trial_that_is_stopped(desk: Desk, report: str) -> None:
    start(desk)
    lease = stopped(desk)
    late = {
        "renew": lambda: desk.reports.renew(lease.trial_id, wire.Renewal(fence=lease.fence, epochs=(point(2),))),
        "rung": lambda: tell(desk, lease, GOOD, rung=1),
        "checkpoint": lambda: desk.checkpoint(lease, 2, b"late"),
        "complete": lambda: desk.complete(lease),
        "release": lambda: desk.reports.release(lease.trial_id, wire.Fence(fence=lease.fence)),
    }
    before = desk.snapshot()

    with pytest.raises(LeaseLost, match="the trial is finished"):
        late[report]()

    assert desk.snapshot() == before


def test_rungs_may_come_out_of_order(desk: Desk) -> None:
    start(desk)
    desk.lease()
    first, second = desk.lease(), desk.lease()
    for lease in (first, second):
        for rung in (1, 0):
            assert tell(desk, lease, GOOD, rung=rung).decision == "continue"

    third = desk.lease()
    assert tell(desk, third, WORSE, rung=1).decision == "stop"


def test_a_silent_network_is_stopped_and_the_baseline_never(desk: Desk) -> None:
    start(desk)
    baseline, other = desk.lease(), desk.lease()

    assert tell(desk, baseline, SILENT).decision == "continue"
    assert ask(desk, baseline, WORSE, fits=False).decision == "continue"
    assert tell(desk, other, SILENT).decision == "continue", "it may wake yet"
    assert tell(desk, other, SILENT, rung=1).reason.startswith("accuracy 0.100 is below the floor of its rung")


def test_a_loser_may_be_spared_to_measure_wrong_stops(desk: Desk) -> None:
    start(desk, spare=1)
    desk.lease()
    for _ in range(2):
        tell(desk, desk.lease(), GOOD)
    loser = desk.lease()

    decided = tell(desk, loser, WORSE)

    assert decided.decision == "continue"
    assert decided.reason == "trained on to measure wrong stops: place 3 of 3 at this rung, the better 1 go on"
    query = "SELECT decision FROM spikefront.rung WHERE trial_id = :id"
    assert scalar(desk.url, query, id=loser.trial_id) == "spare"
    assert desk.studies.status("tiny").spared == {"complete": 0, "on_front": 0}
    desk.complete(loser, accuracy=0.99)
    assert desk.studies.status("tiny").spared == {"complete": 1, "on_front": 1}


def test_the_gate_stops_what_does_not_fit_and_the_sampler_learns_why(desk: Desk) -> None:
    start(desk)
    desk.complete(desk.lease())
    lease = desk.lease()

    decided = ask(desk, lease, GOOD, fits=False)

    assert (decided.decision, decided.reason) == ("stop", "the accelerator does not fit the device")
    assert trial(desk, lease).state is TrialState.PRUNED
    assert trial(desk, lease).constraints == {"fits_device": 1.0}
    assert desk.events("stopped early") == ["trial 1 stopped before training: the accelerator does not fit the device"]


def test_the_gate_stops_what_a_finished_trial_dominates_at_its_best(desk: Desk) -> None:
    start(desk)
    desk.complete(desk.lease(), accuracy=1.0, latency_ms=1.0, fps_per_watt=900.0)
    slow, fast = desk.lease(), desk.lease()

    assert ask(desk, slow, {"latency_ms": 1.5, "fps_per_watt": 800.0}).decision == "stop"
    assert ask(desk, fast, {"latency_ms": 0.5, "fps_per_watt": 800.0}).decision == "continue"


def test_the_gate_stops_what_is_above_a_ceiling_at_its_best(desk: Desk) -> None:
    start(desk, constraints={"floor": {"accuracy": 0.2}, "at_most": {"latency_ms": 1.0, "power_w": 1.0}})
    desk.complete(desk.lease(), latency_ms=0.9, energy_uj=10.0)
    slow, cool = desk.lease(), desk.lease()

    decided = ask(desk, slow, {"latency_ms": 1.25, "fps_per_watt": 9000.0, "energy_uj": 2500.0})

    assert decided.reason == "even with silent layers it is above its ceiling: latency_ms by 25%, power_w by 100%"
    assert trial(desk, slow).constraints == {"max_latency_ms": 0.25, "max_power_w": 1.0}
    assert ask(desk, cool, {"latency_ms": 0.5, "fps_per_watt": 9000.0, "energy_uj": 100.0}).decision == "continue"


def test_ceilings_are_constraints_of_what_is_complete(desk: Desk) -> None:
    desk.start(constraints={"floor": {"accuracy": 0.2}, "at_most": {"latency_ms": 2.0, "energy_uj": 50.0}})
    desk.complete(desk.lease(), latency_ms=1.0, energy_uj=25.0)
    above = desk.lease()

    with pytest.raises(UsageError, match="values: energy_uj missing; the study limits energy_uj"):
        desk.complete(above)
    desk.complete(above, latency_ms=3.0, energy_uj=50.0)

    first, second = optuna.load_study(study_name="tiny", storage=desk.url).get_trials()
    names = ("max_latency_ms", "max_energy_uj")
    assert [first.constraints[name] for name in names] == [-0.5, -0.5]
    assert [second.constraints[name] for name in names] == [0.5, 0.0]
    assert [point["trial"] for point in desk.studies.front("tiny").document()["front"]] == [0]


def test_without_a_method_nobody_is_stopped(desk: Desk) -> None:
    start(desk, name="none")
    desk.complete(desk.lease(), accuracy=1.0)
    lease = desk.lease()

    assert tell(desk, lease, SILENT).decision == "continue"
    assert ask(desk, lease, WORSE, fits=False).decision == "continue"


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2", "random", "grid"])
def test_a_study_of_stopped_failed_and_infeasible_trials_goes_on_to_its_end(desk: Desk, sampler: str) -> None:
    """Nothing but the baseline is ever worth anything, and the samplers bear it."""
    search = {"beta": {"choice": [0.1, 0.25, 0.4, 0.5, 0.6, 0.75]}, "threshold": {"choice": [0.5, 1.0, 1.5, 2.0]}}
    budget = {"trials": 24, "max_failures": 24}
    start(desk, sampler={"name": sampler, "seed": 1}, budget=budget, search=search)
    endings = 0
    while isinstance(offer := desk.ask(), wire.Lease) or not offer.finished:
        if not isinstance(offer, wire.Lease):
            continue
        endings += offer.task == "train"
        if offer.task == "test" or endings == 1:
            desk.serve(offer)
        elif endings % 3 == 0:
            desk.complete(offer, accuracy=0.1)
        elif endings % 3 == 1:
            desk.reports.fail(
                offer.trial_id, wire.Failed(fence=offer.fence, error="Sad", message=str(endings), traceback="")
            )
        else:
            assert tell(desk, offer, SILENT, rung=1).decision == "stop"

    assert endings == 24
    assert desk.studies.status("tiny").state == "complete"
