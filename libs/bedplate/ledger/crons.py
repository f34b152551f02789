"""Crons over PostgreSQL: kept, found when they are due, and fired once per slot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
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

from .admissions import NOT_FOUND_MESSAGE, Admissions, Admitted, Written

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


Ended = Fired | Orphaned
Decide = Callable[[Firing], Decided]
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
        return [_due(row) for row in await self._pool.fetch(_sql["find_due_crons"], now, limit)]

    async def fire(self, due: Sequence[Due], decide: Decide) -> list[tuple[Due, Ended]]:
        """End these slots: their runs and the crons' next times, in one transaction as far as
        nobody is at them. Left out are those that somebody else has ended, or is about to."""
        ended = await self._fire(due, decide)
        done = {one.cron_id for one, _ in ended}
        for one in due:
            if one.thread_id is not None and one.cron_id not in done:
                # Somebody is at its thread, and holds it for a moment.
                ended += await self._fire([one], decide, waits=True)
        return ended

    async def _fire(
        self, due: Sequence[Due], decide: Decide, *, waits: bool = False
    ) -> list[tuple[Due, Ended]]:
        ended: list[tuple[Due, Ended]] = []
        written: list[tuple[Due, CreateRun, Written]] = []
        moved: dict[UUID, datetime | None] = {}
        assistants: dict[tuple[str, UUID], AssistantNow | None] = {}
        async with self._pool.acquire() as connection, connection.transaction():
            if waits:
                await connection.fetchval(_sql["lock_thread"], due[0].thread_id, due[0].tenant)
            for row in await connection.fetch(_sql["lock_due_crons"], *_columns(due)):
                one = _due(row)
                key = (one.tenant, row["assistant_id"])
                if key not in assistants:
                    assistants[key] = await self._find_assistant(connection, *key)
                if (assistant := assistants[key]) is None:
                    await connection.execute(_sql["delete_cron"], one.cron_id, one.tenant)
                    ended.append((one, Orphaned()))
                    continue
                decided = decide(_firing(row, assistant))
                moved[one.cron_id] = decided.next_at
                if decided.order is None:
                    ended.append((one, Fired(None)))
                    continue
                try:
                    # What refuses the run must not undo the end of the slot.
                    async with connection.transaction():
                        run = await self._admissions.write(decided.order, connection)
                except (Refused, NotFound, Conflict) as refused:
                    ended.append((one, Fired(decided.order, refused=refused)))
                else:
                    written.append((one, decided.order, run))
            await connection.execute(_sql["move_crons"], list(moved), list(moved.values()))
        for one, order, run in written:
            ended.append((one, Fired(order, await self._admissions.settle(run))))
        return ended


def _columns(due: Sequence[Due]) -> tuple[Any, ...]:
    threads = [one.thread_id for one in due if one.thread_id is not None]
    return [one.cron_id for one in due], [one.due_at for one in due], threads


def _due(row: Any) -> Due:
    return Due(row["cron_id"], row["tenant"], row["thread_id"], row["next_run_at"])


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
