"""Crons: orders about them, and the loop that fires those that are due."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from bedplate.chassis.clock import Clock
from bedplate.chassis.ids import uuid7
from bedplate.chassis.log import get_logger
from bedplate.chassis.metrics import Metrics
from bedplate.kernel.cron import planned, schedule_of, turn
from bedplate.kernel.errors import Refused
from bedplate.kernel.setup import Setup, merged, merged_setup
from bedplate.ledger import Admitted, Decided, Due, Fired, Firing, Orphaned
from bedplate.ledger import Crons as Kept
from bedplate_proto.crons import (
    CreateCron,
    CronPlan,
    DeleteCron,
    DeleteCronsOfAssistant,
    UpdateCron,
)
from bedplate_proto.runs import CreateRun
from bedplate_proto.threads import Nothing

log = get_logger()

_BATCH = 200
# Fired in one transaction, which holds their threads; and so many transactions side by side.
_TOGETHER = 16
_AT_ONCE = 4

Tell = Callable[[CreateRun, Admitted], Awaitable[None]]


class Crons:
    """Orders are safe to repeat; any number of schedulers may run the loop at once."""

    def __init__(
        self, kept: Kept, tell: Tell, clock: Clock, metrics: Metrics, *, late_s_max: float
    ) -> None:
        """`tell` is told of each run; a slot that is `late_s_max` past is let go."""
        self.changed: Callable[[], None] = lambda: None
        """Set to the poke of whoever knows when the next one is due."""
        self._kept = kept
        self._tell = tell
        self._clock = clock
        self._late_s_max = late_s_max
        self._lateness = metrics.histogram(
            "cron.fired", "From the time a cron was due until its run was written."
        )
        self._passed = metrics.counter("cron.passed", "Slots that came to no run.")

    async def create_cron(self, order: CreateCron) -> str:
        """The row. Raises `NotFound` for the thread, `Refused` for the schedule."""
        row = await self._kept.create(order, next_at=self._next(order.plan))
        self.changed()
        return row

    async def update_cron(self, order: UpdateCron) -> str:
        """The row. Raises `NotFound`, and `Conflict` when it was changed meanwhile."""
        row = await self._kept.update(order, next_at=self._next(order.plan))
        self.changed()
        return row

    async def delete_cron(self, order: DeleteCron) -> Nothing:
        await self._kept.delete(order)
        return Nothing()

    async def delete_crons_of_assistant(self, order: DeleteCronsOfAssistant) -> Nothing:
        await self._kept.delete_of_assistant(order)
        return Nothing()

    async def fire(self) -> dict[str, Any] | None:
        """A loop's tick: every cron that is due, those first that have waited longest."""
        count = 0
        while due := await self._kept.find_due(self._clock.now_utc(), limit=_BATCH):
            ended = await self._fire_all(due)
            count += ended
            # Others are at the rest, or it is all done.
            if len(due) < _BATCH or ended == 0:
                break
        if count == 0:
            return None
        self.changed()
        return {"slots": count}

    async def _fire_all(self, due: list[Due]) -> int:
        waiting = iter([due[n : n + _TOGETHER] for n in range(0, len(due), _TOGETHER)])
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(self._fire_each(waiting)) for _ in range(_AT_ONCE)]
        return sum(worker.result() for worker in workers)

    async def _fire_each(self, waiting: Iterator[list[Due]]) -> int:
        count = 0
        for several in waiting:
            for due, ended in await self._kept.fire(several, self._decide):
                count += 1
                await self._ended(due, ended)
        return count

    async def _ended(self, due: Due, ended: Fired | Orphaned) -> None:
        cron_id, at = str(due.cron_id), due.due_at.isoformat()
        match ended:
            case Orphaned():
                log.info("cron.orphaned", cron_id=cron_id)
            case Fired(order=CreateRun() as order, admitted=Admitted() as admitted):
                late_s = (self._clock.now_utc() - due.due_at).total_seconds()
                self._lateness.observe(max(0.0, late_s))
                log.info("cron.fired", cron_id=cron_id, due_at=at, late_s=round(late_s, 3))
                await self._tell(order, admitted)
            case Fired(refused=refused):
                self._passed.inc()
                why = "nobody was there in time" if refused is None else refused.message
                log.warning("cron.passed", cron_id=cron_id, due_at=at, why=why)

    def _next(self, plan: CronPlan) -> datetime | None:
        if not plan.enabled:
            return None
        schedule = schedule_of(plan.schedule, plan.timezone)
        return planned(schedule, after=self._clock.now_utc(), end_time=plan.end_time)

    def _decide(self, firing: Firing) -> Decided:
        try:
            decided = turn(
                schedule_of(firing.schedule, firing.timezone),
                due_at=firing.due_at,
                now=self._clock.now_utc(),
                end_time=firing.end_time,
                late_s_max=self._late_s_max,
            )
            order = run_order_of(firing) if decided.fires else None
        except (Refused, ValidationError) as error:
            # Written by another release, or read with another edition of the time zones. It must
            # not hold up the others, and is not thrown away.
            log.warning("cron.unreadable", cron_id=str(firing.cron_id), why=str(error))
            return Decided(None, None)
        return Decided(order, decided.next_at)


def run_order_of(firing: Firing) -> CreateRun:
    """The run of a slot: what the cron asks for, over what its assistant says by now."""
    made = CreateRun.model_validate_json(firing.run_order)
    run_id, mark = uuid7(), {"cron_id": str(firing.cron_id)}
    kwargs = from_json(made.kwargs)
    assistant = firing.assistant
    below = Setup(from_json(assistant.config), from_json(assistant.context))
    setup, place = merged_setup(below, Setup(kwargs["config"], kwargs["context"])).without_place()
    setup = setup.with_configurable(**mark, langgraph_request_id=str(run_id))
    kwargs |= {"config": setup.config, "context": setup.context}
    if "checkpoint_id" in place and firing.thread_id is not None:
        kwargs.setdefault("checkpoint", place)
    of_thread = {"graph_id": assistant.graph_id, "assistant_id": str(firing.assistant_id), **mark}
    of_cron = from_json(firing.metadata) if firing.thread_id is None else {}
    return made.model_copy(
        update={
            "run_id": run_id,
            "thread_id": firing.thread_id or uuid7(),
            "graph_id": assistant.graph_id,
            "kwargs": _text(kwargs),
            "assistant_metadata": assistant.metadata,
            "metadata": _text(merged(setup.config.get("metadata"), from_json(made.metadata), mark)),
            "thread_metadata": _text(merged(of_cron, of_thread)),
            "thread_config": _text(setup.lasting),
        }
    )


def _text(value: Any) -> str:
    return to_json(value, inf_nan_mode="null").decode()
