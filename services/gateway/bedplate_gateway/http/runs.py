"""Runs over HTTP (contract endpoints.md 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel, Field
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response

from bedplate.chassis.tasks import Tasks
from bedplate.kernel.errors import Refused
from bedplate_proto.subjects import RunAddress
from bedplate_proto.vocabulary import CancelAction, StreamMode

from .. import shapes
from ..access import rules
from ..acting import ActingRuns
from ..checking import checked
from ..errors import Unprocessable
from ..forms import RUN_FIELDS, RunBatch, RunCreate, RunList, RunsCancel
from ..json_text import parsed
from ..runs import Found, Ready, Runs
from ..stream import RunFlow, Streams
from .answers import EVENT_STREAM, JSON, STREAM_HEADERS, FlowResponse, json_answer, nothing
from .body import body_of, choice_of, flag_of, form_of, path_id, queried
from .door import access_of
from .middleware import headers_of
from .paths import SERVER_SENT, Path, Query

TAG = "Runs"
_PLACES = {
    "Location": "Where to take the answer up again.",
    "Content-Location": "The run.",
}
_DISCONNECT = Query(
    "cancel_on_disconnect", {"type": "boolean"}, "Interrupt the run if this client leaves."
)
_JOIN_QUERY = (
    Query(
        "stream_mode",
        {"type": "string"},
        "One mode, several (repeated), or a JSON array of them; `stream_modes` is the same.",
    ),
    _DISCONNECT,
    Query(
        "Last-Event-ID",
        {"type": "string"},
        "Of a resumable run: events after this one; `-1` from the start.",
        place="header",
    ),
)
_ACTION = Query(
    "action",
    {"$ref": "#/components/schemas/CancelAction"},
    "interrupt keeps what it saved, rollback removes it.",
)
_CREATION_ERRORS = (400, 404, 409, 413, 422, 503)
F = TypeVar("F", bound=BaseModel)


class _Modes(BaseModel):
    stream_mode: list[StreamMode] = Field(min_length=1)


class RunPaths:
    """One method per path."""

    def __init__(
        self, runs: Runs, streams: Streams, abandoned: Tasks, *, acting: ActingRuns
    ) -> None:
        self._runs = runs
        self._streams = streams
        self._acting = acting
        self._abandoned = abandoned

    async def create(self, request: Request) -> Response:
        ready, _ = await self._ready(request)
        row = await self._runs.create(ready)
        return json_answer(row, headers={"Content-Location": _place(request, ready.address)})

    async def stream(self, request: Request) -> Response:
        await self._check_may_wait(request)
        ready, form = await self._ready(request)
        flow = await self._streams.stream(
            ready,
            is_resumable=bool(form.stream_resumable),
            is_cancelled=form.is_cancelled_with_client,
        )
        return self._events(request, flow)

    async def wait(self, request: Request) -> Response:
        await self._check_may_wait(request)
        ready, form = await self._ready(request)
        flow = await self._streams.wait(ready, is_cancelled=form.is_cancelled_with_client)
        return self._result(request, flow)

    async def create_batch(self, request: Request) -> Response:
        form = checked(RunBatch, parsed(await body_of(request)))
        request_id: str = request.scope["request_id"]
        ready = [
            await self._runs.ready(
                one,
                thread_id=None,
                request_id=request_id,
                by=access_of(request),
                headers=headers_of(request),
            )
            for one in form.root
        ]
        return json_answer(await self._runs.create_all(ready))

    async def list(self, request: Request) -> Response:
        for name in ("limit", "offset"):
            if not request.query_params.get(name, "0").isascii() or not (
                request.query_params.get(name, "0").removeprefix("-").isdigit()
            ):
                raise Refused(f"{name}: must be a number")
        query = queried(request, "limit", "offset", "status", many=["select"])
        form = checked(RunList, query)
        return json_answer(await self._runs.list(path_id(request, "thread_id"), form))

    async def get(self, request: Request) -> Response:
        address = self._address(request)
        return json_answer(await self._runs.get(address.thread_id, address.run_id))

    async def delete(self, request: Request) -> Response:
        await self._streams.removed(self._address(request), by=access_of(request))
        return nothing()

    async def join(self, request: Request) -> Response:
        await self._check_may_wait(request)
        address = self._address(request)
        found = await self._runs.find(address.run_id, thread_id=address.thread_id)
        flow = await self._streams.join(found, is_cancelled=await _with_client(request, found))
        return self._result(request, flow)

    async def join_stream(self, request: Request) -> Response:
        """Also without a thread in the path: the place a stateless run's stream tells."""
        await self._check_may_wait(request)
        has_thread = "thread_id" in request.path_params
        thread_id = path_id(request, "thread_id") if has_thread else None
        modes = _modes_of(request)
        found = await self._runs.find(path_id(request, "run_id"), thread_id=thread_id)
        flow = await self._streams.rejoin(
            found,
            modes=modes,
            last_event_id=request.headers.get("last-event-id"),
            is_cancelled=await _with_client(request, found),
        )
        return self._events(request, flow)

    async def _check_may_wait(self, request: Request) -> None:
        if "thread_id" in request.path_params:
            await self._acting.check_may_wait(request.headers, path_id(request, "thread_id"))

    async def cancel_many(self, request: Request) -> Response:
        form = await form_of(request, RunsCancel)
        await self._runs.cancel_many(form, _action_of(request), by=access_of(request))
        return nothing()

    async def cancel(self, request: Request) -> Response:
        address = self._address(request)
        action = _action_of(request)
        await _may_cancel(request, address, action)
        if not flag_of(request, "wait"):
            await self._runs.cancel(address, action)
            return nothing(202)
        flow = await self._streams.cancel(address, action)
        return FlowResponse(flow, self._abandoned, media_type=JSON, headers={})

    async def _ready(self, request: Request) -> tuple[Ready, RunCreate]:
        thread_id: UUID | None = None
        if "thread_id" in request.path_params:
            thread_id = path_id(request, "thread_id")
        form = await form_of(request, RunCreate)
        request_id: str = request.scope["request_id"]
        ready = await self._runs.ready(
            form,
            thread_id=thread_id,
            request_id=request_id,
            by=access_of(request),
            headers=headers_of(request),
        )
        return ready, form

    def _address(self, request: Request) -> RunAddress:
        return self._runs.address(path_id(request, "thread_id"), path_id(request, "run_id"))

    def _events(self, request: Request, flow: RunFlow) -> Response:
        place = _place(request, flow.address)
        headers = {
            **STREAM_HEADERS,
            "Location": f"{place}/stream",
            "Content-Location": place,
        }
        return FlowResponse(flow, self._abandoned, media_type=EVENT_STREAM, headers=headers)

    def _result(self, request: Request, flow: RunFlow) -> Response:
        place = _place(request, flow.address)
        # A stateless run is joined by its thread: there is no other path to a result.
        whole = f"/threads/{flow.address.thread_id}/runs/{flow.address.run_id}"
        headers = {"Location": f"{whole}/join", "Content-Location": place}
        return FlowResponse(flow, self._abandoned, media_type=JSON, headers=headers)

    def table(self) -> list[Path]:
        return [
            *_creations("/threads/{thread_id}/runs", "on a thread", self),
            *_creations("/runs", "on a thread of its own", self),
            Path(
                "POST", "/runs/batch", self.create_batch,
                "Start runs on threads of their own: all of them, or none.", TAG,
                rule=rules.THREADS_CREATE_RUN.with_body,
                body=RunBatch, answer=shapes.Run, is_list=True, errors=(400, 404, 413, 422, 503),
            ),
            Path(
                "POST", "/runs/cancel", self.cancel_many, "Stop several runs.", TAG,
                rule=rules.THREADS_UPDATE.with_body,
                body=RunsCancel, status=204, query=(_ACTION,), errors=(400, 404, 413, 422, 503),
            ),
            Path(
                "GET", "/threads/{thread_id}/runs", self.list,
                "A thread's runs, newest first.", TAG,
                rule=rules.THREADS_SEARCH,
                answer=shapes.Run, is_list=True, is_selected=True,
                errors=(400, 404, 422, 503), query=(
                    Query("limit", {"type": "integer", "minimum": 1, "maximum": 1000,
                                    "default": 10}, "How many at most."),
                    Query("offset", {"type": "integer", "minimum": 0, "default": 0}, "From where."),
                    Query("status", {"$ref": "#/components/schemas/RunStatus"}, "Only these."),
                    Query("select", {"type": "array",
                                     "items": {"type": "string", "enum": [*RUN_FIELDS]}},
                          "Only these fields."),
                ),
            ),
            *_of_one(self),
        ]  # fmt: skip


