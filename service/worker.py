"""The worker: lease a trial, train it, report rungs, save checkpoints, complete it; ask again."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from objectives.data import Dataset, load_dataset
from objectives.errors import CheckpointError
from objectives.process import settle
from objectives.score import Score, bound, score, score_test
from objectives.spec import DatasetSpec, Study
from objectives.stopping import rung_epochs
from objectives.train import Epoch, Training
from service import versions, wire
from service.client import Client
from service.errors import LeaseLost, NotAllowed, NotFound, Unavailable
from service.holding import Holding
from service.renewal import Renewal
from service.spool import Spool

log = logging.getLogger(__name__)

HANDOVER_PATIENCE_S = 5.0
CHECKPOINT_PATIENCE_S = 2.0
GATE_PATIENCE_S = 2.0


@dataclass(frozen=True)
class Place:
    """Where a worker lives.

    Attributes:
        name: Unique among the workers of a server.
        data: Folder of the data sets.
        spool: Folder for results that the server cannot take yet.
        parent: Process whose end ends this worker; None for a worker of its own.
    """

    name: str
    data: Path
    spool: Path
    parent: int | None = None


def default_name() -> str:
    """A name from host and process, unique enough for people to recognise."""
    host = "".join(c if c.isalnum() or c in "._-" else "-" for c in socket.gethostname()) or "host"
    return f"{host[:80].lstrip('._-') or 'host'}-{os.getpid()}"


class HandedOver(Exception):
    """Training was interrupted on request; the trial is to be handed back."""


class StoppedEarly(Exception):
    """The trial is worth no more training, for the reason given; the server has ended it."""


class Worker:
    """Works for one study server until it is stopped, or until its study is finished.

    Args:
        client: Calls to the server.
        place: Name and folders.
        study: Work for this study only, and end with it.
    """

    def __init__(self, client: Client, place: Place, study: str | None = None) -> None:
        self._client, self._place, self._study = client, place, study
        self._spool = Spool(place.spool)
        self._stopping = threading.Event()
        self._data: tuple[DatasetSpec, Dataset] | None = None
        settle()

    def stop(self) -> None:
        """Save the running trial, hand it back, and end; safe to call from a signal handler."""
        self._stopping.set()

    def run(self) -> str:
        """Work; returns why it ended.

        Raises:
            Unavailable: The server never answered.
            NotAllowed: The token is wrong.
            Conflict: The study wants other versions than those installed here.
            NotFound: There is no such study.
        """
        with Holding(self._place.spool) as holding:
            return self._work(holding)

    def _work(self, holding: Holding) -> str:
        has_met = False
        while not self.is_stopping():
            try:
                self._spool.deliver(self._client)
                self._give_back_what_was_left(holding)
                request = wire.LeaseRequest(worker=self._place.name, versions=versions.installed(), study=self._study)
                work = self._client.lease(request)
            except Unavailable as error:
                if not has_met:
                    raise
                log.warning("%s; still trying", error, extra={"action": "lease"})
                continue
            has_met = True
            if isinstance(work, wire.Idle):
                if work.finished:
                    return work.reason
                self._stopping.wait(work.retry_s)
                continue
            holding.note(work)
            if work.task == "test":
                self._test(work)
            else:
                self._train(work)
            holding.clear()
        return "stopped on request"

    def is_stopping(self) -> bool:
        """Whether to save and end: told to, or the process that started this one is gone."""
        orphaned = self._place.parent is not None and os.getppid() != self._place.parent
        return orphaned or self._stopping.is_set()

    def _give_back_what_was_left(self, holding: Holding) -> None:
        """Hand back what an earlier process of this name held when it was killed; its results are delivered by now."""
        if holding.left is None:
            return
        trial_id, fence = holding.left
        try:
            self._client.send(trial_id, "release", wire.Fence(fence=fence))
        except (LeaseLost, NotFound) as error:
            log.info("nothing to hand back: %s", error, extra={"action": "release"})
        holding.clear()

    # --- one trial ---------------------------------------------------------------------------------------------

    def _train(self, lease: wire.Lease) -> None:
        extra = {"action": "train", "study": lease.study, "trial": lease.number}
        log.info("trial %d, attempt %d", lease.number, lease.fence, extra=extra)
        with Renewal(self._client, lease) as renewal:
            try:
                self._spool.complete(self._client, lease, *self._trained(lease, renewal))
            except HandedOver:
                log.info("trial %d handed back", lease.number, extra=extra)
            except StoppedEarly as stopped:
                log.info("trial %d stopped: %s", lease.number, stopped, extra=extra)
            except LeaseLost as error:
                log.warning("trial %d dropped: %s", lease.number, error, extra=extra)
            except (Unavailable, NotAllowed, NotFound) as error:  # trouble with the server is none of the trial's
                log.warning("trial %d: %s", lease.number, error, extra=extra)
            except Exception as error:
                log.exception("trial %d failed", lease.number, extra=extra)
                self._fail(lease, error)

    def _trained(self, lease: wire.Lease, renewal: Renewal) -> tuple[wire.Complete, bytes, bytes | None]:
        """Train to the end and score."""
        settings = lease.spec.resolve(lease.params)
        baseline = lease.spec.resolve(lease.baseline_params)
        data = self._dataset(settings.dataset)
        training = Training(settings, lease.seed, data)
        self._restore(training, lease)
        self._pass_gate(training, lease, settings, data)
        rungs = rung_epochs(lease.spec.stopping, training.epochs)
        saved_at = time.monotonic()
        while not training.finished:
            epoch = training.run_epoch(lambda: self.is_stopping() or renewal.interrupts)
            if renewal.stopped:
                raise StoppedEarly(renewal.stopped)
            if epoch is None:
                self._hand_over(training, lease, renewal)
                raise HandedOver
            renewal.add(_point(epoch))
            if epoch.epoch in rungs:
                scored = self._score(training, lease, settings, data, None)
                rung = rungs.index(epoch.epoch)
                renewal.rung(wire.Rung(fence=lease.fence, rung=rung, epoch=epoch.epoch, values=scored.values))
            if time.monotonic() - saved_at >= lease.checkpoint_s and not training.finished:
                self._save(training, lease, renewal, CHECKPOINT_PATIENCE_S)
                saved_at = time.monotonic()
        scored = self._score(training, lease, settings, data, baseline)
        weights = training.weights()
        return _completion(lease, scored, weights, renewal), weights, scored.hardware_front

    def _pass_gate(self, training: Training, lease: wire.Lease, settings: Study, data: Dataset) -> None:
        """Ask whether the trial is worth training; without an answer it is trained."""
        if lease.spec.stopping.name == "none" or training.epoch > 0:
            return
        best = bound(settings, training.network, data.validation.images, data.validation.labels, seed=lease.seed)
        if best is None:
            return
        message = wire.Bound(fence=lease.fence, values=best.values, fits_device=best.fits_device)
        try:
            decided = self._client.gate(lease.trial_id, message, patience_s=GATE_PATIENCE_S)
        except Unavailable as error:
            log.warning("no answer at the gate: %s", error, extra={"action": "gate", "trial": lease.number})
            return
        if decided.decision == "stop":
            raise StoppedEarly(decided.reason)

    def _dataset(self, spec: DatasetSpec) -> Dataset:
        """The data set, kept from trial to trial."""
        if self._data is None or self._data[0] != spec:
            self._data = spec, load_dataset(spec, self._place.data)
        return self._data[1]

    def _restore(self, training: Training, lease: wire.Lease) -> None:
        """Go on from the newest checkpoint that is whole; from the start when there is none."""
        for blob in lease.checkpoints:
            try:
                training.restore(self._client.blob(lease.trial_id, blob))
                return
            except (NotFound, CheckpointError) as error:
                log.warning("checkpoint refused: %s", error, extra={"action": "restore", "trial": lease.number})

    def _score(
        self, training: Training, lease: wire.Lease, settings: Study, data: Dataset, baseline: Study | None
    ) -> Score:
        valid = data.validation
        return score(settings, training.network, valid.images, valid.labels, seed=lease.seed, baseline=baseline)

    def _save(self, training: Training, lease: wire.Lease, renewal: Renewal, patience_s: float) -> None:
        """Store a checkpoint, behind the epochs and rungs before it: whoever goes on from it tells them no more."""
        try:
            renewal.flush(patience_s)
            if renewal.stopped:
                raise StoppedEarly(renewal.stopped)
            self._client.checkpoint(lease, training.epoch, training.state(), patience_s=patience_s)
        except Unavailable as error:
            log.warning("no checkpoint: %s", error, extra={"action": "checkpoint", "trial": lease.number})

    def _hand_over(self, training: Training, lease: wire.Lease, renewal: Renewal) -> None:
        """Save and give the trial back, unless somebody else has it already."""
        if renewal.lost:
            raise LeaseLost(renewal.lost)
        self._save(training, lease, renewal, HANDOVER_PATIENCE_S)
        self._client.send(lease.trial_id, "release", wire.Fence(fence=lease.fence), patience_s=HANDOVER_PATIENCE_S)

    def _fail(self, lease: wire.Lease, error: Exception) -> None:
        failure = wire.Failed(
            fence=lease.fence,
            error=type(error).__name__[:200],
            message=str(error)[:20_000],
            traceback=traceback.format_exc()[-20_000:],
        )
        try:
            self._client.send(lease.trial_id, "fail", failure)
        except (LeaseLost, Unavailable, NotAllowed, NotFound) as refused:
            log.warning("the failure was not taken: %s", refused, extra={"action": "fail", "trial": lease.number})

    # --- a point of the front on the test set ------------------------------------------------------------------

    def _test(self, lease: wire.Lease) -> None:
        extra = {"action": "test", "study": lease.study, "trial": lease.number}
        with Renewal(self._client, lease):
            try:
                self._client.send(lease.trial_id, "tested", self._tested(lease))
            except (LeaseLost, Unavailable, NotAllowed, NotFound) as error:
                log.warning("test of trial %d: %s", lease.number, error, extra=extra)

    def _tested(self, lease: wire.Lease) -> wire.Tested:
        assert lease.weights is not None
        settings = lease.spec.resolve(lease.params)
        if lease.accelerator is not None:
            settings = settings.with_accelerator(lease.accelerator)
        try:
            weights = self._client.blob(lease.trial_id, lease.weights)
            baseline = lease.spec.resolve(lease.baseline_params)
            scored = score_test(settings, weights, self._dataset(settings.dataset), lease.seed, baseline)
        except (Unavailable, NotAllowed):
            raise
        except Exception as error:
            log.exception("test of trial %d failed", lease.number, extra={"action": "test"})
            return wire.Tested(fence=lease.fence, values=None, error=f"{type(error).__name__}: {error}"[:20_000])
        again = scored.on_baseline_accelerator
        return wire.Tested(fence=lease.fence, values=scored.values, on_baseline_accelerator=again)


def _point(epoch: Epoch) -> wire.EpochPoint:
    return wire.EpochPoint(epoch=epoch.epoch, loss=epoch.loss, accuracy=epoch.accuracy, seconds=epoch.seconds)


def _completion(lease: wire.Lease, scored: Score, weights: bytes, renewal: Renewal) -> wire.Complete:
    hazards, front = scored.details["hazards"], scored.hardware_front
    return wire.Complete(
        fence=lease.fence,
        values=scored.values,
        fits_device=scored.details["fits_device"],
        fits_budget=scored.details.get("fits_budget", True),
        hazards=sum(hazards.values()),
        on_baseline_accelerator=scored.on_baseline_accelerator,
        weights=hashlib.sha256(weights).hexdigest(),
        hardware_front=None if front is None else hashlib.sha256(front).hexdigest(),
        details=scored.details,
        epochs=renewal.unsent_epochs,
        rungs=renewal.unsent_rungs,
    )
