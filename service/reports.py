"""Take what workers report: every write under the lease's fence, every end in one transaction and safe to repeat."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from optuna.trial import TrialState
from pydantic import ValidationError
from sqlalchemy import Connection

from objectives.pareto import reference_point
from objectives.spec import Study
from service import lease as machine
from service import wire
from service.errors import Conflict, LeaseLost, NotFound, Unavailable, UsageError
from service.handout import study_of
from service.leasing import Change, Ending, end_lease, lease_of, under_lease, with_lease
from service.metrics import Metrics
from service.record import Record
from service.scores import constraints_of, in_order
from storage import leases, studies, trials
from storage.artifacts import Artifacts
from storage.errors import ArtifactDiskError, ArtifactError, TrialFinished
from storage.leases import Held, LeaseRow
from storage.statement import Batch, Writes
from storage.studies import StudyRow

T = TypeVar("T")

KEPT_CHECKPOINTS = 2
FRONT_DIGEST = "hardware_front_sha256"
"""In a result's details: what the stored hardware front hashes to; its fence is that of the weights."""

_WORDS = {
    "accuracy": "accuracy {:.1%}",
    "latency_ms": "{:.3g} ms",
    "fps_per_watt": "{:,.0f} FPS/W",
    "energy_uj": "{:.3g} µJ",
}