def _of_one(paths: RunPaths) -> list[Path]:
    run = "/threads/{thread_id}/runs/{run_id}"
    return [
        Path(
            "GET", run, paths.get, "A run.", TAG,
            rule=rules.THREADS_READ, answer=shapes.Run, errors=(404, 422, 503),
        ),
        Path(
            "DELETE", run, paths.delete,
            "Remove a run and what it saved; a running one is stopped first.", TAG,
            rule=rules.THREADS_DELETE,
            status=204, errors=(404, 409, 422, 503),
        ),
        Path(
            "GET", f"{run}/join", paths.join, "A run's result, as soon as there is one.", TAG,
            rule=rules.THREADS_READ,
            answer={}, query=(_DISCONNECT,), headers=_PLACES, errors=(404, 409, 422, 503),
        ),
        Path(
            "GET", f"{run}/stream", paths.join_stream, "A run's events.", TAG,
            rule=rules.THREADS_READ,
            answer=SERVER_SENT, media="text/event-stream", query=_JOIN_QUERY,
            headers=_PLACES, errors=(404, 409, 422, 503),
        ),
        Path(
            "GET", "/runs/{run_id}/stream", paths.join_stream, "A stateless run's events.", TAG,
            rule=rules.THREADS_READ,
            answer=SERVER_SENT, media="text/event-stream", query=_JOIN_QUERY,
            headers=_PLACES, errors=(404, 422, 503),
        ),
        Path(
            "POST", f"{run}/cancel", paths.cancel, "Stop a run.", TAG,
            rule=rules.THREADS_UPDATE.with_body,
            answer={"type": "object"}, others={202: "It was told to stop (without `wait`)."},
            query=(
                Query("wait", {"type": "boolean", "default": False},
                      "Answer when it has really stopped."),
                _ACTION,
            ),
            errors=(404, 422, 503),
        ),
    ]  # fmt: skip


