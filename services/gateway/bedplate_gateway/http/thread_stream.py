"""The stream of all runs of a thread over HTTP (contract streaming.md 2)."""

from __future__ import annotations

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from bedplate.chassis.tasks import Tasks

from ..access import rules
from ..checking import checked
from ..thread_stream import Asked, ThreadMode, ThreadStreams
from .answers import EVENT_STREAM, STREAM_HEADERS, FlowResponse
from .body import path_id
from .door import access_of
from .paths import SERVER_SENT, Path, Query

TAG = "Threads"


class _Modes(BaseModel):
    stream_modes: list[ThreadMode] = Field(min_length=1)


class ThreadStreamPaths:
    """One method per path."""

    def __init__(self, streams: ThreadStreams, abandoned: Tasks) -> None:
        self._streams = streams
        self._abandoned = abandoned

    async def join(self, request: Request) -> Response:
        thread_id = path_id(request, "thread_id")
        last_event_id = request.headers.get("last-event-id")
        asked = Asked(thread_id, _modes_of(request), last_event_id, access_of(request))
        flow = await self._streams.join(asked)
        # Clients come back to it when the connection breaks, and only if it is named.
        place = f"/threads/{thread_id}/stream"
        query = f"?{request.url.query}" if request.url.query else ""
        headers = {**STREAM_HEADERS, "Location": f"{place}{query}"}
        return FlowResponse(flow, self._abandoned, media_type=EVENT_STREAM, headers=headers)

    def table(self) -> list[Path]:
        modes = {"type": "string", "default": "run_modes"}
        return [
            Path(
                "GET", "/threads/{thread_id}/stream", self.join,
                "Events of all runs of a thread, as they come; it never ends.", TAG,
                rule=rules.THREADS_READ,
                answer=SERVER_SENT, media="text/event-stream",
                query=(
                    Query("stream_modes", modes,
                          "run_modes, lifecycle and state_update, separated by commas or repeated;"
                          " `stream_mode` is the same."),
                    Query("Last-Event-ID", {"type": "string"},
                          "Events after this one; `-` for all that is kept of resumable runs.",
                          place="header"),
                ),
                headers={"Location": "Where to take the stream up again."},
                errors=(404, 422, 503),
            ),
        ]  # fmt: skip


def _modes_of(request: Request) -> list[ThreadMode]:
    query = request.query_params
    given = [*query.getlist("stream_modes"), *query.getlist("stream_mode")]
    modes = [part for text in given for part in text.split(",") if part]
    return checked(_Modes, {"stream_modes": modes or [ThreadMode.RUN_MODES]}).stream_modes
