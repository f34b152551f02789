"""Webhooks as clients meet them: accepted with a run, and what became of their deliveries."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field

from bedplate.bus.broker import Bus
from bedplate.kernel.errors import NotFound
from bedplate.webhooks.block import given_block
from bedplate.webhooks.rules import WITHOUT_BLOCK, Forbidden, UrlRules, allowed_target
from bedplate_proto import subjects
from bedplate_proto.webhooks import Redeliver

from .access import rules
from .access.access import Access
from .errors import Unprocessable
from .forms import OFFSET_MAX, PAGE_MAX, Form
from .json_text import array
from .rows import Rows

STATUSES = ("pending", "delivered", "dead")


class DeliveryList(Form):
    """The query of a list of deliveries."""

    status: Literal["pending", "delivered", "dead"] | None = None
    run_id: UUID | None = None
    thread_id: UUID | None = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX)] = 10
    offset: Annotated[int, Field(ge=0, le=OFFSET_MAX)] = 0


class Acceptance:
    """Which webhooks a run may name. The dispatcher judges again when it calls them, and by then
    also what the name resolves to."""

    def __init__(self, rules: UrlRules = WITHOUT_BLOCK, *, is_enabled: bool = True) -> None:
        self._rules = rules
        self._is_enabled = is_enabled

    @classmethod
    def given(cls, config: Path | None, environ: Mapping[str, str]) -> Self:
        """As the project's `langgraph.json` says. Raises `Refused`, naming what is wrong."""
        found = given_block(config, environ)
        return cls(found.block.url, is_enabled=found.is_enabled)

    def accepted(self, url: str | None) -> str | None:
        """None where webhooks are switched off: runs go on without. Raises `Unprocessable`."""
        if url is None or not self._is_enabled:
            return None
        try:
            allowed_target(url, self._rules)
        except Forbidden as error:
            raise Unprocessable(f"webhook: {error.message}") from error
        return url


class Webhooks:
    """Deliveries of one tenant."""

    def __init__(self, rows: Rows, bus: Bus, *, tenant: str) -> None:
        self._rows = rows
        self._bus = bus
        self._tenant = tenant

    async def list(self, form: DeliveryList, *, by: Access) -> bytes:
        """Newest first; those that tell of threads the caller may find."""
        found_by = await by.to(rules.THREADS_SEARCH, {"thread_id": form.thread_id, "metadata": {}})
        access = found_by.on("metadata", after=6)
        found = await self._rows.all(
            "list_deliveries",
            self._tenant,
            form.status,
            form.run_id,
            form.thread_id,
            form.limit,
            form.offset,
            *access.values,
            access=access.text,
        )
        return array([row["row"] for row in found])

    async def get(self, delivery_id: UUID) -> str:
        row = await self._rows.value("get_delivery", self._tenant, delivery_id)
        if row is None:
            raise NotFound("Delivery not found.", delivery_id=str(delivery_id))
        return row

    async def redeliver(self, delivery_id: UUID) -> bytes:
        """Raises `NotFound`, and `Conflict` while it is being tried."""
        order = Redeliver(tenant=self._tenant, delivery_id=delivery_id)
        return await self._bus.order(subjects.REDELIVER, order)