class Reports:
    """What workers tell the server about the trials they hold.

    Args:
        record: The open database.
        metrics: Told what is reported again.
        artifacts: Where checkpoints and weights are kept.
        lease_s: Lease time in seconds.
    """

    def __init__(self, record: Record, metrics: Metrics, artifacts: Artifacts, *, lease_s: float) -> None:
        self._record, self._metrics = record, metrics
        self._artifacts = artifacts
        self._ttl = timedelta(seconds=lease_s)

    def renew(self, trial_id: int, message: wire.Renewal) -> wire.Renewed:
        """Prolong a lease and take the epochs finished since the last renewal.

        Raises:
            LeaseLost: Somebody else has the trial, or it is finished.
        """

        def change(connection: Connection, held: Held) -> wire.Renewed:
            lease = machine.renew(lease_of(held.row), message.fence, held.now, self._ttl)
            batch = Batch(connection)
            leases.write(batch, _with_epochs(batch, with_lease(held.row, lease, held.now), message.epochs))
            batch.send()
            return wire.Renewed(stop=held.study.state in ("paused", "stopped"))

        return under_lease(self._record, trial_id, message.fence, change)

    def checkpoint(self, trial_id: int, fence: int, epoch: int, digest: str, data: bytes) -> None:
        """Store a checkpoint and drop all but the newest two.

        Raises:
            UsageError: The bytes do not hash to the digest.
            LeaseLost: The fence is old; nothing of the new owner's is touched.
        """
        self._store(trial_id, fence, digest, data)

        def change(connection: Connection, held: Held) -> list[leases.CheckpointRow]:
            leases.add_checkpoint(connection, trial_id, fence, epoch, digest, len(data))
            stored = leases.checkpoints(connection, trial_id)
            kept, old = stored[:KEPT_CHECKPOINTS], stored[KEPT_CHECKPOINTS:]
            leases.drop_checkpoints(connection, [row.checkpoint_id for row in old])
            names = {(row.fence, row.sha256) for row in kept}
            return [row for row in old if (row.fence, row.sha256) not in names]

        for old in under_lease(self._record, trial_id, fence, change):
            self._artifacts.remove(trial_id, old.fence, old.sha256)

    def weights(self, trial_id: int, fence: int, digest: str, data: bytes) -> None:
        """Store the trained network, before its trial is completed.

        Raises:
            UsageError: The bytes do not hash to the digest.
            LeaseLost: The fence is old.
        """
        self._store(trial_id, fence, digest, data)

    def hardware_front(self, trial_id: int, fence: int, digest: str, data: bytes) -> None:
        """Store the accelerators that a trial had to choose from, before it is completed.

        Raises:
            UsageError: The bytes do not hash to the digest.
            LeaseLost: The fence is old.
        """
        self._store(trial_id, fence, digest, data)

    def blob(self, trial_id: int, fence: int, digest: str) -> bytes:
        """Bytes of a checkpoint, or of weights.

        Raises:
            NotFound: They were never sent; or they are missing, torn or altered, which is logged as an event: the
                caller goes on with an older checkpoint.
        """
        try:
            return self._artifacts.read(trial_id, fence, digest)
        except ArtifactError as error:
            with self._record.engine.begin() as connection:
                row = leases.locked(connection, trial_id)
                if row is not None and _was_stored(connection, trial_id, fence, digest):
                    studies.add_event(
                        connection, row.study_id, "refused", str(error), trials.number_of(connection, trial_id)
                    )
            raise NotFound(str(error)) from error

    def complete(self, trial_id: int, message: wire.Complete) -> None:
        """Finish a trial: values, constraints, attributes, state and result together.

        Raises:
            LeaseLost: Somebody else has the trial, or it was finished with other values.
            UsageError: A value is missing, the weights or the hardware front were not sent, or the details are not
                JSON.
        """
        _check_details(message.details)

        def change(connection: Connection, batch: Batch, held: Held) -> LeaseRow:
            self._check_sent(trial_id, message.fence, message.weights, "weights: send the trained network")
            self._check_front(held.study, held.row, message)
            _end(lambda: trials.lock_running(connection, trial_id))
            _write_result(batch, held, message)
            if held.number == 0 and held.study.reference is None:
                reference = reference_point(message.values, held.study.floor, study_of(held.study).objectives)
                studies.update(connection, held.study.study_id, reference=reference)
            for rung in message.rungs:
                in_order(study_of(held.study), rung.values)
                _write_rung(batch, trial_id, rung)
            return _with_epochs(batch, held.row, message.epochs)

        def is_same(connection: Connection, held: Held) -> bool:
            return trials.values_of(connection, trial_id) == in_order(study_of(held.study), message.values)

        self._end_lease(trial_id, message.fence, change, is_same)

    def fail(self, trial_id: int, message: wire.Failed) -> None:
        """End a trial whose objective raised; the study goes on, unless one failure keeps coming.

        Raises:
            LeaseLost: Somebody else has the trial, or it is complete.
        """

        def change(connection: Connection, batch: Batch, held: Held) -> LeaseRow:
            row, number = held.row, held.number
            failure = {
                "class": message.error,
                "message": message.message,
                "traceback": message.traceback,
                "seed": row.seed,
                "worker": row.worker,
            }
            _end(lambda: trials.fail(connection, trial_id, {"failure": failure}))
            text = f"trial {number} failed: {message.error}: {message.message}"
            studies.add_event(connection, row.study_id, "failed", text, number)
            self._pause_if_hopeless(connection, row.study_id, message.message)
            return row

        def is_same(connection: Connection, held: Held) -> bool:
            return trials.state_of(connection, trial_id) is TrialState.FAIL

        self._end_lease(trial_id, message.fence, change, is_same)

    def tested(self, trial_id: int, message: wire.Tested) -> None:
        """Store the scores of a front point on the test set, or why there are none.

        Raises:
            LeaseLost: Somebody else has the test, or another result is stored.
            Conflict: The trial is not under test.
        """

        def change(connection: Connection, batch: Batch, held: Held) -> LeaseRow:
            row, number = held.row, held.number
            if row.task != "test":
                raise Conflict(f"trial {number} is in training; complete, fail or release it")
            leases.write_test(connection, trial_id, _test_document(message), message.error)
            if message.error:
                text = f"trial {number} has no test score: {message.error}"
                studies.add_event(batch, row.study_id, "test failed", text, number)
            return row

        def is_same(connection: Connection, held: Held) -> bool:
            stored: dict[str, Any] = leases.results(connection, [trial_id]).get(trial_id, {})
            return (stored.get("test"), stored.get("test_error")) == (_test_document(message), message.error)

        self._end_lease(trial_id, message.fence, change, is_same)

    def release(self, trial_id: int, message: wire.Fence) -> None:
        """Hand a trial back: the next worker that asks goes on from its newest checkpoint.

        Raises:
            LeaseLost: Somebody else has the trial, or it is finished.
        """

        def change(connection: Connection, held: Held) -> None:
            row, number, now = held.row, held.number, held.now
            leases.write(connection, with_lease(row, machine.release(lease_of(row), message.fence, now), now))
            text = f"{row.worker} handed trial {number} back at epoch {row.epoch}"
            studies.add_event(connection, row.study_id, "handed back", text, number)

        under_lease(self._record, trial_id, message.fence, change)

    def _end_lease(self, trial_id: int, fence: int, change: Ending, is_same: Change[bool]) -> None:
        """As `end_lease`; removes the files of the checkpoints, counts what is told again."""
        forgotten = end_lease(self._record, trial_id, fence, change, is_same)
        if forgotten is None:
            self._metrics.repeated()
        for row in forgotten or ():
            self._artifacts.remove(trial_id, row.fence, row.sha256)

    def _store(self, trial_id: int, fence: int, digest: str, data: bytes) -> None:
        under_lease(self._record, trial_id, fence, lambda connection, held: None)
        if not data or len(data) > wire.MAX_BLOB_BYTES:
            raise UsageError(f"expected 1 to {wire.MAX_BLOB_BYTES} bytes, got {len(data)}")
        try:
            self._artifacts.write(trial_id, fence, data, digest)
        except ArtifactDiskError as error:
            raise Unavailable(str(error)) from error
        except ArtifactError as error:
            raise UsageError(str(error)) from error

    def _check_front(self, stored: StudyRow, row: LeaseRow, message: wire.Complete) -> None:
        study = study_of(stored)
        words = "hardware_front: send the accelerators tried"
        if study.accelerator.search is None:
            if message.hardware_front is not None:
                raise UsageError("hardware_front: the study searches no accelerators; leave it out")
            return
        if message.hardware_front is None:
            raise UsageError(f"{words} before completing its trial: the study searches them")
        self._check_sent(row.trial_id, message.fence, message.hardware_front, words)
        _check_found(study, message.details)

    def _check_sent(self, trial_id: int, fence: int, digest: str, words: str) -> None:
        try:
            self._artifacts.read(trial_id, fence, digest)
        except ArtifactError as error:
            raise UsageError(f"{words} before completing its trial") from error

    def _pause_if_hopeless(self, connection: Connection, study_id: int, message: str) -> None:
        limit = study_of(studies.by_id(connection, study_id)).budget.max_failures
        recent = trials.last_failures(connection, study_id, limit)
        if len(recent) == limit and all(text == message for text in recent):
            reason = f"the last {limit} trials failed alike: {message}; mend that, then `spikefront resume`"
            studies.update(connection, study_id, state="paused", reason=reason)
            studies.add_event(connection, study_id, "paused", reason)


