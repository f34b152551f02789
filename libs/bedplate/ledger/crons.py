"""Crons over PostgreSQL: kept, found when they are due, and fired once per slot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from bedplate.kernel.errors import BedplateError, Conflict, NotFound, Refused
from bedplate.sql import Statements
from bedplate_proto.crons import (
    CreateCron,
    CronPlan,
    DeleteCron,
    DeleteCronsOfAssistant,
    UpdateCron,
)
from bedplate_proto.runs import CreateRun

from .admissions import NOT_FOUND_MESSAGE, Admissions, Admitted

_sql = Statements("bedplate.ledger")

MISSING_MESSAGE = "Cron not found."
CHANGED_MESSAGE = "The cron was changed meanwhile."


@dataclass(frozen=True)
class Due:
    """A cron whose time has come."""

    cron_id: UUID
    tenant: str
    thread_id: UUID | None
    due_at: datetime


@dataclass(frozen=True)
class AssistantNow:
    """What a run takes of its assistant. JSON parts are text as it was stored."""

    graph_id: str
    config: str
    context: str
    metadata: str


@dataclass(frozen=True)
class Firing:
    """A cron that is held, with its assistant. JSON parts are text as it was stored."""

    cron_id: UUID
    assistant_id: UUID
    thread_id: UUID | None
    schedule: str
    timezone: str | None
    end_time: datetime | None
    due_at: datetime
    metadata: str
    run_order: str
    assistant: AssistantNow


@dataclass(frozen=True)
class Decided:
    """The run that is due, or None when the slot is let go; and when the next one is due."""

    order: CreateRun | None
    next_at: datetime | None


@dataclass(frozen=True)
class Fired:
    """A slot that is over. `refused`: why there is no run of it."""

    order: CreateRun | None
    admitted: Admitted | None = None
    refused: BedplateError | None = None


@dataclass(frozen=True)
class Orphaned:
    """The cron is removed: its assistant is gone."""


FindAssistant = Callable[[Any, str, UUID], Awaitable[AssistantNow | None]]
"""Assistants are the gateway's: reads one on a given connection, in its transaction."""


class Crons:
    """Any number of verbs at once, from any number of schedulers."""

    def __init__(self, pool: Any, admissions: Admissions, *, find_assistant: FindAssistant) -> None:
        self._pool = pool
        self._find_assistant = find_assistant
        self._admissions = admissions

    async def create(self, order: CreateCron, *, next_at: datetime | None) -> str:
        """The row as JSON text. Idempotent by id. Raises `NotFound` for the thread, `Refused`."""
        found = await self._written(
            "create_cron", order.cron_id, order.tenant, order.thread_id, order.plan, next_at
        )
        if found is None:
            raise NotFound(NOT_FOUND_MESSAGE, thread_id=str(order.thread_id))
        return found["row"]

    async def update(self, order: UpdateCron, *, next_at: datetime | None) -> str:
        """The row. Raises `NotFound`, `Conflict` (it is another revision by now), `Refused`."""
        found = await self._written(
            "update_cron", order.cron_id, order.tenant, order.revision, order.plan, next_at
        )
        if found is None:
            raise NotFound(MISSING_MESSAGE, cron_id=str(order.cron_id))
        if found["row"] is None:
            raise Conflict(CHANGED_MESSAGE, cron_id=str(order.cron_id))
        return found["row"]

    async def _written(
        self, statement: str, cron_id: UUID, tenant: str, place: Any, plan: CronPlan, next_at: Any
    ) -> Any:
        try:
            return await self._pool.fetchrow(
                _sql[statement], cron_id, tenant, place, plan.assistant_id, plan.on_run_completed,
                plan.user_id, plan.schedule, plan.timezone, plan.end_time, plan.enabled, next_at,
                plan.metadata, plan.payload, plan.order.model_dump_json(),
            )  # fmt: skip
        except asyncpg.ForeignKeyViolationError as error:
            raise NotFound(NOT_FOUND_MESSAGE) from error
        except asyncpg.DataError as error:
            raise Refused(f"a part of the cron is JSON that cannot be stored: {error}") from error

    async def delete(self, order: DeleteCron) -> None:
        """Raises `NotFound`."""
        if await self._pool.fetchval(_sql["delete_cron"], order.cron_id, order.tenant) is None:
            raise NotFound(MISSING_MESSAGE, cron_id=str(order.cron_id))

    async def delete_of_assistant(self, order: DeleteCronsOfAssistant) -> None:
        await self._pool.execute(
            _sql["delete_crons_of_assistant"], order.tenant, order.assistant_id
        )

    async def find_due(self, now: datetime, *, limit: int) -> list[Due]:
        rows = await self._pool.fetch(_sql["find_due_crons"], now, limit)
        return [
            Due(row["cron_id"], row["tenant"], row["thread_id"], row["next_run_at"]) for row in rows
        ]

    async def fire(self, due: Due, decide: Callable[[Firing], Decided]) -> Fired | Orphaned | None:
        """End the slot: its run and the cron's next time, in one transaction. None: somebody else
        has, or is about to."""
        async with self._pool.acquire() as connection, connection.transaction():
            if due.thread_id is not None:
                # Before the cron's row: a thread that is being deleted takes its crons along.
                await connection.fetchval(_sql["lock_thread"], due.thread_id, due.tenant)
            row = await connection.fetchrow(_sql["lock_cron"], due.cron_id, due.due_at)
            if row is None:
                return None
            assistant = await self._find_assistant(connection, due.tenant, row["assistant_id"])
            if assistant is None:
                await connection.execute(_sql["delete_cron"], due.cron_id, due.tenant)
                return Orphaned()
            decided = decide(_firing(row, assistant))
            await connection.execute(_sql["move_cron"], due.cron_id, decided.next_at)
            if decided.order is None:
                return Fired(None)
            try:
                # What refuses the run must not undo the end of the slot.
                async with connection.transaction():
                    written = await self._admissions.write(decided.order, connection)
            except (Refused, NotFound, Conflict) as refused:
                return Fired(decided.order, refused=refused)
        return Fired(decided.order, await self._admissions.settle(written))


def _firing(row: Any, assistant: AssistantNow) -> Firing:
    return Firing(
        cron_id=row["cron_id"],
        assistant_id=row["assistant_id"],
        thread_id=row["thread_id"],
        schedule=row["schedule"],
        timezone=row["timezone"],
        end_time=row["end_time"],
        due_at=row["next_run_at"],
        metadata=row["metadata"],
        run_order=row["run_order"],
        assistant=assistant,
    )
