"""Leases: renewed, run out, and given back."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

from bedplate.kernel.run import Ending, Run
from bedplate.ledger import Applied
from bedplate_proto.runs import EVENTS_SKIPPED
from bedplate_proto.vocabulary import CancelAction, RunStatus

TICKETS = "bedplate.v1.dispatch.default.normal"

FINISHED = "bedplate.v1.lc.default.run.finished"


async def test_a_renewal_answers_for_each_run(books: Any, outcome: Any) -> None:
    held, a = await books.running()
    asked, b = await books.running()
    stale, c = await books.running()
    over, d = await books.running()
    await books.admissions.cancel(
        asked.run_id, asked.thread_id, tenant="default", action=CancelAction.ROLLBACK
    )
    await books.ledger.finish(books.about(over, d), outcome())
    gone = uuid4()
    claims = {held: a, asked: b, stale: c + 1, over: d}
    renewed = await books.ledger.renew(
        {order.run_id: attempt for order, attempt in claims.items()} | {gone: 1}, lease_s=500
    )
    assert renewed.held == {held.run_id: None, asked.run_id: CancelAction.ROLLBACK}
    assert renewed.superseded == {stale.run_id, over.run_id, gone}
    remaining = await books.pool.fetch(
        "SELECT run_id FROM runs WHERE lease_until > now() + interval '400 seconds'"
    )
    assert {row["run_id"] for row in remaining} == {held.run_id, asked.run_id}


async def test_a_lease_that_ran_out_is_renewable_until_somebody_took_the_run(books: Any) -> None:
    order = await books.create()
    attempt = await books.claim(order, lease_s=-1)
    renewed = await books.ledger.renew({order.run_id: attempt}, lease_s=60)
    assert renewed.held == {order.run_id: None}
    assert await books.ledger.find_expired(limit=10) == []


async def test_only_a_lease_that_ran_out_expires(books: Any) -> None:
    alive = await books.create()
    await books.claim(alive)
    dead = await books.create()
    attempt = await books.claim(dead, lease_s=-1)
    assert await books.ledger.find_expired(limit=10) == [(dead.run_id, attempt)]
    lost = await books.ledger.lose(
        {alive.run_id: 1, dead.run_id: attempt}, failures_max=3, expired_only=True
    )
    assert [each.run_id for each in lost] == [dead.run_id]
    assert await books.state(alive.run_id) == Run(RunStatus.RUNNING, 1)
    assert await books.state(dead.run_id) == Run(RunStatus.PENDING, 1, failures=1)


async def test_a_renewal_that_came_first_saves_the_run_from_expiry(books: Any) -> None:
    order = await books.create()
    attempt = await books.claim(order, lease_s=-1)
    (expired,) = await books.ledger.find_expired(limit=10)
    await books.ledger.renew({order.run_id: attempt}, lease_s=60)
    assert await books.ledger.lose(dict([expired]), failures_max=3, expired_only=True) == []


async def test_a_run_whose_attempts_all_die_ends_in_error(books: Any) -> None:
    order, attempt = await books.running(kwargs='{"webhook": "https://x.test/"}')
    behind = await books.create(order.thread_id)
    for failures in (1, 2):
        (lost,) = await books.ledger.lose(
            {order.run_id: attempt}, failures_max=3, expired_only=False
        )
        assert not lost.is_last
        assert await books.state(order.run_id) == Run(RunStatus.PENDING, attempt, failures)
        attempt = await books.claim(order)
    await books.flushed()
    tickets = [each.msg_id for each in books.broker.stored if each.subject == TICKETS]
    assert tickets == [f"{order.run_id}:2", f"{order.run_id}:3"]
    books.broker.stored.clear()
    (lost,) = await books.ledger.lose({order.run_id: attempt}, failures_max=3, expired_only=False)
    assert lost.is_last
    assert (lost.thread_id, lost.tenant, lost.attempt) == (order.thread_id, "default", 3)
    assert await books.state(order.run_id) == Run(RunStatus.ERROR, 3, 3)
    assert json.loads((await books.run(order.run_id))["error"])["error"] == "WorkerLost"
    await books.flushed()
    (message,) = books.broker.stored
    data = json.loads(message.body)["data"]
    assert (message.subject, data["status"], data["has_next"]) == (FINISHED, "error", True)
    assert (data["webhook"], data["error"]["error"]) == ("https://x.test/", "WorkerLost")
    thread = await books.thread(order.thread_id)
    assert (thread["status"], thread["settled_status"]) == ("busy", "error")
    assert await books.dispatch.dispatch_next(order.thread_id)
    assert await books.claim(behind) == 1


async def test_numbers_go_on_beyond_what_dead_attempts_may_have_written(
    books: Any, outcome: Any
) -> None:
    before, attempt = await books.running()
    await books.ledger.finish(books.about(before, attempt), outcome(events_n=7))
    order, attempt = await books.running(thread_id=before.thread_id)
    (lost,) = await books.ledger.lose({order.run_id: attempt}, failures_max=1, expired_only=False)
    assert lost.events_n == 7
    after = await books.create(before.thread_id)
    (claimed,) = await books.ledger.claim([after.run_id], by="x", lease_s=60)
    assert claimed.events_n == 7 + 2 * EVENTS_SKIPPED


async def test_a_finish_never_turns_the_numbers_back(books: Any, outcome: Any) -> None:
    first, attempt = await books.running()
    await books.ledger.finish(books.about(first, attempt), outcome(events_n=9))
    for ending in (Ending.SUCCESS, Ending.ROLLED_BACK):
        order, attempt = await books.running(thread_id=first.thread_id)
        await books.ledger.finish(books.about(order, attempt), outcome(ending, events_n=0))
        assert (await books.thread(first.thread_id))["events_n"] == 9


async def test_a_released_run_gets_a_new_ticket_and_spends_no_failure(books: Any) -> None:
    one, a = await books.running()
    two, b = await books.running()
    held = {one.run_id: a, two.run_id: b, uuid4(): 1}
    assert await books.ledger.release(held) == 2
    assert await books.ledger.release(held) == 0
    await books.flushed()
    assert {each.msg_id for each in books.broker.stored} == {f"{one.run_id}:2", f"{two.run_id}:2"}
    assert await books.state(one.run_id) == Run(RunStatus.PENDING, 1)
    assert (await books.thread(one.thread_id))["current_run"] == one.run_id
    assert await books.claim(one) == 2


async def test_a_released_run_is_still_its_threads_first(books: Any) -> None:
    order, attempt = await books.running()
    behind = await books.create(order.thread_id)
    await books.ledger.release({order.run_id: attempt})
    assert not await books.dispatch.dispatch_next(order.thread_id)
    claimed = await books.ledger.claim([behind.run_id, order.run_id], by="x", lease_s=60)
    assert [each.run_id for each in claimed] == [order.run_id]


async def test_of_a_finish_and_an_expiry_at_once_one_wins(books: Any, outcome: Any) -> None:
    for _ in range(30):
        order = await books.create()
        attempt = await books.claim(order, lease_s=-1)
        closed, lost = await asyncio.gather(
            books.ledger.finish(books.about(order, attempt), outcome()),
            books.ledger.lose({order.run_id: attempt}, failures_max=1, expired_only=True),
        )
        assert (closed == Applied()) != bool(lost)
        await books.assert_consistent(order.thread_id)


async def test_a_thread_is_blank_until_it_has_a_checkpoint(books: Any) -> None:
    async def claimed(order: Any) -> Any:
        (found,) = await books.ledger.claim([order.run_id], by="executor-1", lease_s=60)
        return found

    first = await books.create()
    assert (await claimed(first)).is_blank
    # What the first attempt was about to commit may not be seen by the one that takes over.
    await books.ledger.release({first.run_id: 1})
    assert not (await claimed(first)).is_blank

    second = await books.create()
    await books.pool.execute(
        "INSERT INTO checkpoints (thread_id, checkpoint_id, checkpoint) VALUES ($1, 'c', '{}')",
        str(second.thread_id),
    )
    assert not (await claimed(second)).is_blank
