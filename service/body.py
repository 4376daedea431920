"""A bound on request bodies that come without a length, as chunked ones do."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException

from service.gate import MAX_JSON_BYTES, Receive, Scope, Send


class BoundedBody:
    """ASGI middleware that reads no body further than `MAX_JSON_BYTES`.

    Blobs have a bound of their own where they are taken; the gate refuses a body whose declared length is too large.

    Args:
        app: The application behind it.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, counting what is read of it."""
        if scope["type"] != "http" or (scope["method"] == "PUT" and scope["path"].startswith("/v1/leases/")):
            await self._app(scope, receive, send)
            return
        read = 0

        async def counted() -> Any:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > MAX_JSON_BYTES:
                raise HTTPException(413, f"the body is larger than {MAX_JSON_BYTES} bytes")
            return message

        await self._app(scope, counted, send)
