"""Which server hands a study out: one session advisory lock a study, on a connection of its own.

A server that dies loses its connection, and with it the lock, at once. One that hangs, or that the network has cut
off, falls silent: Postgres ends a session that says nothing for half a lease time, so that another server can take
over within one. What a server that wakes up late still believes is harmless: the study's row counts its takings
(`server_fence`), and whoever hands a trial out reads that number under the row's lock.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

log = logging.getLogger(__name__)

LOCK_CLASS = 0x53504B  # "SPK"; the second half of the key is the study
_TRY = text("SELECT pg_try_advisory_lock(:lock_class, :study_id)")
_UNLOCK = text("SELECT pg_advisory_unlock(:lock_class, :study_id)")
_BEAT = text("SELECT 1")
_SILENCE = text("SELECT set_config('idle_session_timeout', :silence, false)")


class Ownership:
    """The studies that this server hands out.

    Args:
        engine: Of the database.
        lease_s: Lease time in seconds: a study that nobody asks for in it is given up, for other servers to take.
    """

    def __init__(self, engine: Engine, *, lease_s: float) -> None:
        self._engine, self._lease_s = engine, lease_s
        self._asked: dict[int, float] = {}  # by study: when it was asked for last, on the monotonic clock
        self._session: Connection | None = None
        self._speaking = threading.Lock()

    def has(self, study_id: int) -> bool:
        """Whether a study is ours as far as we know; one that is nobody's is taken.

        Raises:
            SQLAlchemyError: The database does not answer.
        """
        if study_id not in self._asked:
            return self.confirm(study_id)
        self._asked[study_id] = time.monotonic()
        return True

    def confirm(self, study_id: int) -> bool:
        """Whether a study is ours by the database's word; one that is nobody's is taken.

        Raises:
            SQLAlchemyError: The database does not answer.
        """
        with self._speaking:
            session = self._living_session()
            if study_id not in self._asked and not session.scalar(_TRY, _key(study_id)):
                return False
            self._asked[study_id] = time.monotonic()
            return True

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """While the block lasts the locks are kept; at its end they are free."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(self._lease_s / 8):
                try:
                    self._beat()
                except SQLAlchemyError as error:
                    log.warning("the locks of the studies are lost: %s", error, extra={"action": "own"})

        thread = threading.Thread(target=beat, name="ownership", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.close()

    def close(self) -> None:
        """Give every study up."""
        with self._speaking:
            self._drop_session()

    def _beat(self) -> None:
        with self._speaking:
            if self._session is None:
                return
            session = self._living_session()
            unasked = [study for study, at in self._asked.items() if time.monotonic() - at > self._lease_s]
            for study_id in unasked:
                session.execute(_UNLOCK, _key(study_id))
                del self._asked[study_id]

    def _living_session(self) -> Connection:
        """The connection that holds the locks; a new one, without any, when it has died."""
        if self._session is not None:
            try:
                self._session.execute(_BEAT)
                return self._session
            except SQLAlchemyError:
                self._drop_session()
        session = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        session.detach()  # the pool would hand the locks to somebody else
        self._session = session
        session.execute(_SILENCE, {"silence": f"{max(1, int(500 * self._lease_s))}ms"})
        return session

    def _drop_session(self) -> None:
        self._asked.clear()
        if self._session is not None:
            with contextlib.suppress(SQLAlchemyError):
                self._session.close()
            self._session = None


def _key(study_id: int) -> dict[str, int]:
    return {"lock_class": LOCK_CLASS, "study_id": study_id}
