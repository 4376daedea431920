"""A study server without sockets on a database of a test, and a worker that trains nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service import versions, wire
from service.handout import Handout
from service.record import Record, open_record
from service.reports import Reports
from service.studies import Studies
from storage.artifacts import Artifacts


@dataclass
class Desk:
    """Handout, reports and studies on one database."""

    url: str
    record: Record
    folder: Path
    handout: Handout
    reports: Reports
    studies: Studies

    def ask(self, study: str | None = "tiny", worker: str = "fake", **installed: str) -> wire.Lease | wire.Idle:
        """What the server offers."""
        mine = {**versions.installed(), **installed}
        return self.handout.lease(wire.LeaseRequest(worker=worker, versions=mine, study=study))

    def lease(self, study: str | None = "tiny", worker: str = "fake") -> wire.Lease:
        """A trial (or a test) that the server offers."""
        offer = self.ask(study, worker)
        assert isinstance(offer, wire.Lease), offer
        return offer

    def complete(self, lease: wire.Lease, **values: float) -> wire.Complete:
        """Send made-up weights and scores; returns the message, to be repeated."""
        data = weights_of(lease)
        digest = hashlib.sha256(data).hexdigest()
        self.reports.weights(lease.trial_id, lease.fence, digest, data)
        message = completion(lease, digest, **values)
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

    def files(self, trial_id: int) -> list[str]:
        """Names of the artifacts of a trial."""
        return sorted(path.name for path in (self.folder / str(trial_id)).glob("*"))


@contextmanager
def opened(url: str, folder: Path, *, lease_s: float = 30.0) -> Iterator[Desk]:
    """A desk on the database at `url` with its artifacts in `folder`."""
    with open_record(url, folder / "var") as record:
        handout = Handout(record, lease_s=lease_s, checkpoint_s=0.0)
        reports = Reports(record, Artifacts(folder), lease_s=lease_s)
        yield Desk(url, record, folder, handout, reports, Studies(record))


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
