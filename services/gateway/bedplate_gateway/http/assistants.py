"""Assistants and their graphs over HTTP (contract endpoints.md 3)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from .. import shapes
from ..access import rules
from ..assistant_forms import (
    AssistantCreate,
    AssistantFilter,
    AssistantSearch,
    AssistantUpdate,
    AssistantVersion,
    AssistantVersions,
)
from ..assistants import Assistants
from ..errors import Unprocessable
from ..graphs import Graphs
from .answers import json_answer, nothing, page_answer
from .body import flag_of, form_of
from .door import access_of
from .paths import Path, Query
from .threads import PAGING

TAG = "Assistants"
_RECURSE = Query("recurse", {"type": "boolean", "default": False}, "Also subgraphs of subgraphs.")


class AssistantPaths:
    """One method per path; `{assistant_id}` may also be the name of a graph."""

    def __init__(self, assistants: Assistants, graphs: Graphs) -> None:
        self._assistants = assistants
        self._graphs = graphs

    async def create(self, request: Request) -> Response:
        return json_answer(
            await self._assistants.create(
                await form_of(request, AssistantCreate), by=access_of(request)
            )
        )

    async def search(self, request: Request) -> Response:
        return page_answer(
            await self._assistants.search(
                await form_of(request, AssistantSearch), by=access_of(request)
            )
        )

    async def count(self, request: Request) -> Response:
        form = await form_of(request, AssistantFilter)
        return json_answer(str(await self._assistants.count(form, by=access_of(request))))

    async def get(self, request: Request) -> Response:
        return json_answer(await self._assistants.get(_name(request)))

    async def update(self, request: Request) -> Response:
        form = await form_of(request, AssistantUpdate)
        return json_answer(
            await self._assistants.update(_name(request), form, by=access_of(request))
        )

    async def delete(self, request: Request) -> Response:
        deletes_threads = flag_of(request, "delete_threads")
        await self._assistants.delete(
            _name(request), deletes_threads=deletes_threads, by=access_of(request)
        )
        return nothing()

    async def versions(self, request: Request) -> Response:
        form = await form_of(request, AssistantVersions)
        return page_answer(await self._assistants.versions(_name(request), form))

    async def latest(self, request: Request) -> Response:
        form = await form_of(request, AssistantVersion)
        return json_answer(await self._assistants.use_version(_name(request), form))

    async def graph(self, request: Request) -> Response:
        return json_answer(
            await self._graphs.drawing(_name(request), xray=_xray(request), by=access_of(request))
        )

    async def schemas(self, request: Request) -> Response:
        return json_answer(await self._graphs.schemas(_name(request), by=access_of(request)))

    async def subgraphs(self, request: Request) -> Response:
        namespace: str | None = request.path_params.get("namespace")
        recurse = flag_of(request, "recurse")
        return json_answer(
            await self._graphs.subgraphs(
                _name(request), namespace=namespace, recurse=recurse, by=access_of(request)
            )
        )

    def table(self) -> list[Path]:
        one = "/assistants/{assistant_id}"
        return [
            Path("POST", "/assistants", self.create, "Make an assistant of a graph.", TAG,
                 rule=rules.ASSISTANTS_CREATE.with_body,
                 answer=shapes.Assistant, body=AssistantCreate,
                 errors=(400, 404, 409, 413, 422, 503)),
            Path("POST", "/assistants/search", self.search, "Assistants that fit a filter.", TAG,
                 rule=rules.ASSISTANTS_SEARCH.with_body,
                 answer=shapes.Assistant, is_list=True, is_selected=True,
                 body=AssistantSearch, headers=PAGING, errors=(413, 422, 503)),
            Path("POST", "/assistants/count", self.count, "How many assistants fit a filter.", TAG,
                 rule=rules.ASSISTANTS_SEARCH.with_body,
                 answer={"type": "integer"}, body=AssistantFilter, errors=(413, 422, 503)),
            Path("GET", one, self.get, "An assistant.", TAG,
                 rule=rules.ASSISTANTS_READ, answer=shapes.Assistant,
                 errors=(404, 422, 503)),
            Path("PATCH", one, self.update, "Change an assistant: its next version.", TAG,
                 rule=rules.ASSISTANTS_UPDATE.with_body,
                 answer=shapes.Assistant, body=AssistantUpdate, errors=(400, 404, 413, 422, 503)),
            Path("DELETE", one, self.delete, "Remove an assistant; its runs in flight stop.", TAG,
                 rule=rules.ASSISTANTS_DELETE.with_body,
                 status=204, errors=(404, 422, 503),
                 query=(Query("delete_threads", {"type": "boolean", "default": False},
                              "Also the threads that were last run with it."),)),
            Path("POST", f"{one}/versions", self.versions, "All its versions, newest first.", TAG,
                 rule=rules.ASSISTANTS_READ, answer=shapes.Assistant, is_list=True,
                 body=AssistantVersions, headers=PAGING, errors=(404, 413, 422, 503)),
            Path("POST", f"{one}/latest", self.latest, "Go back to one of its versions.", TAG,
                 rule=rules.ASSISTANTS_UPDATE, answer=shapes.Assistant, body=AssistantVersion,
                 errors=(404, 413, 422, 503)),
            Path("GET", f"{one}/graph", self.graph, "Nodes and edges.", TAG,
                 rule=rules.ASSISTANTS_READ, answer=shapes.Graph,
                 errors=(400, 404, 422, 503),
                 query=(Query("xray", {"anyOf": [{"type": "boolean"},
                                                 {"type": "integer", "minimum": 1}]},
                              "Expand subgraphs, or so many levels of them."),)),
            Path("GET", f"{one}/schemas", self.schemas, "JSON Schemas of input, output, state.",
                 TAG,
                 rule=rules.ASSISTANTS_READ, answer=shapes.Schemas, errors=(400, 404, 422, 503)),
            Path("GET", f"{one}/subgraphs", self.subgraphs, "Schemas of subgraphs by namespace.",
                 TAG,
                 rule=rules.ASSISTANTS_READ, answer={"type": "object"}, query=(_RECURSE,),
                 errors=(400, 404, 422, 503)),
            Path("GET", f"{one}/subgraphs/{{namespace}}", self.subgraphs,
                 "Schemas of one subgraph; empty if there is none.", TAG,
                 rule=rules.ASSISTANTS_READ,
                 answer={"type": "object"}, query=(_RECURSE,), errors=(400, 404, 422, 503)),
        ]  # fmt: skip


def _name(request: Request) -> str:
    return request.path_params["assistant_id"]


def _xray(request: Request) -> bool | int:
    text = request.query_params.get("xray", "false").lower()
    if text in ("true", "false"):
        return text == "true"
    if text.isascii() and text.isdigit() and 0 < int(text) <= 1000:
        return int(text)
    raise Unprocessable("xray: must be true, false or a number from 1 to 1000")
