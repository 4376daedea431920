"""A TCP proxy on the loopback address that makes trouble when told to: between worker and server, server and Postgres.

    with Proxy(("127.0.0.1", 5432)) as proxy:
        connect_to(proxy.port)
        proxy.stall()
        proxy.heal()

It runs in a thread of its own; every method may be called from any thread and has taken effect when it returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

CHUNK_BYTES = 65_536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # linger 0 s. Source: socket(7), SO_LINGER
_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """Forwards connections to `target`, faithfully until one of the faults is switched on.

    Attributes:
        target: Host and port of the other side; may be changed, new connections go there.
        port: Where to connect to; it stays the same for the proxy's life.
        dropped: How many requests and replies were lost on purpose.
        harm: How often a fault met something: links cut, pieces held back, requests and replies lost.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.dropped = self.harm = 0
        self._delay_s = 0.0
        self._lost_requests = self._lost_replies = 0
        self._mark = b""
        self._writers = set[asyncio.StreamWriter]()
        self._tasks = set[asyncio.Task[None]]()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        # Two sockets on one port: this one is never listened on and keeps the port while connections are refused.
        self._keeper = _bound(0)
        self.port: int = self._keeper.getsockname()[1]

    def __enter__(self) -> Self:
        """Start to forward."""
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close everything."""
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._keeper.close()

    # --- faults ------------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """Forward faithfully again; what a stall held back goes on its way."""
        self._do(self._heal())

    def cut(self) -> None:
        """Reset every open connection (TCP RST); new ones are taken."""
        self._do(self._cut())

    def refuse(self) -> None:
        """Reset every open connection and refuse new ones."""
        self._do(self._refuse())

    def stall(self) -> None:
        """Take connections and bytes, and forward nothing: a link that has gone dark."""
        self._do(self._set(self._flowing.clear))

    def delay(self, seconds: float) -> None:
        """Hold back every piece of data by `seconds`, in both directions."""
        self._do(self._set(lambda: setattr(self, "_delay_s", seconds)))

    def drop_request(self, mark: bytes = b"", times: int = 1) -> None:
        """Lose the next `times` requests that contain `mark`, each with its connection: the other side sees nothing."""
        self._do(self._set(lambda: self._lose(mark, requests=times)))

    def drop_reply(self, mark: bytes = b"", times: int = 1) -> None:
        """Forward the next `times` requests that contain `mark`, then lose the answer with its connection."""
        self._do(self._set(lambda: self._lose(mark, replies=times)))

    # --- inside the thread -------------------------------------------------------------------------------------

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10.0)

    async def _set(self, change: Callable[[], None]) -> None:
        change()

    def _lose(self, mark: bytes, requests: int = 0, replies: int = 0) -> None:
        self._mark, self._lost_requests, self._lost_replies = mark, requests, replies

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, sock=_bound(self.port))

    async def _heal(self) -> None:
        self._lose(b"")
        self._delay_s = 0.0
        self._flowing.set()
        await self._listen()

    async def _cut(self) -> None:
        for writer in list(self._writers):
            self.harm += 1
            _reset(writer)
        await asyncio.sleep(0)

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._cut()

    async def _close(self) -> None:
        await self._refuse()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            await self._flowing.wait()
            try:
                away = await asyncio.open_connection(*self.target)
            except OSError:
                return
            await self._joined((reader, writer), away)
        except asyncio.CancelledError:
            pass  # the proxy is closing
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            _reset(writer)

    async def _joined(self, near: _Streams, away: _Streams) -> None:
        self._writers.add(away[1])
        lost = asyncio.Event()  # set once this connection's next answer is to be lost
        pumps = [
            asyncio.ensure_future(self._requests(near[0], away[1], lost)),
            asyncio.ensure_future(self._replies(away[0], near[1], lost)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._writers.discard(away[1])
            _reset(away[1])

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event) -> None:
        while data := await self._piece(reader):
            if self._mark in data and self._lost_requests:
                self._lost_requests -= 1
                self.dropped += 1
                self.harm += 1
                return
            if self._mark in data and self._lost_replies:
                self._lost_replies -= 1
                lost.set()
            await _send(writer, data)

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event) -> None:
        while data := await self._piece(reader):
            if lost.is_set():
                self.dropped += 1
                self.harm += 1
                return
            await _send(writer, data)
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def _piece(self, reader: asyncio.StreamReader) -> bytes:
        """The next bytes to be forwarded; none at the end of the connection."""
        try:
            data = await reader.read(CHUNK_BYTES)
        except OSError:
            return b""
        self.harm += bool(data) and (self._delay_s > 0 or not self._flowing.is_set())
        await asyncio.sleep(self._delay_s)
        await self._flowing.wait()
        return data


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    with contextlib.suppress(OSError):  # the reading pump of that side sees the end
        writer.write(data)
        await writer.drain()


def _bound(port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    return made


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, whatever waits to be sent."""
    peer: socket.socket | None = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        if peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
