"""Responses: JSON that was made elsewhere, and flows that last as long as a run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bedplate.chassis.log import get_logger
from bedplate.chassis.tasks import Tasks
from bedplate.kernel.errors import BedplateError

from ..asking import Page
from ..json_text import array
from ..stream import CutOff, Flow

log = get_logger()

JSON = "application/json"
EVENT_STREAM = "text/event-stream; charset=utf-8"
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
        self._is_whole = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                writing = group.create_task(self._write(send))
                leaving = group.create_task(_left(receive))
                await asyncio.wait((writing, leaving), return_when=asyncio.FIRST_COMPLETED)
                has_left = not writing.done()
                writing.cancel()
                leaving.cancel()
        finally:
            await self._flow.close()
        if has_left and self._flow.abandon is not None:
            self._abandoned.start(self._flow.abandon(), "run")

    async def _write(self, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        try:
            async with aclosing(self._flow.chunks) as chunks:
                async for chunk in chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except CutOff:
            return
        except BedplateError as error:
            log.warning("stream.cut", why=error.message)
            return
        except Exception:
            log.exception("stream.failed")
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
