"""Simulated workers by the thousand in one process: they speak the protocol, and train by waiting.

Every worker asks for a trial, renews its lease each ten seconds with an epoch of its learning curve, completes the
trial after thirty, and asks again. What the server does not answer well is repeated with back-off, as a worker repeats
it. A worker's weights are put into the server's folder as they would lie there after their upload.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from service import versions
from storage.artifacts import Artifacts
from tests.support.filler import scores

TRIAL_S, RENEW_S = 30.0, 10.0
IDLE_S = 4.0
"""A connection that was quiet for longer is opened anew: servers close them after five seconds."""

ANSWER_S = 30.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 3.0
WINDOW_S = 10.0


@dataclass(frozen=True)
class Plan:
    """What a crowd does.

    Attributes:
        workers: Those that it starts with, spread over the time of one trial.
        hold_s: How long it stays so, after the last of them has come.
        growth: Workers that come each second thereafter.
        grow_s: How long it grows at most; 0 for a crowd that only holds.
        bound_s: It stops to grow once the 99th percentile of ten seconds' renewals is above this.
    """

    url: str
    token: str
    artifacts: Path
    study: str
    workers: int
    hold_s: float
    growth: int
    grow_s: float
    bound_s: float


@dataclass
class Call:
    """One call, from when it was due; `took_s` is None until it is answered."""

    kind: str
    due: float
    took_s: float | None = None


@dataclass(frozen=True)
class Limit:
    """A growing crowd at one moment: its workers, and calls and trials handed out per second of the last ten."""

    workers: int
    calls: float
    trials: float


@dataclass
class Told:
    """What a crowd has to tell.

    Attributes:
        calls: Those that were due while it held.
        lost: Calls refused because somebody else had the trial, while it held.
        repeated: Calls that had to be repeated, while it held.
        held_from: When the last worker had come, by `time.time`.
        held_until: When the crowd began to grow, or stopped.
        cpu_s: CPU seconds of the crowd itself while it held.
        limits: By kind of call, where its 99th percentile passed the bound first while the crowd grew.
        grown_to: Workers at the end.
    """

    calls: list[Call] = field(default_factory=list)
    lost: int = 0
    repeated: int = 0
    held_from: float = 0.0
    held_until: float = 0.0
    cpu_s: float = 0.0
    limits: dict[str, Limit] = field(default_factory=dict)
    grown_to: int = 0


def crowd(plan: Plan) -> Told:
    """Let a crowd work; blocks until it is done."""
    return asyncio.run(_Crowd(plan).run())


class _Crowd:
    def __init__(self, plan: Plan) -> None:
        self._plan, self._rng = plan, np.random.default_rng(1)
        self._artifacts = Artifacts(plan.artifacts)
        self._calls: list[Call] = []
        self._lost = self._repeated = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> Told:
        plan = self._plan
        for number in range(plan.workers):
            self._start(TRIAL_S * number / plan.workers)
        await asyncio.sleep(TRIAL_S)
        told = Told(held_from=time.time())
        begin, lost, repeated, cpu_s = time.monotonic(), self._lost, self._repeated, time.process_time()
        await asyncio.sleep(plan.hold_s)
        end, told.held_until = time.monotonic(), time.time()
        told.cpu_s, told.lost, told.repeated = time.process_time() - cpu_s, self._lost - lost, self._repeated - repeated
        if plan.grow_s:
            told.limits = await self._grow()
        told.calls = [call for call in self._calls if begin <= call.due < end]
        told.grown_to = len(self._tasks)
        for call in told.calls:  # one that was never answered took at least so long
            call.took_s = time.monotonic() - call.due if call.took_s is None else call.took_s
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return told

    async def _grow(self) -> dict[str, Limit]:
        """Until renewals, on which leases live, are too late; new trials may be late before."""
        begin, limits = time.monotonic(), dict[str, Limit]()
        while (now := time.monotonic()) < begin + self._plan.grow_s and "renew" not in limits:
            for number in range(self._plan.growth):
                self._start(number / self._plan.growth)
            await asyncio.sleep(1.0)
            recent = [call for call in self._calls if now - WINDOW_S < call.due <= now]
            for kind in ("lease", "renew"):
                if kind not in limits and _p99_s(recent, kind) > self._plan.bound_s:
                    trials = sum(call.kind == "lease" and _answered(call, now - WINDOW_S, now) for call in self._calls)
                    limits[kind] = Limit(len(self._tasks), len(recent) / WINDOW_S, trials / WINDOW_S)
        return limits

    def _start(self, after_s: float) -> None:
        self._tasks.append(asyncio.create_task(self._work(len(self._tasks), after_s)))

    async def _work(self, number: int, after_s: float) -> None:
        await asyncio.sleep(after_s)
        async with _line(self._plan) as line:
            while True:
                with contextlib.suppress(_Lost):
                    await self._trial(line, f"crowd-{number}")

    async def _trial(self, line: _Line, name: str) -> None:
        question = {"worker": name, "versions": versions.installed(), "study": self._plan.study}
        work = json.loads(await self._call(line, "lease", "/v1/leases", question, time.monotonic()))["work"]
        assert work["task"] == "train", work
        leased, path = time.monotonic(), f"/v1/leases/{work['trial_id']}"
        for epoch in range(1, int(TRIAL_S / RENEW_S)):
            due = leased + epoch * RENEW_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self._call(line, "renew", f"{path}/renew", {"fence": work["fence"], "epochs": [_point(epoch)]}, due)
        due = leased + TRIAL_S
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        await self._call(line, "complete", f"{path}/complete", self._completion(work), due)

    def _completion(self, work: dict[str, Any]) -> dict[str, Any]:
        data = f"weights of trial {work['number']}".encode()
        digest = hashlib.sha256(data).hexdigest()
        file = self._artifacts.path(work["trial_id"], work["fence"], digest)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        accuracy, latency, fps_per_watt = scores(self._rng, 1)[0].tolist()
        hardware = {"latency_ms": latency, "fps_per_watt": fps_per_watt}
        return {
            "fence": work["fence"], "values": {"accuracy": accuracy, **hardware}, "fits_device": True, "hazards": 0,
            "on_baseline_accelerator": hardware, "weights": digest, "details": {"accuracy_standard_error": 0.01},
            "epochs": [_point(int(TRIAL_S / RENEW_S))],
        }  # fmt: skip

    async def _call(self, line: _Line, kind: str, path: str, message: dict[str, Any], due: float) -> bytes:
        """Call until there is an answer."""
        call, wait_s = Call(kind, due), FIRST_WAIT_S
        self._calls.append(call)
        while True:
            status, answer = await line.post(path, json.dumps(message).encode())
            if status < 300:
                call.took_s = time.monotonic() - due
                return answer
            if status == 409:
                self._lost += 1
                call.took_s = time.monotonic() - due
                raise _Lost
            assert status >= 500, answer
            self._repeated += 1
            await asyncio.sleep(wait_s * self._rng.uniform(0.5, 1.5))
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)


def _p99_s(calls: list[Call], kind: str) -> float:
    """Seconds until the answer; a call that has none yet takes at least as long as it waits."""
    now = time.monotonic()
    took = [now - call.due if call.took_s is None else call.took_s for call in calls if call.kind == kind]
    return float(np.quantile(took, 0.99)) if took else 0.0


def _answered(call: Call, begin: float, end: float) -> bool:
    return call.took_s is not None and begin < call.due + call.took_s <= end


class _Lost(Exception):
    """Somebody else has the trial."""


class _Line:
    """A worker's connection: HTTP/1.1, one call at a time."""

    def __init__(self, plan: Plan) -> None:
        self._place = urlsplit(plan.url)
        self._head = (
            f"Host: {self._place.netloc}\r\nAuthorization: Bearer {plan.token}\r\nContent-Type: application/json"
        )
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._used = 0.0

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer; 599 when there is none."""
        try:
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await self._open()
                writer.write(
                    f"POST {path} HTTP/1.1\r\n{self._head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
                )
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = head.partition("content-length: ")[2].partition("\r\n")[0]
                answer = await reader.readexactly(int(length or 0))
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            self.close()
            return 599, b"no answer"
        self._used = time.monotonic()
        return int(head.split()[1]), answer

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None or time.monotonic() > self._used + IDLE_S:
            self.close()
            self._streams = await asyncio.open_connection(self._place.hostname, self._place.port)
        return self._streams

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


@contextlib.asynccontextmanager
async def _line(plan: Plan) -> AsyncIterator[_Line]:
    line = _Line(plan)
    try:
        yield line
    finally:
        line.close()


def _point(epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "loss": 1.0 / epoch, "accuracy": 0.5, "seconds": RENEW_S}
