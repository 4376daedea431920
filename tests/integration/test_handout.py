"""Which trials are created and handed out, on a real database: exactly the asked ones, in the sampler's order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest

from service import wire
from tests.support.desk import Desk, opened
from tests.support.postgres import eventually
from tests.support.processes import audit


def test_trial_0_is_the_baseline_with_its_parameters(desk: Desk) -> None:
    desk.start()

    lease = desk.lease()

    assert lease.number == 0
    assert lease.fence == 1
    assert lease.params == lease.baseline_params == {"beta": 0.25, "threshold": 1.0, "accelerator.neural_cores.0": 2}
    assert desk.record.optuna.get_trial(lease.trial_id).params == lease.params


def test_eight_workers_at_once_create_exactly_the_trials_asked_for(desk: Desk) -> None:
    desk.start(budget={"trials": 20})

    with ThreadPoolExecutor(8) as pool:
        reasons = list(pool.map(lambda number: desk.drain(worker=f"w{number}"), range(8)))

    assert set(reasons) == {"complete: the budget is spent"}
    trials = audit(desk.url, "tiny", 20)
    assert len({str(trial.params) for trial in trials}) > 15


def test_two_servers_on_one_database_create_exactly_the_trials_asked_for(url: str, tmp_path: Path) -> None:
    with opened(url, tmp_path) as first, opened(url, tmp_path) as second:
        first.start(budget={"trials": 15})

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: (first, second)[number % 2].drain(worker=f"w{number}"), range(4)))

    audit(url, "tiny", 15)


def test_the_same_order_gives_the_same_parameters(desk: Desk) -> None:
    for name in ("tiny", "again"):
        desk.start(name=name, budget={"trials": 13})
        desk.drain(name)

    first, second = desk.studies.trials("tiny"), desk.studies.trials("again")
    assert [trial["params"] for trial in first] == [trial["params"] for trial in second]


def test_a_warm_and_a_cold_sampler_suggest_the_same(url: str, tmp_path: Path) -> None:
    with opened(url, tmp_path) as warm:
        warm.start(budget={"trials": 12})
        warm.start(name="cold", budget={"trials": 12})
        warm.drain()
    for _ in range(12):
        with opened(url, tmp_path) as cold:  # a server restarted before every trial
            cold.serve(cold.lease("cold"))

    assert [t["params"] for t in cold.studies.trials("tiny")] == [t["params"] for t in cold.studies.trials("cold")]


def test_a_trial_enqueued_by_another_optuna_client_is_picked_up_and_counts(desk: Desk) -> None:
    desk.start()
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
    desk.start()
    desk.serve(desk.lease())
    optuna.load_study(study_name="tiny", storage=desk.url).enqueue_trial({"beta": 0.5})

    lease = desk.lease()

    assert lease.params["beta"] == 0.5
    assert set(lease.params) == {"beta", "threshold", "accelerator.neural_cores.0"}


@pytest.mark.parametrize("fixed", [{"accelerator.neural_cores.0": 3}, {"beta": "much"}, {"beta": None}])
def test_an_enqueued_trial_with_an_impossible_value_fails_and_the_study_goes_on(desk: Desk, fixed: Any) -> None:
    desk.start()
    desk.serve(desk.lease())
    optuna.load_study(study_name="tiny", storage=desk.url).enqueue_trial(fixed)

    desk.drain()

    states = [trial["state"] for trial in desk.studies.trials("tiny")]
    assert states == ["complete", "failed", "complete", "complete"]
    assert next(iter(fixed)) in desk.studies.trials("tiny")[1]["attributes"]["failure"]["message"]


def test_a_running_trial_of_a_dead_optuna_client_is_adopted_after_two_lease_times(hasty: Desk) -> None:
    hasty.start(budget={"trials": 2})
    hasty.serve(hasty.lease())
    foreign = optuna.load_study(study_name="tiny", storage=hasty.url).ask()
    foreign.suggest_float("beta", 0.05, 0.95)
    assert isinstance(hasty.ask(), wire.Idle)

    eventually(lambda: isinstance(hasty.ask(worker="probe"), wire.Lease), "the trial is adopted", 5.0)
    eventually(lambda: hasty.is_expired(foreign._trial_id), "the probe's lease is expired")
    lease = hasty.lease()

    assert lease.trial_id == foreign._trial_id
    assert lease.number == 1
    assert lease.params["beta"] == foreign.params["beta"]
    hasty.complete(lease)
    hasty.drain()
    audit(hasty.url, "tiny", 2)
