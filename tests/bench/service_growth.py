"""What a trial leaves behind: bytes on the wire, in the database by table and index, and files beside it.

A real worker trains a few trials of ten epochs on scikit-learn's digits, and its calls are counted. What it reported is
then reported again for hundreds of trials in a study of thousands, where the space of pages and indices evens out.
"""

from __future__ import annotations

import hashlib
import json
import re
import statistics
from collections import defaultdict
from typing import Any

import httpx
from sqlalchemy import Engine, text

from service import versions, wire
from service.client import Client
from service.worker import Place, Worker
from storage.artifacts import Artifacts
from tests.bench.bars import Bar
from tests.bench.service_load import SPACE
from tests.bench.service_place import Site, opened_site
from tests.support.studies import study_text

EPOCHS = 10
TRAINED = 6
FILLED = 5_000
REPORTED = 500
RENEWALS = 3
"""Of each trial that is reported again; its epochs are spread over them."""

PAYLOAD_KB, GROWTH_KB, FILES, GAIN = 16.0, 12.0, 1.0, 1.25

_SPACE = {name: domain for name, domain in SPACE.items() if name != "train.epochs"}
_SIZES = text("""
SELECT n.nspname || '.' || c.relname, pg_table_size(c.oid), pg_indexes_size(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname IN ('public', 'spikefront')
""")


def growth_bars() -> list[Bar]:
    """What a trial costs in bytes, each as a bar: both ways on the wire, in the database, in files."""
    with opened_site(LEASE_S="3", CHECKPOINT_S="1") as site:
        site.serve().close()
        counted = _trained(site)
        _print_wire(counted)
        files, kept = _files(site)
        print(f"artifacts of a finished trial: {files:g} files, {kept / 1024:.1f} KiB")
        first = _grown(site, "short", 0, counted.completions)
        later = _grown(site, "long", FILLED, counted.completions)
        _print_tables(first, later)
    small, large = (sum(sum(sizes) for sizes in grown.values()) for grown in (first, later))
    return [
        Bar("service/payload", round(counted.trial_bytes() / 1024, 2), PAYLOAD_KB, "KiB", at_least=False),
        Bar("service/growth", round(large / 1024, 2), GROWTH_KB, "KiB", at_least=False),
        Bar("service/growth-5k", round(large / small, 3), GAIN, "x", at_least=False),
        Bar("service/files", files, FILES, "files", at_least=False),
    ]


# --- on the wire ------------------------------------------------------------------------------------------------


