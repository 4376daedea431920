"""Whether a trial is worth more training: asked at each rung and once before it is trained, decided and stored at once.

A trial that is stopped ends in the transaction of the decision, PRUNED and without values: Optuna's samplers know it as
one that is not worth it, and no front holds it. Told the same again, the server answers what it decided before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection

from objectives.data import describe
from objectives.spec import Study
from objectives.stopping import is_spared, judge, judge_bound, rung_floor
from service import lease as machine
from service import wire
from service.errors import LeaseLost
from service.fronts import feasible_front
from service.handout import study_of
from service.leasing import held_lease, lease_of, with_lease
from service.record import Record
from service.scores import excess, in_order
from storage import leases, studies, trials
from storage.artifacts import Artifacts
from storage.errors import TrialFinished
from storage.leases import CheckpointRow, Held
from storage.statement import Batch

GATE = -1
"""Number of the rung before training, at epoch 0."""

BASELINE = 0
"""The trial that is never stopped: the reference point is made of it."""


@dataclass(frozen=True)
class _Asked:
    """A question: which rung of which trial, with what vector, and whether its accelerator fits the device."""

    fence: int
    rung: int
    epoch: int
    values: dict[str, float]
    fits_device: bool = True


@dataclass(frozen=True)
class _Decided:
    """What becomes of a trial: `continue`, `stop` or `spare`.

    Attributes:
        constraints: What the sampler is to learn of a trial that is stopped; feasible at 0 or below.
    """

    word: str
    reason: str
    constraints: Mapping[str, float] = field(default_factory=dict)


class Judging:
    """Answers workers that ask whether to go on.

    Args:
        record: The open database.
        artifacts: Where the checkpoints of a stopped trial are removed.
    """

    def __init__(self, record: Record, artifacts: Artifacts) -> None:
        self._record, self._artifacts = record, artifacts

    def rung(self, trial_id: int, message: wire.Rung) -> wire.Decision:
        """Judge by the objective vector at a rung.

        Raises:
            UsageError: The values are not those of the study's objectives.
            LeaseLost: Somebody else has the trial, or it is finished.
            NotFound: There is no such lease.
        """
        return self._decided(trial_id, _Asked(message.fence, message.rung, message.epoch, message.values))

    def gate(self, trial_id: int, message: wire.Bound) -> wire.Decision:
        """Judge before training, by the best that the trial can come to; raises as `rung`."""
        return self._decided(trial_id, _Asked(message.fence, GATE, 0, message.values, message.fits_device))

    def _decided(self, trial_id: int, asked: _Asked) -> wire.Decision:
        forgotten: list[CheckpointRow] = []
        with self._record.engine.begin() as connection:
            held = held_lease(connection, trial_id)
            stored = leases.decision_at(connection, trial_id, asked.rung)
            told = _Decided(*stored) if stored else None
            if told is None or told.word != "stop" or held.row.fence != asked.fence:  # a stop has ended the lease
                machine.held(lease_of(held.row), asked.fence)
                told = told or self._judged(connection, held, asked)
                forgotten = _written(connection, held, asked, told)
        for row in forgotten:
            self._artifacts.remove(trial_id, row.fence, row.sha256)
        return wire.Decision(decision="stop" if told.word == "stop" else "continue", reason=told.reason)

    def _judged(self, connection: Connection, held: Held, asked: _Asked) -> _Decided:
        study = study_of(held.study)
        in_order(study, asked.values)
        if study.stopping.name == "none":
            return _Decided("continue", "stopping: none")
        if held.number == BASELINE:
            return _Decided("continue", "the baseline is trained to its end")
        if asked.rung == GATE:
            return self._at_the_gate(held, study, asked)
        chance = 1 / describe(study.dataset.name).classes
        floor = rung_floor(study.stopping, asked.epoch, held.row.epochs, chance=chance, floor=held.study.floor)
        others = leases.vectors_at(connection, held.study.study_id, asked.epoch, held.row.trial_id)
        verdict = judge(study.stopping, study.objectives, asked.values, others, floor)
        if verdict.stop and is_spared(study.stopping, study.sampler.seed, held.number):
            return _Decided("spare", f"trained on to measure wrong stops: {verdict.reason}")
        return _Decided("stop" if verdict.stop else "continue", verdict.reason)

    def _at_the_gate(self, held: Held, study: Study, asked: _Asked) -> _Decided:
        if study.constraints.fits_device and not asked.fits_device:
            return _Decided("stop", "the accelerator does not fit the device", {"fits_device": 1.0})
        above = {name: share for name, share in excess(study, asked.values).items() if share > 0}
        if above:
            words = ", ".join(f"{name.removeprefix('max_')} by {share:.0%}" for name, share in sorted(above.items()))
            return _Decided("stop", f"even with silent layers it is above its ceiling: {words}", above)
        front = feasible_front(self._record.trials(held.study.study_id), study.objectives)
        finished = [dict(zip(study.objectives, trial.values, strict=True)) for trial in front]
        verdict = judge_bound(study.objectives, asked.values, finished)
        return _Decided("stop" if verdict.stop else "continue", verdict.reason)


def _written(connection: Connection, held: Held, asked: _Asked, decided: _Decided) -> list[CheckpointRow]:
    """Store a rung and its decision; end the trial where it is stopped. Gives the checkpoints that are forgotten."""
    row, batch = held.row, Batch(connection)
    leases.write_rung(
        batch,
        {
            "trial_id": row.trial_id,
            "rung": asked.rung,
            "epoch": asked.epoch,
            "fence": asked.fence,
            "values": asked.values,
            "decision": decided.word,
            "reason": decided.reason,
        },
    )
    if decided.word != "stop":
        batch.send()
        return []
    try:
        trials.lock_running(connection, row.trial_id)
    except TrialFinished as error:
        raise LeaseLost(f"{error}: it was finished elsewhere") from error
    attrs = {"seed": row.seed, "worker": row.worker, "attempts": row.fence, "stopped": decided.reason}
    trials.stop(batch, row.trial_id, decided.constraints, attrs)
    where = "before training" if asked.rung == GATE else f"at epoch {asked.epoch} of {row.epochs}"
    studies.add_event(
        batch, row.study_id, "stopped early", f"trial {held.number} stopped {where}: {decided.reason}", held.number
    )
    leases.write(batch, with_lease(row, machine.end(lease_of(row), asked.fence), held.now))
    return leases.forget_checkpoints(batch, row.trial_id)
