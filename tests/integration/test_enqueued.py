"""Enqueued trials that another Optuna client starts in the moment in which the server wants to hand them out."""

from __future__ import annotations

import optuna
import pytest

from service.errors import Unavailable
from storage import trials
from tests.support.desk import Desk
from tests.support.processes import scalar


def test_a_trial_that_another_client_starts_meanwhile_is_not_handed_out_twice(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.start(budget={"trials": 3})
    desk.serve(desk.lease())
    theirs = optuna.load_study(study_name="tiny", storage=desk.url)
    theirs.enqueue_trial({"beta": 0.5, "threshold": 2.0, "accelerator.neural_cores.0": 4})
    starts = trials.start_waiting
    taken: list[optuna.Trial] = []

    def started_by_another_first(*arguments: object) -> bool:
        if not taken:
            taken.append(theirs.ask())  # of its own connection, committed
        return starts(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(trials, "start_waiting", started_by_another_first)
    with pytest.raises(Unavailable, match="trial 1 was started elsewhere meanwhile; ask again"):
        desk.ask()
    monkeypatch.undo()

    assert scalar(desk.url, "SELECT count(*) FROM spikefront.lease WHERE ended_at IS NULL") == 0
    assert [trial.number for trial in taken] == [1]
    lease = desk.lease()
    assert (lease.number, lease.fence) == (2, 1)
    theirs.tell(taken[0], [0.5, 1.0, 2.0])
    desk.serve(lease)
    desk.drain()
    assert [trial.state.name for trial in theirs.get_trials()] == ["COMPLETE"] * 3
