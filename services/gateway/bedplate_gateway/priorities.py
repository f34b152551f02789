"""Who runs first, as the project says: its handler is asked, in an executor, for each thread that
has no settings yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic_core import from_json

from bedplate.bus.broker import Bus
from bedplate.chassis.log import get_logger
from bedplate.graphs.config import given_blocks
from bedplate.kernel.errors import BedplateError, Unavailable
from bedplate_proto import subjects
from bedplate_proto.runs import AssignedPriorities, AssignPriorities, CreateRun, PriorityContext

from .rows import Rows

log = get_logger()

# More than a handler has: the executor's answer tells which of several has failed.
_ASK_S_MAX = 4.0

HANDLER_FAILED = "The project's priority handler did not answer for this cron: try again."


def has_handler(config: Path | None, environ: Mapping[str, str]) -> bool:
    """Whether the project of this `langgraph.json` has one. Raises `Refused` for the file."""
    return bool(given_blocks(config, environ).priority)


class Priorities:
    """Costs nothing where the project configures no handler.

    A run is never refused for it: where the handler fails, or nobody answers in time, the run has
    the default priority, its thread stays without settings, and the next run asks again.
    """

    def __init__(self, rows: Rows, bus: Bus, *, is_configured: bool) -> None:
        self._rows = rows
        self._bus = bus
        self._is_configured = is_configured

    async def assigned(self, orders: Sequence[CreateRun]) -> list[CreateRun]:
        """The orders, in their order, with what the handler says of those whose thread has no
        settings."""
        if not self._is_configured:
            return list(orders)
        asked = {
            number: context
            for number, order in enumerate(orders)
            if (context := await self._context(order, None)) is not None
        }
        settings = await self._ask(orders[0].tenant, list(asked.values())) if asked else []
        found = dict(zip(asked, settings, strict=False))
        return [
            order if (one := found.get(number)) is None else order.model_copy(update=dict(one))
            for number, order in enumerate(orders)
        ]

    async def of_cron(
        self, order: CreateRun, cron_id: UUID, *, before: CreateRun | None
    ) -> CreateRun:
        """The order of a cron's runs, none of which would ask again: so where the handler fails it
        keeps what it had `before`. Raises `Unavailable` when it had nothing."""
        if not self._is_configured:
            return order
        context = await self._context(order, cron_id)
        if context is None:
            return order
        told = next(iter(await self._ask(order.tenant, [context])), None)
        if told is not None:
            return order.model_copy(update=dict(told))
        if before is None:
            raise Unavailable(HANDLER_FAILED, cron_id=str(cron_id))
        was = {"priority": before.priority, "fairness_group": before.fairness_group}
        return order.model_copy(update=was)

    async def _ask(self, tenant: str, contexts: list[PriorityContext]) -> list[Any]:
        question = AssignPriorities(tenant=tenant, contexts=contexts)
        try:
            answer = await self._bus.order(subjects.ASSIGN_PRIORITIES, question, limit_s=_ASK_S_MAX)
        except BedplateError as error:
            log.warning("priority.unassigned", runs=len(contexts), why=error.message)
            return []
        return AssignedPriorities.model_validate_json(answer).settings

    async def _context(self, order: CreateRun, cron_id: UUID | None) -> PriorityContext | None:
        """None when the thread has its settings."""
        metadata: str = "{}"
        if not order.is_temporary:
            row = await self._rows.one("find_thread_priority", order.tenant, order.thread_id)
            if row is not None and row["is_assigned"]:
                return None
            metadata = "{}" if row is None else row["metadata"]
        return PriorityContext(
            thread_id=None if order.is_temporary else str(order.thread_id),
            thread_metadata=from_json(metadata),
            assistant_id=str(order.assistant_id),
            graph_id=order.graph_id,
            assistant_metadata=from_json(order.assistant_metadata),
            run_metadata=from_json(order.metadata),
            cron_id=None if cron_id is None else str(cron_id),
            user=None if order.user is None else from_json(order.user),
        )