def _creations(path: str, where: str, paths: RunPaths) -> list[Path]:
    place = {"Content-Location": "The run."}
    common: Mapping[str, Any] = {"body": RunCreate, "errors": _CREATION_ERRORS}
    return [
        Path(
            "POST", path, paths.create, f"Start a run {where}.", TAG,
            rule=rules.THREADS_CREATE_RUN.with_body,
            answer=shapes.Run, headers=place, **common,
        ),
        Path(
            "POST", f"{path}/stream", paths.stream, f"Start a run {where}; its events.", TAG,
            rule=rules.THREADS_CREATE_RUN.with_body,
            answer=SERVER_SENT, media="text/event-stream", headers=_PLACES, **common,
        ),
        Path(
            "POST", f"{path}/wait", paths.wait, f"Start a run {where}; its result.", TAG,
            rule=rules.THREADS_CREATE_RUN.with_body,
            answer={}, headers=_PLACES, **common,
        ),
    ]  # fmt: skip


def _place(request: Request, address: RunAddress) -> str:
    if "thread_id" in request.path_params:
        return f"/threads/{address.thread_id}/runs/{address.run_id}"
    return f"/runs/{address.run_id}"


def _action_of(request: Request) -> CancelAction:
    return CancelAction(choice_of(request, "action", default="interrupt", choices=[*CancelAction]))


async def _with_client(request: Request, found: Found) -> bool:
    """Whoever lets a run end with their reading of it must be one who may cancel it."""
    if not flag_of(request, "cancel_on_disconnect"):
        return False
    await _may_cancel(request, found.address, CancelAction.INTERRUPT)
    return True


async def _may_cancel(request: Request, address: RunAddress, action: CancelAction) -> None:
    about = {"run_id": address.run_id, "action": action.value}
    await access_of(request).to_thread(rules.THREADS_UPDATE, address.thread_id, **about)


def _modes_of(request: Request) -> list[StreamMode] | None:
    """Two names and three spellings: once, repeated, or a JSON array."""
    query = request.query_params
    given = [*query.getlist("stream_mode"), *query.getlist("stream_modes")]
    modes: list[Any] = []
    for text in given:
        if text.startswith("["):
            try:
                modes += from_json(text)
            except (ValueError, TypeError) as error:
                raise Unprocessable(f"stream_mode: not a JSON array: {text[:200]}") from error
        else:
            modes += [part for part in text.split(",") if part]
    return checked(_Modes, {"stream_mode": modes}).stream_mode if modes else None