def _was_stored(connection: Connection, trial_id: int, fence: int, digest: str) -> bool:
    """Whether a trial has a checkpoint, weights or a hardware front of this name."""
    names = [(row.fence, row.sha256) for row in leases.checkpoints(connection, trial_id)]
    for stored in leases.results(connection, [trial_id]).values():
        digests = (stored["weights_sha256"], stored["details"].get(FRONT_DIGEST))
        names += [(stored["weights_fence"], kept) for kept in digests]
    return (fence, digest) in names


def _write_result(writes: Writes, held: Held, message: wire.Complete) -> None:
    """Store the scores of a trial, what comes with them, and the words for people."""
    study, row = study_of(held.study), held.row
    values = in_order(study, message.values)
    constraints = constraints_of(study, held.study.floor, message)
    attrs = {"seed": row.seed, "worker": row.worker, "attempts": row.fence}
    trials.finish(writes, row.trial_id, values, constraints, attrs)
    leases.write_result(
        writes,
        {
            "trial_id": row.trial_id,
            "details": _details(message),
            "on_baseline_accelerator": message.on_baseline_accelerator,
            "weights_sha256": message.weights,
            "weights_fence": message.fence,
        },
    )
    is_feasible = all(value <= 0 for value in constraints.values())
    words = ", ".join(_WORDS[name].format(message.values[name]) for name in study.objectives)
    text = f"trial {held.number} complete: {words}{'' if is_feasible else ' (infeasible)'}"
    studies.add_event(writes, row.study_id, "trial complete", text, held.number)


def _with_epochs(connection: Writes, row: LeaseRow, epochs: tuple[wire.EpochPoint, ...]) -> LeaseRow:
    """Store new points of the learning curve; the row with what was reached."""
    leases.write_epochs(connection, row.trial_id, [point.model_dump() for point in epochs])
    return replace(row, epoch=epochs[-1].epoch, accuracy=epochs[-1].accuracy) if epochs else row


def _write_rung(batch: Batch, trial_id: int, message: wire.Rung) -> None:
    """Store a rung that comes with the end of its trial: nothing is left to decide."""
    decided = {"decision": "continue", "reason": "it came with the trial's end"}
    leases.write_rung(batch, {"trial_id": trial_id, **message.model_dump(), **decided})


def _test_document(message: wire.Tested) -> dict[str, Any] | None:
    if message.values is None:
        return None
    return {"values": message.values, "on_baseline_accelerator": message.on_baseline_accelerator}


def _details(message: wire.Complete) -> dict[str, Any]:
    """What is stored beside the values; the artifact's digest is the one that was checked."""
    if message.hardware_front is None:
        return message.details
    return {**message.details, FRONT_DIGEST: message.hardware_front}


def _check_found(study: Study, details: dict[str, Any]) -> None:
    """Fronts and tests are made of this part of the details: it has to be whole."""
    try:
        found = wire.FoundHardware.model_validate_json(json.dumps(details))
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"details.{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    needed = [name for name in study.objectives if name != "accuracy"]
    for index, point in enumerate(found.hardware_front):
        missing = [name for name in needed if getattr(point, name) is None]
        if missing:
            raise UsageError(f"details.hardware_front.{index}: {', '.join(missing)} missing, an objective of the study")


def _check_details(details: dict[str, Any]) -> None:
    try:
        json.dumps(details, allow_nan=False)
    except ValueError as error:
        raise UsageError("details: NaN and infinities are not taken; leave out what is unknown") from error


def _end(write: Callable[[], T]) -> T:
    try:
        return write()
    except TrialFinished as error:
        raise LeaseLost(f"{error}: it was finished elsewhere") from error
