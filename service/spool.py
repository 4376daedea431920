"""Results that are safe on the worker's disk before the server has them, and delivered later if it is away."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from pathlib import Path

from pydantic import ValidationError

from service import wire
from service.client import Client
from service.errors import LeaseLost, NotFound, TooLarge, UsageError

log = logging.getLogger(__name__)

REFUSALS = (LeaseLost, NotFound, UsageError, TooLarge)
"""Answers that will be the same for ever."""

WEIGHTS, FRONT, PART = ".safetensors", ".front", ".part"
"""Endings of the files beside a spooled result; a part is being written."""


class Spool:
    """A folder of computed results, delivered in the order in which they were computed.

    Args:
        folder: One worker's own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def complete(
        self, client: Client, lease: wire.Lease, message: wire.Complete, weights: bytes, front: bytes | None = None
    ) -> None:
        """Put a result on disk, then deliver it; where the disk does not take it, deliver it all the same.

        Args:
            client: The server.
            lease: The trial's.
            message: The result.
            weights: The trained network.
            front: The hardware front, where trials search accelerators.

        Raises:
            LeaseLost: Somebody else has the trial; the result is dropped.
            Unavailable: The server is away; the result stays on disk for `deliver`.
        """
        path = None
        try:
            path = self._keep(lease, message, weights, front)
        except OSError as error:
            extra = {"action": "spool", "trial": lease.number}
            log.error("%s: the result is not safe here until it is delivered: %s", self._folder, error, extra=extra)
        self._send(client, path, lease, message, weights, front)

    def deliver(self, client: Client) -> None:
        """Deliver what lies here; a result that nobody wants any more is dropped.

        Raises:
            Unavailable: The server is away.
        """
        for path in self._waiting():
            try:
                self._deliver(client, path)
            except (ValidationError, KeyError, OSError, json.JSONDecodeError) as error:
                with contextlib.suppress(FileNotFoundError):  # another worker of this name was faster
                    path.rename(path.with_suffix(".unreadable"))
                    log.error("spooled result put aside as %s: %s", path.with_suffix(".unreadable"), error)
            except REFUSALS as error:
                log.warning("spooled result dropped: %s", error, extra={"action": "deliver"})

    def _waiting(self) -> list[Path]:
        return sorted(self._folder.glob("*.json"))

    def _keep(self, lease: wire.Lease, message: wire.Complete, weights: bytes, front: bytes | None) -> Path:
        """Put a result on disk: the document last, it makes the others count. Nothing is left of one that fails."""
        path = self._folder / f"{time.time_ns():020d}-{lease.trial_id}-{lease.fence}.json"
        document = {"lease": json.loads(lease.model_dump_json(by_alias=True)), "result": message.model_dump()}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            _write_durably(path.with_suffix(WEIGHTS), weights)
            if front is not None:
                _write_durably(path.with_suffix(FRONT), front)
            _write_durably(path, json.dumps(document).encode())
        except OSError:
            with contextlib.suppress(OSError):  # the folder itself may be what is wrong
                self._remove(path)
            raise
        return path

    def _deliver(self, client: Client, path: Path) -> None:
        document = json.loads(path.read_bytes())
        lease = wire.Lease.model_validate_json(json.dumps(document["lease"]))
        result = wire.Complete.model_validate(document["result"])
        front = path.with_suffix(FRONT).read_bytes() if result.hardware_front is not None else None
        self._send(client, path, lease, result, path.with_suffix(WEIGHTS).read_bytes(), front)

    def _send(
        self,
        client: Client,
        path: Path | None,
        lease: wire.Lease,
        result: wire.Complete,
        weights: bytes,
        front: bytes | None,
    ) -> None:
        """Deliver a result, and remove the files at `path` once it is stored or refused."""
        try:
            with contextlib.suppress(LeaseLost):  # finished already, perhaps by this very result: `complete` tells
                client.weights(lease, weights)
                if front is not None:
                    client.hardware_front(lease, front)
            client.send(lease.trial_id, "complete", result)
        except REFUSALS:
            self._remove(path)
            raise
        self._remove(path)

    def _remove(self, path: Path | None) -> None:
        if path is None:
            return
        path.unlink(missing_ok=True)
        for suffix in (WEIGHTS, FRONT, PART):
            path.with_suffix(suffix).unlink(missing_ok=True)


def _write_durably(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(PART)
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
