"""Threads, their state and their history over HTTP (contract endpoints.md 4)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from .. import shapes
from ..access import rules
from ..checking import checked
from ..errors import Unprocessable
from ..forms import (
    HistoryRead,
    StateAt,
    StateUpdate,
    ThreadCreate,
    ThreadFilter,
    ThreadPatch,
    ThreadPrune,
    ThreadSearch,
    place_of,
)
from ..ids import uuid_or_none
from ..json_text import dumped
from ..state import States
from ..state_forms import StatePatch
from ..threads import Threads
from .answers import json_answer, nothing, page_answer
from .body import flag_of, form_of, path_id
from .door import access_of
from .paths import Path, Query

TAG = "Threads"
PAGING = {
    "X-Pagination-Total": "How many there are; exact on the last page.",
    "X-Pagination-Next": "Offset of the next page, if there is one.",
}
_SUBGRAPHS = Query("subgraphs", {"type": "boolean", "default": False}, "With subgraphs' states.")


class ThreadPaths:
    """One method per path."""

    def __init__(self, threads: Threads, states: States) -> None:
        self._threads = threads
        self._states = states

    async def create(self, request: Request) -> Response:
        return json_answer(
            await self._threads.create(await form_of(request, ThreadCreate), by=access_of(request))
        )

    async def search(self, request: Request) -> Response:
        return page_answer(
            await self._threads.search(await form_of(request, ThreadSearch), by=access_of(request))
        )

    async def count(self, request: Request) -> Response:
        return json_answer(
            str(
                await self._threads.count(
                    await form_of(request, ThreadFilter), by=access_of(request)
                )
            )
        )

    async def prune(self, request: Request) -> Response:
        pruned = await self._threads.prune(
            await form_of(request, ThreadPrune), by=access_of(request)
        )
        return json_answer(dumped({"pruned_count": pruned}))

    async def get(self, request: Request) -> Response:
        thread_id = path_id(request, "thread_id")
        match request.query_params.get("include"):
            case None | "":
                return json_answer(await self._threads.get(thread_id))
            case "ttl":
                return json_answer(await self._threads.get_with_ttl(thread_id))
            case _:
                raise Unprocessable("include: must be ttl")

    async def update(self, request: Request) -> Response:
        thread_id = path_id(request, "thread_id")
        row = await self._threads.update(
            thread_id, await form_of(request, ThreadPatch), by=access_of(request)
        )
        if "return=minimal" in request.headers.get("prefer", ""):
            return nothing()
        return json_answer(row)

    async def delete(self, request: Request) -> Response:
        await self._threads.delete(path_id(request, "thread_id"))
        return nothing()

    async def copy(self, request: Request) -> Response:
        return json_answer(
            await self._threads.copy(path_id(request, "thread_id"), by=access_of(request))
        )

    async def state(self, request: Request) -> Response:
        checkpoint_id: str | None = request.path_params.get("checkpoint_id")
        if checkpoint_id is not None and uuid_or_none(checkpoint_id) is None:
            raise Unprocessable("Invalid checkpoint ID: must be a UUID")
        state = await self._states.read(
            path_id(request, "thread_id"),
            place=place_of(None, checkpoint_id),
            subgraphs=flag_of(request, "subgraphs"),
            by=access_of(request),
        )
        return json_answer(state)

    async def state_at(self, request: Request) -> Response:
        thread_id = path_id(request, "thread_id")
        form = await form_of(request, StateAt)
        place = form.checkpoint.given()
        return json_answer(
            await self._states.read(
                thread_id, place=place, subgraphs=form.subgraphs, by=access_of(request)
            )
        )

    async def update_state(self, request: Request) -> Response:
        thread_id = path_id(request, "thread_id")
        return json_answer(
            await self._states.update(
                thread_id, await form_of(request, StateUpdate), by=access_of(request)
            )
        )

    async def patch_state(self, request: Request) -> Response:
        thread_id = path_id(request, "thread_id")
        form = await form_of(request, StatePatch)
        await self._states.patch(thread_id, form, by=access_of(request))
        return nothing()

    async def storage(self, request: Request) -> Response:
        return json_answer(await self._threads.storage(path_id(request, "thread_id")))

    async def history(self, request: Request) -> Response:
        thread_id = path_id(request, "thread_id")
        query = request.query_params
        limit = query.get("limit", "1")
        if not (limit.isascii() and limit.isdigit()):
            raise Unprocessable("limit: must be a number")
        form = checked(HistoryRead, {"limit": int(limit), "before": query.get("before")})
        return json_answer(await self._states.history(thread_id, form, by=access_of(request)))

    async def search_history(self, request: Request) -> Response:
        thread_id = path_id(request, "thread_id")
        return json_answer(
            await self._states.history(
                thread_id, await form_of(request, HistoryRead), by=access_of(request)
            )
        )

    def table(self) -> list[Path]:
        thread = "/threads/{thread_id}"
        return [
            Path("POST", "/threads", self.create, "Make a thread.", TAG,
                 rule=rules.THREADS_CREATE.with_body, answer=shapes.Thread,
                 body=ThreadCreate, errors=(400, 409, 413, 422, 503)),
            Path("POST", "/threads/search", self.search, "Threads that fit a filter.", TAG,
                 rule=rules.THREADS_SEARCH.with_body,
                 answer=shapes.Thread, is_list=True, is_selected=True,
                 body=ThreadSearch, headers=PAGING, errors=(413, 422, 503)),
            Path("POST", "/threads/count", self.count, "How many threads fit a filter.", TAG,
                 rule=rules.THREADS_SEARCH.with_body,
                 answer={"type": "integer"}, body=ThreadFilter, errors=(413, 422, 503)),
            Path("POST", "/threads/prune", self.prune,
                 "Remove threads, or all of their checkpoints but the newest.", TAG,
                 rule=rules.THREADS_DELETE.with_body,
                 answer=shapes.Pruned, body=ThreadPrune, errors=(409, 413, 422, 503)),
            Path("GET", thread, self.get, "A thread.", TAG,
                 rule=rules.THREADS_READ, answer=shapes.Thread,
                 errors=(404, 422, 503), query=(
                     Query("include", {"type": "string", "enum": ["ttl"]},
                           "`ttl`: when the thread expires."),)),
            Path("PATCH", thread, self.update,
                 "Merge metadata, key by key; `Prefer: return=minimal` for an empty answer.", TAG,
                 rule=rules.THREADS_UPDATE.with_body,
                 answer=shapes.Thread, body=ThreadPatch, others={204: "Done."},
                 query=(Query("Prefer", {"type": "string"}, "`return=minimal`", place="header"),),
                 errors=(404, 413, 422, 503)),
            Path("DELETE", thread, self.delete, "Remove a thread with everything in it.", TAG,
                 rule=rules.THREADS_DELETE,
                 status=204, errors=(404, 422, 503)),
            Path("POST", f"{thread}/copy", self.copy, "Copy a thread with its checkpoints.", TAG,
                 rule=rules.THREADS_CREATE.with_body,
                 answer=shapes.Thread, errors=(404, 422, 503)),
            *_of_states(self),
        ]  # fmt: skip


def _of_states(paths: ThreadPaths) -> list[Path]:
    thread = "/threads/{thread_id}"
    return [
        Path("GET", f"{thread}/state", paths.state, "A thread's newest state.", TAG,
             rule=rules.THREADS_READ,
             answer=shapes.ThreadState, query=(_SUBGRAPHS,), errors=(400, 404, 422, 503)),
        Path("POST", f"{thread}/state", paths.update_state,
             "Change the state as if a node had.", TAG,
             rule=rules.THREADS_UPDATE,
             answer=shapes.StateUpdated, body=StateUpdate,
             errors=(400, 404, 409, 413, 422, 503)),
        Path("PATCH", f"{thread}/state", paths.patch_state,
             "Merge metadata into the newest checkpoint's.", TAG,
             rule=rules.THREADS_UPDATE, status=204, body=StatePatch,
             errors=(400, 404, 409, 413, 422, 503)),
        Path("GET", f"{thread}/storage", paths.storage,
             "The bytes that the thread's checkpoints take.", TAG,
             rule=rules.THREADS_READ, answer=shapes.Storage, errors=(404, 422, 501, 503)),
        Path("POST", f"{thread}/state/checkpoint", paths.state_at, "The state at a checkpoint.",
             TAG,
             rule=rules.THREADS_READ, answer=shapes.ThreadState, body=StateAt,
             errors=(400, 404, 413, 422, 503)),
        Path("GET", f"{thread}/state/{{checkpoint_id}}", paths.state,
             "The state at a checkpoint.", TAG,
             rule=rules.THREADS_READ,
             answer=shapes.ThreadState, query=(_SUBGRAPHS,), errors=(400, 404, 422, 503)),
        Path("GET", f"{thread}/history", paths.history, "States, newest first.", TAG,
             rule=rules.THREADS_READ,
             answer=shapes.ThreadState, is_list=True, errors=(400, 404, 422, 503), query=(
                 Query("limit", {"type": "integer", "minimum": 1, "maximum": 1000,
                                 "default": 1}, "How many at most."),
                 Query("before", {"type": "string"}, "Older than this checkpoint."))),
        Path("POST", f"{thread}/history", paths.search_history, "States, newest first.", TAG,
             rule=rules.THREADS_READ,
             answer=shapes.ThreadState, is_list=True, body=HistoryRead,
             errors=(400, 404, 413, 422, 503)),
    ]  # fmt: skip
