"""Deliveries of webhooks over HTTP."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from .. import shapes
from ..access import rules
from ..checking import checked
from ..webhooks import STATUSES, DeliveryList, Webhooks
from .answers import json_answer
from .body import path_id, queried
from .door import access_of
from .paths import Path, Query

TAG = "Webhooks"


class WebhookPaths:
    """One method per path."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    async def list(self, request: Request) -> Response:
        query = queried(request, "status", "run_id", "thread_id", "limit", "offset")
        return json_answer(
            await self._webhooks.list(checked(DeliveryList, query), by=access_of(request))
        )

    async def get(self, request: Request) -> Response:
        return json_answer(await self._webhooks.get(path_id(request, "delivery_id")))

    async def redeliver(self, request: Request) -> Response:
        return json_answer(await self._webhooks.redeliver(path_id(request, "delivery_id")))

    def table(self) -> list[Path]:
        one = "/webhooks/deliveries/{delivery_id}"
        identity = {"type": "string", "format": "uuid"}
        return [
            Path(
                "GET", "/webhooks/deliveries", self.list, "Deliveries, newest first.", TAG,
                rule=rules.THREADS_SEARCH.with_body,
                answer=shapes.Delivery, is_list=True, errors=(422, 503), query=(
                    Query("status", {"type": "string", "enum": [*STATUSES]},
                          "Only these; `dead` were given up."),
                    Query("run_id", identity, "Only of this run."),
                    Query("thread_id", identity, "Only of runs of this thread."),
                    Query("limit", {"type": "integer", "minimum": 1, "maximum": 1000,
                                    "default": 10}, "How many at most."),
                    Query("offset", {"type": "integer", "minimum": 0, "default": 0}, "From where."),
                ),
            ),
            Path("GET", one, self.get, "A delivery.", TAG,
                 rule=rules.THREADS_READ, answer=shapes.Delivery,
                 errors=(404, 422, 503)),
            Path("POST", f"{one}/redeliver", self.redeliver,
                 "Try a delivery again, now, with all its retries.", TAG,
                 rule=rules.THREADS_UPDATE,
                 answer=shapes.Delivery, errors=(404, 409, 422, 503)),
        ]  # fmt: skip
