"""What a trial leaves is bounded by its epochs, however often it is renewed, saved, taken over or told again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text

from service import wire
from tests.support.desk import TABLES, Desk
from tests.support.processes import scalar

EPOCHS = 2
"""Of a trial of the tiny study."""


def _rows(desk: Desk) -> dict[str, int]:
    with desk.record.engine.connect() as connection:
        return {table: connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in TABLES}


def _epochs(fence: int, *epochs: int) -> wire.Renewal:
    points = (wire.EpochPoint(epoch=epoch, loss=0.5, accuracy=0.5, seconds=1.0) for epoch in epochs)
    return wire.Renewal(fence=fence, epochs=tuple(points))


def _renewed_often(desk: Desk) -> None:
    lease = desk.lease()
    for turn in range(50):
        desk.reports.renew(lease.trial_id, _epochs(lease.fence, *range(1, 1 + turn % (EPOCHS + 1))))
    desk.complete(lease)


def _saved_often(desk: Desk) -> None:
    lease = desk.lease()
    for turn in range(20):
        desk.checkpoint(lease, 1 + turn % EPOCHS, f"checkpoint {turn}".encode())
        assert len(desk.files(lease.trial_id)) <= 2
    assert scalar(desk.url, "SELECT count(*) FROM spikefront.checkpoint") == 2
    desk.complete(lease)


def _told_often(desk: Desk) -> None:
    lease = desk.lease()
    rung = wire.Rung(fence=lease.fence, rung=0, epoch=1, values={"accuracy": 0.5, "latency_ms": 1, "fps_per_watt": 1})
    for _ in range(10):
        desk.judging.rung(lease.trial_id, rung)
    assert scalar(desk.url, "SELECT count(*) FROM spikefront.rung") == 1
    message = desk.complete(lease)
    for _ in range(10):
        desk.reports.complete(lease.trial_id, message)


@pytest.mark.parametrize(
    ("trial", "extra"),
    [(_renewed_often, {"spikefront.epoch": EPOCHS}), (_saved_often, {}), (_told_often, {"spikefront.rung": 1})],
)
def test_a_restless_trial_leaves_no_more_than_a_calm_one(
    desk: Desk, trial: Callable[[Desk], None], extra: dict[str, int]
) -> None:
    desk.start(budget={"trials": 10})
    desk.complete(desk.lease())  # the baseline, whose rows were there in part before
    before = _rows(desk)
    desk.complete(desk.lease())
    calm = _rows(desk)

    trial(desk)

    for table, rows in _rows(desk).items():
        assert rows - calm[table] == calm[table] - before[table] + extra.get(table, 0), table
    assert scalar(desk.url, "SELECT count(*) FROM spikefront.checkpoint") == 0
    assert [len(files) for files in _files(desk)] == [1, 1, 1]


def test_a_trial_that_is_handed_on_leaves_its_epochs_once_and_one_event_each_time(desk: Desk) -> None:
    desk.start(budget={"trials": 10})
    turns = 5
    for turn in range(turns):
        lease = desk.lease(worker=f"worker {turn}".replace(" ", "-"))
        desk.reports.renew(lease.trial_id, _epochs(lease.fence, 1))
        desk.checkpoint(lease, 1, f"checkpoint {turn}".encode())
        desk.reports.release(lease.trial_id, wire.Fence(fence=lease.fence))
    lease = desk.lease()
    assert lease.fence == turns + 1
    assert len(desk.files(lease.trial_id)) == 2
    desk.complete(lease)

    rows = _rows(desk)
    assert (rows["spikefront.epoch"], rows["spikefront.lease"], rows["spikefront.checkpoint"]) == (1, 1, 0)
    assert (len(desk.events("handed back")), len(desk.events("taken over"))) == (turns, turns)
    assert len(desk.files(lease.trial_id)) == 1


def test_a_failed_trial_leaves_no_file(desk: Desk) -> None:
    desk.start(budget={"trials": 10})
    lease = desk.lease()
    desk.checkpoint(lease, 1, b"checkpoint")

    desk.reports.fail(lease.trial_id, wire.Failed(fence=lease.fence, error="ValueError", message="no", traceback=""))

    assert desk.files(lease.trial_id) == []
    assert scalar(desk.url, "SELECT count(*) FROM spikefront.checkpoint") == 0


def _files(desk: Desk) -> list[list[str]]:
    with desk.record.engine.connect() as connection:
        trials = connection.scalars(text("SELECT trial_id FROM spikefront.lease ORDER BY trial_id")).all()
    return [desk.files(trial_id) for trial_id in trials]
