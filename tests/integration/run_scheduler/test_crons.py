"""Crons on a driven clock, with two schedulers over one PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import orjson
import pytest

from bedplate.chassis.clock import ManualClock
from bedplate.chassis.metrics import Metrics
from bedplate.kernel.errors import Conflict, NotFound
from bedplate.ledger import Admissions, Admitted
from bedplate.ledger import Crons as Kept
from bedplate.testing.eventually import eventually
from bedplate_proto.crons import (
    CreateCron,
    CronPlan,
    DeleteCron,
    DeleteCronsOfAssistant,
    UpdateCron,
)
from bedplate_proto.runs import CreateRun
from bedplate_proto.vocabulary import IfNotExists, MultitaskStrategy, OnCompletion
from bedplate_run_scheduler.assistants import find_assistant
from bedplate_run_scheduler.crons import Crons

TENANT = "default"
GRACE_S = 60.0


def run_order(**changed: Any) -> CreateRun:
    kwargs = {"input": {"n": 1}, "config": {"configurable": {"own": 1}}, "context": {"own": 1}}
    order = CreateRun(
        tenant=TENANT,
        run_id=uuid4(),
        thread_id=uuid4(),
        assistant_id=uuid4(),
        graph_id="",
        kwargs=orjson.dumps(kwargs).decode(),
        metadata='{"asked": "by day"}',
        thread_metadata="{}",
        thread_config="{}",
        multitask_strategy=MultitaskStrategy.ENQUEUE,
        if_not_exists=IfNotExists.CREATE,
        after_s=0,
        is_temporary=True,
        deletes_thread=True,
    )
    return order.model_copy(update=changed)


@dataclass
class Shift:
    """Two schedulers on one clock, and the assistant their crons are for."""

    desk: Any
    clock: ManualClock
    schedulers: Sequence[Crons]
    told: list[CreateRun]
    assistant_id: UUID

    def plan(self, schedule: str, **changed: Any) -> CronPlan:
        plan = CronPlan(
            assistant_id=self.assistant_id,
            schedule=schedule,
            timezone=None,
            end_time=None,
            enabled=True,
            on_run_completed=OnCompletion.DELETE,
            user_id="ada",
            metadata='{"team": "night"}',
            payload="{}",
            order=run_order(),
        )
        return plan.model_copy(update=changed)

    async def create(
        self, schedule: str, *, thread_id: UUID | None = None, **changed: Any
    ) -> dict[str, Any]:
        if thread_id is not None:
            order = run_order(
                thread_id=thread_id, is_temporary=False, deletes_thread=False,
                if_not_exists=IfNotExists.REJECT,
                multitask_strategy=changed.pop("strategy", MultitaskStrategy.ENQUEUE),
            )  # fmt: skip
            changed = {"on_run_completed": None, "order": order, **changed}
        order = CreateCron(
            tenant=TENANT, cron_id=uuid4(), thread_id=thread_id, plan=self.plan(schedule, **changed)
        )
        return orjson.loads(await self.schedulers[0].create_cron(order))

    async def tick(self) -> None:
        """Both look at the same moment."""
        await asyncio.gather(*(each.fire() for each in self.schedulers))

    async def pass_time(self, *, until: datetime, step_s: float) -> list[datetime]:
        """Tick by tick; when a run came to be."""
        fired: list[datetime] = []
        while self.clock.now_utc() < until:
            self.clock.advance(step_s)
            before = len(self.told)
            await self.tick()
            fired += [self.clock.now_utc()] * (len(self.told) - before)
        return fired

    async def row(self, cron_id: str) -> dict[str, Any] | None:
        row = await self.desk.backbone.pool.fetchrow(
            "SELECT * FROM crons WHERE cron_id = $1", UUID(cron_id)
        )
        return None if row is None else dict(row)

    async def runs(self) -> list[dict[str, Any]]:
        rows = await self.desk.backbone.pool.fetch("SELECT * FROM runs ORDER BY position")
        return [dict(row) for row in rows]

    async def places(self) -> list[UUID]:
        """The threads of all runs."""
        return [run["thread_id"] for run in await self.runs()]

    async def thread(self) -> UUID:
        thread_id = uuid4()
        await self.desk.backbone.pool.execute(
            "INSERT INTO threads (thread_id, tenant) VALUES ($1, $2)", thread_id, TENANT
        )
        return thread_id


@pytest.fixture
async def shift(desk: Any) -> AsyncIterator[Shift]:
    backbone, clock, assistant_id = desk.backbone, ManualClock(), uuid4()
    told: list[CreateRun] = []

    async def tell(order: CreateRun, admitted: Admitted) -> None:
        del admitted
        told.append(order)

    def scheduler() -> Crons:
        admissions = Admissions(backbone.pool, backbone.outbox, backbone.messages, desk.dispatch)
        kept = Kept(backbone.pool, admissions, find_assistant=find_assistant)
        return Crons(kept, tell, clock, Metrics(), late_s_max=GRACE_S)

    await backbone.pool.execute(
        "INSERT INTO assistants (tenant, assistant_id, graph_id, name, config, context, metadata)"
        " VALUES ($1, $2, 'agent', 'a', $3, $4, $5)",
        TENANT,
        assistant_id,
        '{"configurable": {"below": 1, "own": 0}, "tags": ["t"]}',
        '{"below": 1, "own": 0}',
        '{"of": "assistant"}',
    )
    yield Shift(desk, clock, [scheduler(), scheduler()], told, assistant_id)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def set_to(shift: Shift, moment: datetime) -> None:
    shift.clock.advance((moment - shift.clock.now_utc()).total_seconds())


async def test_a_slot_is_fired_once_with_two_schedulers(shift: Shift) -> None:
    crons = [await shift.create("* * * * * */10") for _ in range(5)]
    fired = await shift.pass_time(until=at("2026-01-01 00:01:00"), step_s=5)
    assert len(fired) == 5 * 6
    assert {moment.second % 10 for moment in fired} == {0}
    of_cron = [orjson.loads(run["metadata"])["cron_id"] for run in await shift.runs()]
    assert sorted(of_cron) == sorted(cron["cron_id"] for cron in crons for _ in range(6))


async def test_hundreds_that_are_due_at_once_are_fired_once_each(shift: Shift) -> None:
    """More than one look finds, with two schedulers, and some on the same thread."""
    threads = [await shift.thread() for _ in range(20)]
    crons = [await shift.create("0 * * * *") for _ in range(300)]
    crons += [await shift.create("0 * * * *", thread_id=threads[n % 20]) for n in range(60)]
    set_to(shift, at("2026-01-01 01:00"))
    await shift.tick()
    of_cron = [orjson.loads(run["metadata"])["cron_id"] for run in await shift.runs()]
    assert sorted(of_cron) == sorted(cron["cron_id"] for cron in crons)
    assert len(shift.told) == len(crons)


async def test_a_cron_whose_thread_somebody_is_at_waits_and_holds_up_no_other(
    shift: Shift,
) -> None:
    busy, free = await shift.thread(), await shift.thread()
    for thread_id in (busy, free):
        await shift.create("0 * * * *", thread_id=thread_id)
    set_to(shift, at("2026-01-01 01:00"))
    async with shift.desk.backbone.pool.acquire() as connection:
        async with connection.transaction():
            await connection.execute("SELECT FROM threads WHERE thread_id = $1 FOR UPDATE", busy)
            firing = asyncio.create_task(shift.tick())
            await eventually(lambda: shift.places(), equals=[free], within_s=10)
        await firing
    assert set(await shift.places()) == {busy, free}


async def test_a_daily_cron_fires_once_a_day_when_the_clock_jumps(shift: Shift) -> None:
    set_to(shift, at("2026-03-27 12:00"))
    await shift.create("30 2 * * *", timezone="Europe/Berlin")
    fired = await shift.pass_time(until=at("2026-03-31 12:00"), step_s=1800)
    assert fired == [
        at("2026-03-28 01:30"), at("2026-03-29 01:00"), at("2026-03-30 00:30"),
        at("2026-03-31 00:30"),
    ]  # fmt: skip


async def test_a_daily_cron_fires_once_a_day_when_the_clock_repeats(shift: Shift) -> None:
    set_to(shift, at("2026-10-24 12:00"))
    await shift.create("30 2 * * *", timezone="Europe/Berlin")
    fired = await shift.pass_time(until=at("2026-10-27 12:00"), step_s=1800)
    assert fired == [at("2026-10-25 00:30"), at("2026-10-26 01:30"), at("2026-10-27 01:30")]


@pytest.mark.parametrize("day", ["2026-03-28", "2026-10-24"])
async def test_an_hourly_cron_fires_every_hour_across_the_change(shift: Shift, day: str) -> None:
    start = at(f"{day} 12:00")
    set_to(shift, start)
    await shift.create("0 * * * *", timezone="Europe/Berlin")
    fired = await shift.pass_time(until=start + timedelta(hours=24), step_s=1800)
    assert fired == [start + timedelta(hours=hour) for hour in range(1, 25)]
    assert {moment.astimezone(ZoneInfo("Europe/Berlin")).minute for moment in fired} == {0}


async def test_slots_that_nobody_saw_are_not_made_up(shift: Shift) -> None:
    cron = await shift.create("0 * * * *")
    set_to(shift, at("2026-01-01 05:30"))
    await shift.tick()
    assert await shift.runs() == []
    row = await shift.row(cron["cron_id"])
    assert row is not None
    assert row["next_run_at"] == at("2026-01-01 06:00")


async def test_a_slot_is_still_fired_a_moment_late_and_once(shift: Shift) -> None:
    await shift.create("* * * * * *")
    set_to(shift, at("2026-01-01 00:00:31"))
    await shift.tick()
    assert len(await shift.runs()) == 1


async def test_after_its_end_time_a_cron_is_not_fired(shift: Shift) -> None:
    cron = await shift.create("0 * * * *", end_time=at("2026-01-01 02:00"))
    other = await shift.create("0 * * * *")
    fired = await shift.pass_time(until=at("2026-01-01 04:00"), step_s=600)
    assert len(fired) == 2 + 4
    row = await shift.row(cron["cron_id"])
    assert row is not None
    assert row["next_run_at"] is None
    assert (await shift.row(other["cron_id"])) is not None


async def test_switched_off_it_rests_and_switched_on_it_goes_on_from_now(shift: Shift) -> None:
    cron = await shift.create("0 * * * *", enabled=False)
    assert cron["next_run_date"] is None
    assert await shift.pass_time(until=at("2026-01-01 03:10"), step_s=600) == []
    on = UpdateCron(
        tenant=TENANT, cron_id=cron["cron_id"], revision=1, plan=shift.plan("0 * * * *")
    )
    again = orjson.loads(await shift.schedulers[1].update_cron(on))
    assert again["next_run_date"].startswith("2026-01-01T04:00:00")


async def test_an_update_of_what_was_changed_meanwhile_is_a_conflict(shift: Shift) -> None:
    cron = await shift.create("0 * * * *")
    update = UpdateCron(
        tenant=TENANT, cron_id=cron["cron_id"], revision=1, plan=shift.plan("30 * * * *")
    )
    await shift.schedulers[0].update_cron(update)
    with pytest.raises(Conflict):
        await shift.schedulers[1].update_cron(update)
    with pytest.raises(NotFound):
        await shift.schedulers[1].update_cron(update.model_copy(update={"cron_id": uuid4()}))


async def test_the_run_is_the_crons_over_what_the_assistant_says_now(shift: Shift) -> None:
    cron = await shift.create("0 * * * *", on_run_completed=OnCompletion.KEEP,
                              order=run_order(deletes_thread=False))  # fmt: skip
    await shift.desk.backbone.pool.execute(
        """UPDATE assistants SET config = config || '{"recursion_limit": 7}'"""
    )
    await shift.pass_time(until=at("2026-01-01 01:00"), step_s=1800)
    (run,) = await shift.runs()
    kwargs = orjson.loads(run["kwargs"])
    assert kwargs["input"] == {"n": 1}
    assert kwargs["context"] == {"below": 1, "own": 1}
    assert kwargs["config"]["recursion_limit"] == 7
    assert kwargs["config"]["tags"] == ["t"]
    configurable = kwargs["config"]["configurable"]
    assert configurable["cron_id"] == cron["cron_id"]
    assert (configurable["below"], configurable["own"]) == (1, 1)
    metadata = orjson.loads(run["metadata"])
    assert metadata["cron_id"] == cron["cron_id"]
    assert (metadata["of"], metadata["asked"], metadata["team"]) == (
        "assistant", "by day", "night",
    )  # fmt: skip
    thread = await shift.desk.backbone.pool.fetchval(
        "SELECT metadata FROM threads WHERE thread_id = $1", run["thread_id"]
    )
    assert orjson.loads(thread) == {
        "team": "night", "cron_id": cron["cron_id"], "graph_id": "agent",
        "assistant_id": str(shift.assistant_id),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("strategy", "runs"),
    [
        (MultitaskStrategy.ENQUEUE, [True, True]),
        (MultitaskStrategy.REJECT, [True]),
        (MultitaskStrategy.INTERRUPT, [False, True]),
        (MultitaskStrategy.ROLLBACK, [True]),
    ],
)
async def test_a_cron_of_a_thread_keeps_to_its_strategy(
    shift: Shift, strategy: MultitaskStrategy, runs: list[bool]
) -> None:
    thread_id = await shift.thread()
    cron = await shift.create("0 * * * *", thread_id=thread_id, strategy=strategy)
    await shift.pass_time(until=at("2026-01-01 02:00"), step_s=1800)
    found = await shift.runs()
    assert [run["status"] == "pending" for run in found] == runs
    assert {run["thread_id"] for run in found} == {thread_id}
    row = await shift.row(cron["cron_id"])
    assert row is not None
    assert row["next_run_at"] == at("2026-01-01 03:00")


async def test_a_cron_goes_with_its_thread(shift: Shift) -> None:
    thread_id = await shift.thread()
    cron = await shift.create("0 * * * *", thread_id=thread_id)
    await shift.desk.backbone.threads.delete([thread_id], tenant=TENANT)
    assert await shift.row(cron["cron_id"]) is None
    assert await shift.pass_time(until=at("2026-01-01 02:00"), step_s=1800) == []


async def test_deleting_a_thread_while_its_cron_is_fired_neither_fails_nor_hangs(
    shift: Shift,
) -> None:
    threads = [await shift.thread() for _ in range(20)]
    for thread_id in threads:
        await shift.create("0 * * * *", thread_id=thread_id)
    set_to(shift, at("2026-01-01 01:00"))
    await asyncio.gather(
        shift.tick(),
        *(shift.desk.backbone.threads.delete([one], tenant=TENANT) for one in reversed(threads)),
    )
    count = "SELECT (SELECT count(*) FROM crons) + (SELECT count(*) FROM runs)"
    assert await shift.desk.backbone.pool.fetchval(count) == 0


async def test_a_cron_without_its_assistant_is_removed(shift: Shift) -> None:
    first, second = await shift.create("0 * * * *"), await shift.create("30 * * * *")
    gone = DeleteCronsOfAssistant(tenant=TENANT, assistant_id=uuid4())
    await shift.schedulers[0].delete_crons_of_assistant(gone)
    assert await shift.row(second["cron_id"]) is not None
    await shift.desk.backbone.pool.execute("DELETE FROM assistants")
    await shift.pass_time(until=at("2026-01-01 01:00"), step_s=1800)
    assert await shift.row(first["cron_id"]) is None
    assert await shift.row(second["cron_id"]) is None
    assert await shift.runs() == []


async def test_orders_may_come_twice(shift: Shift) -> None:
    order = CreateCron(tenant=TENANT, cron_id=uuid4(), thread_id=None, plan=shift.plan("0 * * * *"))
    first = await shift.schedulers[0].create_cron(order)
    assert await shift.schedulers[1].create_cron(order) == first
    gone = DeleteCron(tenant=TENANT, cron_id=order.cron_id)
    await shift.schedulers[0].delete_cron(gone)
    with pytest.raises(NotFound):
        await shift.schedulers[0].delete_cron(gone)
    with pytest.raises(NotFound):
        await shift.create("0 * * * *", thread_id=uuid4())


async def test_a_cron_that_cannot_be_read_holds_up_no_other(shift: Shift) -> None:
    broken, whole = await shift.create("0 * * * *"), await shift.create("0 * * * *")
    await shift.desk.backbone.pool.execute(
        "UPDATE crons SET schedule = 'x' WHERE cron_id = $1", UUID(broken["cron_id"])
    )
    await shift.pass_time(until=at("2026-01-01 02:00"), step_s=1800)
    of_cron = {orjson.loads(run["metadata"])["cron_id"] for run in await shift.runs()}
    assert (len(await shift.runs()), of_cron) == (2, {whole["cron_id"]})
    row = await shift.row(broken["cron_id"])
    assert row is not None
    assert row["next_run_at"] is None
