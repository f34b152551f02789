"""Crons over HTTP (contract endpoints.md 6)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from .. import shapes
from ..access import rules
from ..cron_forms import CronFilter, CronRequest, CronSearch, CronUpdate
from ..crons import Crons
from .answers import json_answer, nothing, page_answer
from .body import form_of, object_of, path_id
from .door import access_of
from .paths import Path
from .threads import PAGING

TAG = "Crons"


class CronPaths:
    """One method per path."""

    def __init__(self, crons: Crons) -> None:
        self._crons = crons

    async def create(self, request: Request) -> Response:
        return await self._create(request, None)

    async def create_on_thread(self, request: Request) -> Response:
        return await self._create(request, path_id(request, "thread_id"))

    async def _create(self, request: Request, thread_id: UUID | None) -> Response:
        given = await object_of(request)
        row = await self._crons.create(
            given,
            thread_id=thread_id,
            request_id=request.scope["request_id"],
            by=access_of(request),
        )
        return json_answer(row)

    async def search(self, request: Request) -> Response:
        return page_answer(
            await self._crons.search(await form_of(request, CronSearch), by=access_of(request))
        )

    async def count(self, request: Request) -> Response:
        return json_answer(
            str(await self._crons.count(await form_of(request, CronFilter), by=access_of(request)))
        )

    async def get(self, request: Request) -> Response:
        return json_answer(await self._crons.get(path_id(request, "cron_id")))

    async def update(self, request: Request) -> Response:
        cron_id = path_id(request, "cron_id")
        given = await object_of(request)
        row = await self._crons.update(
            cron_id, given, request_id=request.scope["request_id"], by=access_of(request)
        )
        return json_answer(row)

    async def delete(self, request: Request) -> Response:
        await self._crons.delete(path_id(request, "cron_id"))
        return nothing()

    def table(self) -> list[Path]:
        one = "/runs/crons/{cron_id}"
        made: dict[str, Any] = {
            "rule": rules.CRONS_CREATE.with_body, "body": CronRequest, "answer": shapes.Cron,
            "errors": (400, 404, 413, 422, 503),
        }  # fmt: skip
        return [
            Path("POST", "/runs/crons", self.create,
                 "Start a run at the times of a schedule, each on a thread of its own.", TAG,
                 **made),
            Path("POST", "/threads/{thread_id}/runs/crons", self.create_on_thread,
                 "Start a run on a thread at the times of a schedule.", TAG, **made),
            Path("POST", "/runs/crons/search", self.search, "Crons that fit a filter.", TAG,
                 rule=rules.CRONS_SEARCH.with_body, answer=shapes.Cron, is_list=True,
                 is_selected=True, body=CronSearch, headers=PAGING, errors=(413, 422, 503)),
            Path("POST", "/runs/crons/count", self.count, "How many crons fit a filter.", TAG,
                 rule=rules.CRONS_SEARCH.with_body, answer={"type": "integer"}, body=CronFilter,
                 errors=(413, 422, 503)),
            Path("GET", one, self.get, "A cron.", TAG,
                 rule=rules.CRONS_READ, answer=shapes.Cron, errors=(404, 422, 503)),
            Path("PATCH", one, self.update, "Change a cron; metadata is merged key by key.", TAG,
                 rule=rules.CRONS_UPDATE.with_body, answer=shapes.Cron, body=CronUpdate,
                 errors=(400, 404, 409, 413, 422, 503)),
            Path("DELETE", one, self.delete, "Remove a cron; runs under way go on.", TAG,
                 rule=rules.CRONS_DELETE, status=204, errors=(404, 422, 503)),
        ]  # fmt: skip
