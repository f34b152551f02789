"""Responses: JSON that was made elsewhere, and flows that last as long as a run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from bedplate.chassis.log import get_logger
from bedplate.chassis.tasks import Tasks
from bedplate.kernel.errors import BedplateError

from ..asking import Page
from ..json_text import array
from ..stream import CutOff, Flow

log = get_logger()

JSON = "application/json"
EVENT_STREAM = "text/event-stream; charset=utf-8"
FLOWING = "bedplate.flowing"
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def json_answer(
    body: bytes | str, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(body, status_code=status, media_type=JSON, headers=headers)


def nothing(status: int = 204) -> Response:
    return Response(status_code=status)


def page_answer(page: Page) -> Response:
    """Rows with the headers that tell how to go on."""
    headers = {"X-Pagination-Total": str(page.total)}
    if page.next_offset is not None:
        headers["X-Pagination-Next"] = str(page.next_offset)
    return json_answer(array(page.rows), headers=headers)


class FlowResponse(Response):
    """Sends a flow's chunks as they come, until it ends or the client leaves.

    Only the head is sent from within the app. What was around the request (middlewares, routes,
    error handlers) would stay in memory as long as the flow, and stand between each chunk and the
    socket: so the rest is left to `Flows`, outside of it all.

    Only a client that leaves before the end abandons the run. What fails after the status was sent
    cuts the connection: half an answer must not look like a whole one.
    """

    def __init__(
        self, flow: Flow, abandoned: Tasks, *, media_type: str, headers: Mapping[str, str]
    ) -> None:
        super().__init__(media_type=None, headers={"content-type": media_type, **headers})
        # A flow's length is not known; the base class says it is 0.
        self.raw_headers = [
            (name, value) for name, value in self.raw_headers if name != b"content-length"
        ]
        self._flow = flow
        self._abandoned = abandoned
        self._request_id = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._request_id = scope["request_id"]
        flowing: list[FlowResponse] | None = scope.get(FLOWING)
        if flowing is not None:
            flowing.append(self)
        head = {"type": "http.response.start", "status": self.status_code}
        try:
            await send({**head, "headers": self.raw_headers})
            if flowing is None:
                await self.flow(receive, send)
        finally:
            if flowing is None:
                await self.close()

    async def flow(self, receive: Receive, send: Send) -> None:
        """The body."""
        writing = asyncio.current_task()
        assert writing is not None
        has_left = False

        async def watch() -> None:
            nonlocal has_left
            await _left(receive)
            has_left = True
            writing.cancel()

        async with asyncio.TaskGroup() as group:
            leaving = group.create_task(watch())
            try:
                await self._write(send)
            except asyncio.CancelledError:
                if not has_left:
                    raise
                writing.uncancel()
            finally:
                leaving.cancel()
        if has_left and self._flow.abandon is not None:
            self._abandoned.start(self._flow.abandon(), "run")

    async def close(self) -> None:
        """Also of a flow that never began."""
        await self._flow.close()

    async def _write(self, send: Send) -> None:
        try:
            async with aclosing(self._flow.chunks) as chunks:
                async for chunk in chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except CutOff:
            return
        except BedplateError as error:
            log.warning("stream.cut", why=error.message, request_id=self._request_id)
            return
        except Exception:
            log.exception("stream.failed", request_id=self._request_id)
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class Flows:
    """The outermost layer: lets flows go on after the app has done its part."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        flowing: list[FlowResponse] = []
        scope[FLOWING] = flowing
        try:
            await self._app(scope, receive, send)
            for response in flowing:
                await response.flow(receive, send)
        finally:
            for response in flowing:
                await response.close()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
