"""The audit of the chaos suite finds what it is there for: a violation of each kind, planted into a faultless study."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

from service import wire
from tests.support import chain
from tests.support.audit import RUNGS, Kind, Violation, audit
from tests.support.chaos_training import curve_point
from tests.support.desk import Desk, completion
from tests.support.sidelog import SideLog

ASKED = 3


@dataclass
class Planted:
    """A study that ended well, with what its one worker was told."""

    desk: Desk
    folder: Path
    log: SideLog
    ids: list[int]

    def audit(self, *died: str) -> list[Violation]:
        return audit(self.desk.url, "tiny", ASKED, self.folder, self.desk.folder, died)

    def sql(self, statement: str, number: int = 1) -> None:
        """Change what is stored of a trial."""
        with self.desk.record.engine.begin() as connection:
            connection.execute(text("SET LOCAL session_replication_role = replica"))  # foreign keys look away
            connection.execute(text(statement), {"id": self.ids[number]})

    def tell(self, event: str, number: int = 1, fence: int = 1, **more: object) -> None:
        """Let the worker be told something."""
        self.log.write(event, trial=self.ids[number], fence=fence, **more)

    def weights(self) -> Path:
        return next((self.desk.folder / str(self.ids[1])).iterdir())


@pytest.fixture
def planted(desk: Desk, tmp_path: Path) -> Planted:
    """Three trials and the test of the front, as a worker does them."""
    logs = tmp_path / "logs"
    logs.mkdir()
    made = Planted(desk, logs, SideLog(logs, "fake"), [])
    desk.start(budget={"trials": ASKED}, train={"epochs": chain.STEPS, "batch": 32, "lr": 5e-3})
    while isinstance(work := desk.ask(), wire.Lease):
        made.log.lease = work
        if work.task == "test":
            values = chain.values(truth(work, chain.STEPS))
            desk.reports.tested(work.trial_id, wire.Tested(fence=work.fence, values=values))
            made.log.write("tested", values=values)
        else:
            made.ids.append(work.trial_id)
            serve(made, work)
    assert work.finished
    return made


def truth(lease: wire.Lease, steps: int) -> str:
    beta, threshold = lease.params["beta"], lease.params["threshold"]
    assert isinstance(beta, float)
    assert isinstance(threshold, float)
    return chain.after(steps, lease.seed, beta, threshold)


def serve(made: Planted, lease: wire.Lease) -> None:
    for number in range(1, chain.STEPS + 1):
        made.log.write("step", epoch=number)
        loss, accuracy = curve_point(truth(lease, number))
        point = wire.EpochPoint(epoch=number, loss=loss, accuracy=accuracy, seconds=0.1)
        made.desk.reports.renew(lease.trial_id, wire.Renewal(fence=lease.fence, epochs=(point,)))
        made.log.write("epoch", epoch=number, loss=loss, accuracy=accuracy)
        made.desk.checkpoint(lease, number, b"state")
        made.log.write("checkpoint", epoch=number)
    for rung, epoch in enumerate(RUNGS):
        values = chain.values(truth(lease, epoch))
        made.desk.judging.rung(lease.trial_id, wire.Rung(fence=lease.fence, rung=rung, epoch=epoch, values=values))
        made.log.write("rung", rung=rung, values=values, decision="continue")
    link, data = truth(lease, chain.STEPS), chain.weights(truth(lease, chain.STEPS))
    digest = hashlib.sha256(data).hexdigest()
    made.desk.reports.weights(lease.trial_id, lease.fence, digest, data)
    made.desk.reports.complete(lease.trial_id, completion(lease, digest, **chain.values(link)))
    made.log.write("complete", values=chain.values(link), weights=digest)


def test_a_faultless_study_has_no_violation(planted: Planted) -> None:
    assert planted.audit() == []


def stop(at: Planted, more: str = "") -> None:
    """Let a complete trial look like one that was stopped at its first rung."""
    at.sql(f"UPDATE spikefront.rung SET decision = 'stop'{more} WHERE trial_id = :id AND rung = 0")
    at.sql("UPDATE public.trials SET state = 'PRUNED' WHERE trial_id = :id")


ONE_MORE = "INSERT INTO public.trials (number, study_id, state) SELECT 9, study_id, 'COMPLETE' FROM public.trials \
WHERE trial_id = :id"
OTHERS = {"latency_ms": 1.0, "fps_per_watt": 1.0}

PLANTS: dict[str, tuple[Kind, Callable[[Planted], object]]] = {
    "a trial too many": ("count", lambda at: at.sql(ONE_MORE)),
    "a trial too few": ("count", lambda at: at.sql("DELETE FROM public.trials WHERE trial_id = :id")),
    "a failed trial": ("dropped", lambda at: at.sql("UPDATE public.trials SET state = 'FAIL' WHERE trial_id = :id")),
    "a running trial": ("stuck", lambda at: at.sql("UPDATE public.trials SET state = 'RUNNING' WHERE trial_id = :id")),
    "an open lease": ("stuck", lambda at: at.sql("UPDATE spikefront.lease SET ended_at = NULL WHERE trial_id = :id")),
    "no lease": ("stuck", lambda at: at.sql("DELETE FROM spikefront.lease WHERE trial_id = :id")),
    "a study without end": ("stuck", lambda at: at.sql("UPDATE spikefront.study SET state = 'running' WHERE :id > 0")),
    "a number twice": (
        "duplicate", lambda at: at.sql("UPDATE public.trials SET number = 0 WHERE trial_id = :id"),
    ),
    "two results acknowledged": ("duplicate", lambda at: at.tell("complete", values={"accuracy": 0.1, **OTHERS})),
    "a result gone": ("lost", lambda at: at.sql("DELETE FROM spikefront.result WHERE trial_id = :id")),
    "an acknowledged trial gone": ("lost", lambda at: at.sql("DELETE FROM public.trials WHERE trial_id = :id")),
    "an acknowledged result that is not there": (
        "lost", lambda at: at.sql("UPDATE public.trials SET state = 'RUNNING' WHERE trial_id = :id"),
    ),
    "an epoch gone": ("lost", lambda at: at.sql("DELETE FROM spikefront.epoch WHERE trial_id = :id AND epoch = 2")),
    "a rung gone": ("lost", lambda at: at.sql("DELETE FROM spikefront.rung WHERE trial_id = :id")),
    "a test score gone": (
        "lost", lambda at: at.sql("UPDATE spikefront.result SET test = NULL, test_error = '' WHERE :id > 0"),
    ),
    "weights gone": ("lost", lambda at: at.weights().unlink()),
    "weights with other bytes": ("altered", lambda at: at.weights().write_bytes(b"others")),
    "a value in its last bit": (
        "altered",
        lambda at: at.sql("UPDATE public.trial_values SET value = value * (1 + 2.3e-16) WHERE trial_id = :id"),
    ),
    "an epoch in its last bit": (
        "altered", lambda at: at.sql("UPDATE spikefront.epoch SET loss = loss * (1 + 2.3e-16) WHERE trial_id = :id"),
    ),
    "a rung with other values": (
        "altered", lambda at: at.sql("UPDATE spikefront.rung SET values = '{\"accuracy\": 0.5}' WHERE trial_id = :id"),
    ),
    "a trial stopped without a decision": (
        "dropped", lambda at: at.sql("UPDATE public.trials SET state = 'PRUNED' WHERE trial_id = :id"),
    ),
    "a trial stopped and complete": (
        "duplicate",
        lambda at: at.sql("UPDATE spikefront.rung SET decision = 'stop' WHERE trial_id = :id AND rung = 0"),
    ),
    "a trial stopped for another vector": ("altered", lambda at: stop(at, ", values = '{\"accuracy\": 0.5}'")),
    "a stopped trial with values": ("duplicate", lambda at: stop(at)),
    "a stop that nobody was told": ("altered", lambda at: stop(at)),
    "a step behind a checkpoint": ("repeated", lambda at: at.tell("step", fence=2, epoch=4)),
    "a step twice": ("repeated", lambda at: at.tell("step", epoch=4)),
}  # fmt: skip


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_violation_is_found(planted: Planted, plant: str) -> None:
    kind, spoil = PLANTS[plant]

    spoil(planted)

    assert kind in [violation.kind for violation in planted.audit()]


def test_a_process_that_died_by_itself_is_a_violation(planted: Planted) -> None:
    assert planted.audit("worker w0 ended with 1") == [Violation("dead", "worker w0 ended with 1")]


def test_a_log_line_is_on_disk_when_it_is_written(planted: Planted) -> None:
    planted.tell("step", fence=7, epoch=1)

    (path,) = planted.folder.iterdir()
    last = json.loads(path.read_text().splitlines()[-1])
    assert last == {"event": "step", "worker": "fake", "trial": planted.ids[1], "fence": 7, "epoch": 1}