class Counted(httpx.HTTPTransport):
    """Counts the bytes of a worker's calls, heads and bodies.

    Attributes:
        calls: By kind, bytes sent and received of each.
        completions: The messages that completed trials.
        spec_bytes: Of the settings of the study, which come with each lease.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self.completions: list[dict[str, Any]] = []
        self.spec_bytes = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        sent, got = request.read(), response.read()
        kind = re.sub(r"/v1/leases(/[0-9]+/)?", "", request.url.path).partition("/")[0] or "lease"
        asked = len(f"{request.method}  HTTP/1.1\r\n") + len(request.url.raw_path) + _head(request.headers) + len(sent)
        told = len("HTTP/1.1 200 OK\r\n") + _head(response.headers) + len(got)
        if kind == "complete":
            self.completions.append(json.loads(sent))
        if kind == "lease" and "spec" in (work := json.loads(got)["work"]):
            self.spec_bytes = len(json.dumps(work["spec"], separators=(",", ":")))
        elif kind == "lease":
            kind = "nothing to do"
        self.calls[kind].append((asked, told))
        return response

    def bytes_of(self, kind: str) -> tuple[float, float]:
        """Sent and answered with a call of this kind, on average."""
        asked, told = zip(*self.calls[kind], strict=True)
        return statistics.mean(asked), statistics.mean(told)

    def trial_bytes(self) -> float:
        """Both ways, of a trial with `RENEWALS`; without checkpoints and weights, which a network sizes."""
        counts = {"lease": 1, "renew": RENEWALS, "rungs": len(self.calls["rungs"]) / TRAINED, "complete": 1}
        return sum(count * sum(self.bytes_of(kind)) for kind, count in counts.items())


def _head(headers: httpx.Headers) -> int:
    return sum(len(name) + len(value) + len(": \r\n") for name, value in headers.raw) + len("\r\n")


def _trained(site: Site) -> Counted:
    """What a worker said to train a short study and to test its front."""
    text = study_text("real", train={"epochs": EPOCHS, "batch": 32}, search=_SPACE, baseline={},
                      sampler={"name": "random", "seed": 1}, budget={"trials": TRAINED})  # fmt: skip
    counted = Counted()
    site.add(text, 0)
    client = Client(site.place.url(), site.place.token(), transport=counted)
    place = Place("counted", site.place.var / "data", site.place.var / "spool")
    reason = Worker(client, place, study="real").run()
    client.close()
    assert len(counted.completions) == TRAINED, reason
    return counted


def _print_wire(counted: Counted) -> None:
    print(f"on the wire, {TRAINED} real trials of {EPOCHS} epochs, bytes with heads\n"
          f"  {'call':14} {'per trial':>9} {'sent':>8} {'answered':>9}")  # fmt: skip
    for kind, calls in counted.calls.items():
        asked, told = counted.bytes_of(kind)
        print(f"  {kind:14} {len(calls) / TRAINED:9.1f} {asked:8.0f} {told:9.0f}")
    print(f"  the study's settings are {counted.spec_bytes} bytes of each lease")


# --- in files and in the database -------------------------------------------------------------------------------


def _files(site: Site) -> tuple[float, float]:
    """Files and bytes of a trial, once all have ended."""
    found = [path for path in (site.place.var / "artifacts").rglob("*") if path.is_file()]
    return len(found) / TRAINED, sum(path.stat().st_size for path in found) / TRAINED


Grown = dict[str, tuple[float, float]]
"""Bytes a trial that a table and its indices grew by."""


def _grown(site: Site, name: str, filled: int, completions: list[dict[str, Any]]) -> Grown:
    """How a database grows by trials of a study that has so many already."""
    site.add(study_text(name, search=_SPACE, baseline={}, train={"epochs": EPOCHS, "batch": 32},
                        sampler={"name": "random", "seed": 1}, budget={"trials": 1_000_000}), filled)  # fmt: skip
    with site.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM FULL"))  # or the trials would fill the space that COPY reserved
    before = _sizes(site.engine)
    client, artifacts = Client(site.place.url(), site.place.token()), Artifacts(site.place.var / "artifacts")
    request = wire.LeaseRequest(worker="counted", versions=versions.installed(), study=name)
    for number in range(REPORTED):
        _report(client, artifacts, request, completions[number % len(completions)])
    client.close()
    after = _sizes(site.engine)
    return {
        table: ((after[table][0] - heap) / REPORTED, (after[table][1] - indices) / REPORTED)
        for table, (heap, indices) in before.items()
    }


def _report(client: Client, artifacts: Artifacts, request: wire.LeaseRequest, completion: dict[str, Any]) -> None:
    """Lease a trial and say of it what a worker said of another."""
    lease = client.lease(request)
    assert isinstance(lease, wire.Lease), lease
    data = f"weights of trial {lease.number}".encode()
    digest = hashlib.sha256(data).hexdigest()
    path = artifacts.path(lease.trial_id, lease.fence, digest)
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    points = [wire.EpochPoint(epoch=epoch, loss=1 / epoch, accuracy=0.5, seconds=1.0) for epoch in range(1, EPOCHS + 1)]
    for turn in range(RENEWALS):
        epochs = points[turn * EPOCHS // RENEWALS : (turn + 1) * EPOCHS // RENEWALS]
        client.renew(lease.trial_id, wire.Renewal(fence=lease.fence, epochs=tuple(epochs)))
    message = {**completion, "fence": lease.fence, "weights": digest, "epochs": []}
    client.send(lease.trial_id, "complete", wire.Complete.model_validate_json(json.dumps(message)))


def _sizes(engine: Engine) -> dict[str, tuple[int, int]]:
    """Bytes of every table, with what is stored beside it, and of its indices."""
    with engine.connect() as connection:
        return {table: (heap, indices) for table, heap, indices in connection.execute(_SIZES)}


def _print_tables(first: Grown, later: Grown) -> None:
    print(f"in the database, bytes a trial of {EPOCHS} epochs and {RENEWALS} renewals, over {REPORTED} trials\n"
          f"  {'':40} {'from 0 trials':>20} {f'from {FILLED:,}':>20}\n"
          f"  {'table':40} {'rows':>10} {'indices':>9} {'rows':>10} {'indices':>9}")  # fmt: skip
    for table in sorted(later, key=lambda table: -sum(later[table])):
        if sum(first[table]) + sum(later[table]):
            print(f"  {table:40} {first[table][0]:10.0f} {first[table][1]:9.0f} {later[table][0]:10.0f} "
                  f"{later[table][1]:9.0f}")  # fmt: skip
    columns = [sum(sizes[part] for sizes in grown.values()) for grown in (first, later) for part in (0, 1)]
    print(f"  {'all':40} {columns[0]:10.0f} {columns[1]:9.0f} {columns[2]:10.0f} {columns[3]:9.0f}")
