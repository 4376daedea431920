"""Keep a lease alive from a thread that survives errors, report through it, and learn when to stop.

Training never waits for an answer: epochs and rungs are handed to the thread.
"""

from __future__ import annotations

import logging
import threading
from types import TracebackType

from service import wire
from service.client import Client
from service.errors import LeaseLost, NotFound, ServiceError

log = logging.getLogger(__name__)

LEAST_INTERVAL_S = 1.0


class Renewal:
    """Renews a lease three times in a lease time; brings new epochs at most once a second, and rungs at once.

    Args:
        client: Calls to the server.
        lease: What is held.
    """

    def __init__(self, client: Client, lease: wire.Lease) -> None:
        self._client, self._lease = client, lease
        self._epochs: list[wire.EpochPoint] = []
        self._rungs: list[wire.Rung] = []
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._news, self._hurry, self._end = threading.Event(), threading.Event(), threading.Event()
        self._stop = False
        self._lost = self._stopped = ""
        self._thread = threading.Thread(target=self._run, name=f"renewal-{lease.number}", daemon=True)

    def __enter__(self) -> Renewal:
        """Start renewing."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop renewing."""
        self._end.set()
        self._hurry.set()
        self._news.set()
        self._thread.join(timeout=1.0)

    @property
    def lost(self) -> str:
        """Why the lease is not held any more; empty while it is."""
        return self._lost

    @property
    def stopped(self) -> str:
        """Why the trial was stopped at a rung, which has ended it; empty while it goes on."""
        return self._stopped

    @property
    def interrupts(self) -> bool:
        """Whether training is to end now: the lease is lost, the trial is stopped, or the server wants it back."""
        return self._stop or bool(self._lost or self._stopped)

    def add(self, point: wire.EpochPoint) -> None:
        """A finished epoch, to be sent with the next renewal."""
        with self._lock:
            self._epochs.append(point)
        self._news.set()

    def rung(self, report: wire.Rung) -> None:
        """The objective vector at a rung, to be sent behind the epochs that led to it."""
        with self._lock:
            self._rungs.append(report)
        self._hurry.set()
        self._news.set()

    @property
    def unsent_epochs(self) -> tuple[wire.EpochPoint, ...]:
        """Epochs that the server has not taken yet."""
        with self._lock:
            return tuple(self._epochs)

    @property
    def unsent_rungs(self) -> tuple[wire.Rung, ...]:
        """Rungs that the server has not taken yet."""
        with self._lock:
            return tuple(self._rungs)

    def flush(self, patience_s: float | None = None) -> None:
        """Send what is waiting now.

        Raises:
            LeaseLost: The lease is not held any more.
            UsageError: A rung was refused.
            Unavailable: The server does not answer.
        """
        if self._epochs:
            self._renew(patience_s)
        self._report(patience_s)

    def _report(self, patience_s: float | None) -> None:
        with self._sending:
            while self._rungs and not self._stopped:
                decided = self._client.rung(self._lease.trial_id, self._rungs[0], patience_s=patience_s)
                with self._lock:
                    del self._rungs[0]
                if decided.decision == "stop":
                    self._stopped = decided.reason

    def _run(self) -> None:
        while not self._end.is_set():
            self._news.wait(self._lease.ttl_s / 3)
            self._news.clear()
            if self._end.is_set() or self._stopped:
                return
            try:
                self._renew(self._lease.ttl_s / 3)
                self._report(self._lease.ttl_s / 3)
            except (LeaseLost, NotFound) as error:
                self._lost = str(error)
                return
            except ServiceError as error:
                log.warning("renewal: %s", error, extra={"action": "renew", "trial": self._lease.number})
            self._hurry.wait(min(LEAST_INTERVAL_S, self._lease.ttl_s / 3))
            self._hurry.clear()

    def _renew(self, patience_s: float | None) -> None:
        with self._sending:  # one at a time, so that epochs arrive in order
            with self._lock:
                batch = list(self._epochs)
            message = wire.Renewal(fence=self._lease.fence, epochs=tuple(batch))
            self._stop = self._client.renew(self._lease.trial_id, message, patience_s=patience_s).stop or self._stop
            with self._lock:
                del self._epochs[: len(batch)]
