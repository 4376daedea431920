"""A study server without sockets on a database of a test, and a worker that trains nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import text

from service import versions, wire
from service.handout import Handout
from service.judging import Judging
from service.metrics import Metrics
from service.record import Record, open_record
from service.reports import Reports
from service.studies import Studies
from storage.artifacts import Artifacts
from storage.ownership import Ownership
from tests.support.postgres import eventually
from tests.support.processes import scalar
from tests.support.studies import make_study

SHORT_S = 0.4
"""Lease time of a desk whose leases are to expire."""

TABLES = [
    "public.trials", "public.trial_values", "public.trial_params", "public.trial_user_attributes",
    "public.trial_system_attributes", "spikefront.lease", "spikefront.epoch", "spikefront.rung",
    "spikefront.checkpoint", "spikefront.result", "spikefront.event", "spikefront.study",
]  # fmt: skip


@dataclass
class Desk:
    """Handout, reports and studies on one database."""

    url: str
    record: Record
    folder: Path
    handout: Handout
    reports: Reports
    judging: Judging
    studies: Studies
    ownership: Ownership

    def ask(self, study: str | None = "tiny", worker: str = "fake", **installed: str) -> wire.Lease | wire.Idle:
        """What the server offers."""
        mine = {**versions.installed(), **installed}
        return self.handout.lease(wire.LeaseRequest(worker=worker, versions=mine, study=study))

    def lease(self, study: str | None = "tiny", worker: str = "fake") -> wire.Lease:
        """A trial (or a test) that the server offers."""
        offer = self.ask(study, worker)
        assert isinstance(offer, wire.Lease), offer
        return offer

    def completion(self, lease: wire.Lease, **values: float) -> wire.Complete:
        """A message with made-up scores that completes a trial; its made-up weights are stored."""
        data = weights_of(lease)
        digest = hashlib.sha256(data).hexdigest()
        self.reports.weights(lease.trial_id, lease.fence, digest, data)
        return completion(lease, digest, **values)

    def complete(self, lease: wire.Lease, **values: float) -> wire.Complete:
        """Complete a trial with made-up scores; returns the message, to be repeated."""
        message = self.completion(lease, **values)
        self.reports.complete(lease.trial_id, message)
        return message

    def serve(self, work: wire.Lease) -> None:
        """Do as a worker does with what it was offered."""
        if work.task == "train":
            self.complete(work)
        else:
            self.reports.tested(work.trial_id, wire.Tested(fence=work.fence, values={"accuracy": 0.5}))

    def drain(self, study: str = "tiny", worker: str = "fake") -> str:
        """Work until the study is finished; returns why it is."""
        while isinstance(offer := self.ask(study, worker), wire.Lease) or not offer.finished:
            if isinstance(offer, wire.Lease):
                self.serve(offer)
        return offer.reason

    def checkpoint(self, lease: wire.Lease, epoch: int, data: bytes) -> wire.Blob:
        """Store a made-up checkpoint."""
        digest = hashlib.sha256(data).hexdigest()
        self.reports.checkpoint(lease.trial_id, lease.fence, epoch, digest, data)
        return wire.Blob(fence=lease.fence, sha256=digest)

    def start(self, **fields: Any) -> None:
        """Start the tiny study, with fields of it replaced."""
        self.studies.start(make_study(**fields))

    def is_expired(self, trial_id: int) -> bool:
        """Whether the lease of a trial may be taken over, by the database's clock."""
        query = "SELECT expires_at <= clock_timestamp() FROM spikefront.lease WHERE trial_id = :id"
        return bool(scalar(self.url, query, id=trial_id))

    def taken_over(self, old: wire.Lease, worker: str = "second") -> wire.Lease:
        """The lease of another worker, once the old one is expired."""
        eventually(lambda: self.is_expired(old.trial_id), "the lease is expired")
        return self.lease(worker=worker)

    def snapshot(self) -> list[Any]:
        """Everything that a refused writer must not change."""
        with self.record.engine.connect() as connection:
            return [sorted(map(repr, connection.execute(text(f"SELECT * FROM {table}")))) for table in TABLES]

    def events(self, kind: str) -> list[str]:
        """The messages of the tiny study's events of one kind."""
        return [event.message for event in self.studies.events("tiny") if event.kind == kind]

    def files(self, trial_id: int) -> list[str]:
        """Names of the artifacts of a trial."""
        return sorted(path.name for path in (self.folder / str(trial_id)).glob("*"))


@contextmanager
def opened(url: str, folder: Path, *, lease_s: float = 30.0) -> Iterator[Desk]:
    """A desk on the database at `url` with its artifacts in `folder`."""
    with open_record(url, folder / "var") as record:
        metrics = Metrics(record)
        ownership = Ownership(record.engine, lease_s=lease_s)
        handout = Handout(record, metrics, ownership, lease_s=lease_s, checkpoint_s=0.0)
        artifacts = Artifacts(folder)
        reports = Reports(record, metrics, artifacts, lease_s=lease_s)
        yield Desk(url, record, folder, handout, reports, Judging(record, artifacts), Studies(record), ownership)
        ownership.close()


def weights_of(lease: wire.Lease) -> bytes:
    """Made-up weights; different for each attempt."""
    return f"weights of trial {lease.number}, fence {lease.fence}".encode()


def made_up(number: int) -> dict[str, float]:
    """Made-up scores: accuracy and cost rise together, so that many trials stand on the front; each fifth is dead."""
    accuracy = 0.1 if number % 5 == 4 else 0.5 + 0.4 * ((number * 7) % 11) / 11
    return {
        "accuracy": accuracy,
        "latency_ms": 0.2 + accuracy**2 - 0.01 * (number % 3),
        "fps_per_watt": 900.0 - 10 * number,
    }


def completion(lease: wire.Lease, digest: str, **values: Any) -> wire.Complete:
    """The message that completes a trial with made-up scores, some of them given."""
    scores = {**made_up(lease.number), **values}
    return wire.Complete(
        fence=lease.fence,
        values=scores,
        fits_device=True,
        hazards=0,
        on_baseline_accelerator={"latency_ms": scores["latency_ms"], "fps_per_watt": scores["fps_per_watt"]},
        weights=digest,
        details={"accuracy_standard_error": 0.01},
    )
