"""`/v1/studies`: start, look at, stop and resume studies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from objectives.studyfile import parse_study
from service import wire
from service.studies import Studies

Name = Annotated[str, Path(pattern=wire.STUDY_NAME)]
STREAM_INTERVAL_S = 1.0
KEEP_ALIVE_S = 15.0


def router(studies: Studies) -> APIRouter:
    """Routes for people and their programs."""
    routes = APIRouter(prefix="/v1/studies", tags=["studies"])

    @routes.post("", summary="Start a study, or go on with it when it is the same")
    def start(message: wire.NewStudy) -> dict[str, Any]:
        study = parse_study(message.yaml, message.source)
        return {"study": study.study, "created": studies.start(study)}

    @routes.get("", summary="All studies at a glance")
    def overview() -> list[dict[str, Any]]:
        return [studies.status(name).document() for name in studies.names()]

    @routes.get("/{name}", summary="One study at a glance")
    def status(name: Name) -> dict[str, Any]:
        return studies.status(name).document()

    @routes.get("/{name}/front", summary="The Pareto front")
    def front(name: Name) -> dict[str, Any]:
        return studies.front(name).document()

    @routes.get("/{name}/trials", summary="Every trial")
    def trials(name: Name) -> list[dict[str, Any]]:
        return studies.trials(name)

    @routes.get("/{name}/trials/{number}", summary="One trial with curve, rungs and hardware report")
    def trial(name: Name, number: Annotated[int, Path(ge=0)]) -> dict[str, Any]:
        return studies.trial(name, number)

    @routes.get("/{name}/events", summary="What happened, oldest first")
    def events(
        name: Name,
        after: Annotated[int, Query(ge=0, le=2**62)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    ) -> list[dict[str, Any]]:
        return [asdict(event) for event in studies.events(name, after, limit)]

    @routes.post("/{name}/stop", summary="Stop; running trials are saved and handed back")
    def stop(name: Name) -> dict[str, Any]:
        studies.stop(name)
        return {"study": name, "state": "stopped"}

    @routes.post("/{name}/resume", summary="Go on, with changed budget, sampler or stopping if wanted")
    def resume(name: Name, message: wire.Change | None = None) -> dict[str, Any]:
        studies.resume(name, message.set if message else None)
        return {"study": name, "state": studies.row(name).state}

    @routes.get(
        "/{name}/stream",
        summary="Server-sent events: status, front and new events on every change",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}}},
    )
    async def stream(request: Request, name: Name) -> StreamingResponse:
        await run_in_threadpool(studies.row, name)
        last = request.headers.get("last-event-id", "0")
        after = int(last) if last.isascii() and last.isdigit() and len(last) < 19 else 0
        return StreamingResponse(
            _changes(request, studies, name, after),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    return routes


async def _changes(request: Request, studies: Studies, name: str, after: int) -> AsyncIterator[str]:
    sent, quiet_s = "", 0.0
    while not await request.is_disconnected():
        status, front, new = await run_in_threadpool(_snapshot, studies, name, after)
        progress = {**status, "running": [{**lease, "seconds": 0} for lease in status["running"]], "eta_s": None}
        if (seen := json.dumps([progress, front], sort_keys=True)) != sent:
            sent, quiet_s, after = seen, 0.0, status["last_event"]
            data = json.dumps({"status": status, "front": front, "events": new})
            yield f"id: {after}\nevent: status\ndata: {data}\n\n"
        elif quiet_s >= KEEP_ALIVE_S:
            quiet_s = 0.0
            yield ": still here\n\n"
        await asyncio.sleep(STREAM_INTERVAL_S)
        quiet_s += STREAM_INTERVAL_S


def _snapshot(studies: Studies, name: str, after: int) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    status = studies.status(name)
    new = [{**asdict(event), "at": event.at.isoformat()} for event in studies.events(name, after, 50)]
    return status.document(), status.front.document(), new
