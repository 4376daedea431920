"""`/v1/leases`: what workers call."""

from __future__ import annotations

from typing import Annotated

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Header, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from service import wire
from service.errors import TooLarge, UsageError
from service.handout import Handout
from service.judging import Judging
from service.reports import Reports

TrialId = Annotated[int, Path(ge=0, le=2**31 - 1)]
Digest = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
FenceHeader = Annotated[int, Header(alias="X-Fence", ge=1)]
BYTES = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
SENT = {"requestBody": {"required": True, **BYTES}}

ASKING = 4
"""Requests for work in the making. Trials are handed out one by one: those who wait are to leave the threads of the
server to renewals, on which the leases of all others live."""


def router(handout: Handout, reports: Reports, judging: Judging) -> APIRouter:
    """Routes of the protocol between server and worker."""
    routes = APIRouter(prefix="/v1/leases", tags=["leases"])
    asking = CapacityLimiter(ASKING)

    @routes.post("", summary="Ask for something to do", responses={200: {"model": wire.Offer}})
    async def lease(message: wire.LeaseRequest) -> Response:
        def offered() -> str:
            return wire.Offer(work=handout.lease(message)).model_dump_json(by_alias=True)

        return Response(await to_thread.run_sync(offered, limiter=asking), media_type="application/json")

    @routes.post("/{trial_id}/renew", summary="Prolong a lease, bring the epochs since the last renewal")
    def renew(trial_id: TrialId, message: wire.Renewal) -> wire.Renewed:
        return reports.renew(trial_id, message)

    @routes.post("/{trial_id}/rungs", summary="Report the objective vector at a rung")
    def rung(trial_id: TrialId, message: wire.Rung) -> wire.Decision:
        return judging.rung(trial_id, message)

    @routes.post("/{trial_id}/gate", summary="Ask, before training, whether the trial is worth it")
    def gate(trial_id: TrialId, message: wire.Bound) -> wire.Decision:
        return judging.gate(trial_id, message)

    @routes.put("/{trial_id}/checkpoints/{digest}", status_code=204, summary="Store a checkpoint", openapi_extra=SENT)
    async def checkpoint(
        request: Request,
        trial_id: TrialId,
        digest: Digest,
        fence: FenceHeader,
        epoch: Annotated[int, Query(ge=0, le=10_000)],
    ) -> None:
        data = await _bounded(request)
        await run_in_threadpool(reports.checkpoint, trial_id, fence, epoch, digest, data)

    @routes.put(
        "/{trial_id}/weights/{digest}", status_code=204, summary="Store the trained network", openapi_extra=SENT
    )
    async def weights(request: Request, trial_id: TrialId, digest: Digest, fence: FenceHeader) -> None:
        data = await _bounded(request)
        await run_in_threadpool(reports.weights, trial_id, fence, digest, data)

    @routes.put(
        "/{trial_id}/hardware-front/{digest}",
        status_code=204,
        summary="Store the accelerators tried",
        openapi_extra=SENT,
    )
    async def hardware_front(request: Request, trial_id: TrialId, digest: Digest, fence: FenceHeader) -> None:
        data = await _bounded(request)
        await run_in_threadpool(reports.hardware_front, trial_id, fence, digest, data)

    @routes.get(
        "/{trial_id}/blobs/{fence}/{digest}",
        summary="Fetch a checkpoint or weights",
        response_class=Response,
        responses={200: BYTES},
    )
    def blob(trial_id: TrialId, fence: Annotated[int, Path(ge=1)], digest: Digest) -> Response:
        headers = {"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"}
        data = reports.blob(trial_id, fence, digest)
        return Response(data, media_type="application/octet-stream", headers=headers)

    @routes.post("/{trial_id}/complete", status_code=204, summary="Finish a trial; safe to repeat")
    def complete(trial_id: TrialId, message: wire.Complete) -> None:
        reports.complete(trial_id, message)

    @routes.post("/{trial_id}/fail", status_code=204, summary="End a trial whose objective raised")
    def fail(trial_id: TrialId, message: wire.Failed) -> None:
        reports.fail(trial_id, message)

    @routes.post("/{trial_id}/tested", status_code=204, summary="Bring the scores on the test set")
    def tested(trial_id: TrialId, message: wire.Tested) -> None:
        reports.tested(trial_id, message)

    @routes.post("/{trial_id}/release", status_code=204, summary="Hand a trial back")
    def release(trial_id: TrialId, message: wire.Fence) -> None:
        reports.release(trial_id, message)

    return routes


async def _bounded(request: Request) -> bytes:
    """The request's body, read no further than its bound."""
    declared = request.headers.get("content-length", "0")
    if not declared.isdigit():
        raise UsageError("Content-Length is not a number")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > wire.MAX_BLOB_BYTES:
            raise TooLarge(f"the body is larger than {wire.MAX_BLOB_BYTES} bytes")
    return bytes(body)
