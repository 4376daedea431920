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

WEIGHTS, FRONT = ".safetensors", ".front"
"""Endings of the files beside a spooled result."""


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
        """Put a result on disk, then deliver it.

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
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{time.time_ns():020d}-{lease.trial_id}-{lease.fence}"
        _write_durably(self._folder / f"{name}{WEIGHTS}", weights)
        if front is not None:
            _write_durably(self._folder / f"{name}{FRONT}", front)
        document = {"lease": json.loads(lease.model_dump_json(by_alias=True)), "result": message.model_dump()}
        _write_durably(self._folder / f"{name}.json", json.dumps(document).encode())
        self._deliver(client, self._folder / f"{name}.json")

    def deliver(self, client: Client) -> None:
        """Deliver what lies here; a result that nobody wants any more is dropped.

        Raises:
            Unavailable: The server is away.
        """
        for path in self._waiting():
            try:
                self._deliver(client, path)
            except (ValidationError, KeyError, OSError, json.JSONDecodeError) as error:
                path.rename(path.with_suffix(".unreadable"))
                log.error("spooled result put aside as %s: %s", path.with_suffix(".unreadable"), error)
            except REFUSALS as error:
                log.warning("spooled result dropped: %s", error, extra={"action": "deliver"})

    def _waiting(self) -> list[Path]:
        return sorted(self._folder.glob("*.json"))

    def _deliver(self, client: Client, path: Path) -> None:
        document = json.loads(path.read_bytes())
        lease = wire.Lease.model_validate_json(json.dumps(document["lease"]))
        result = wire.Complete.model_validate(document["result"])
        try:
            with contextlib.suppress(LeaseLost):  # finished already, perhaps by this very result: `complete` tells
                client.weights(lease, path.with_suffix(WEIGHTS).read_bytes())
                if result.hardware_front is not None:
                    client.hardware_front(lease, path.with_suffix(FRONT).read_bytes())
            client.send(lease.trial_id, "complete", result)
        except REFUSALS:
            self._remove(path)
            raise
        self._remove(path)

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        for suffix in (WEIGHTS, FRONT):
            path.with_suffix(suffix).unlink(missing_ok=True)


def _write_durably(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".part")
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
