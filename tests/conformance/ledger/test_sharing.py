"""Tickets when there are more runs than the queue may hold."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from bedplate.kernel.fairness import Limits
from bedplate.ledger import Admissions, Dispatch, Messages
from bedplate_proto.subjects import DEFAULT_PREFIX


@pytest.fixture
def shop(books: Any) -> Any:
    """`shop(limits)`: the books with these limits."""

    def with_limits(limits: Limits) -> Any:
        messages = Messages(DEFAULT_PREFIX)
        books.dispatch = Dispatch(books.pool, books.outbox, messages, limits)
        books.admissions = Admissions(books.pool, books.outbox, messages, books.dispatch)
        return books

    return with_limits


async def tickets(books: Any) -> int:
    return await books.pool.fetchval(
        "SELECT count(*) FROM runs WHERE status = 'pending' AND ticketed_at IS NOT NULL"
    )


async def test_the_queue_holds_no_more_than_it_may(shop: Any) -> None:
    books = shop(Limits(tickets=3))
    orders = [books.order() for _ in range(10)]
    admitted = [await books.admissions.create(order) for order in orders]
    assert [one.is_ready for one in admitted] == [False] * 3 + [True] * 7
    assert await books.dispatch.share_out() == 0
    for order in orders[:2]:
        await books.claim(order)
    assert await books.dispatch.share_out() == 2
    assert await tickets(books) == 3
    # Those that have waited longest.
    assert await books.claim(orders[3]) == await books.claim(orders[4]) == 1
    for order in orders:
        await books.assert_consistent(order.thread_id)


async def test_what_waits_is_told_by_group_with_a_ticket_or_without(shop: Any) -> None:
    books = shop(Limits(tickets=1))
    for _ in range(3):
        await books.create(fairness_group="crowd")
    await books.create(fairness_group="quiet")
    crowd, quiet = await books.dispatch.queues(limit=5)
    assert (crowd.group, crowd.runs, quiet.group, quiet.runs) == ("crowd", 3, "quiet", 1)
    assert crowd.oldest_s >= quiet.oldest_s >= 0
    [only] = await books.dispatch.queues(limit=1)
    assert only.group == "crowd"


async def test_another_groups_first_run_waits_for_no_queue(shop: Any) -> None:
    books = shop(Limits(tickets=2))
    crowd = [await books.create(fairness_group="crowd") for _ in range(50)]
    first = await books.create(fairness_group="quiet")
    urgent = await books.create(fairness_group="crowd", priority=-5)
    for order in crowd[:2]:
        await books.claim(order)
    assert await books.dispatch.share_out() == 2
    assert await books.claim(urgent) == await books.claim(first) == 1


async def test_tickets_come_into_the_queue_in_the_order_of_their_shares(shop: Any) -> None:
    books = shop(Limits(tickets=8))
    crowd = [await books.create(fairness_group="crowd") for _ in range(16)]
    wanted = [await books.create(fairness_group=group) for group in ("one", "two", "three")]
    for order in crowd[:8]:
        await books.claim(order)
    await books.flushed()
    books.broker.stored.clear()
    await books.dispatch.share_out()
    await books.flushed()
    queued = [message.msg_id.split(":")[0] for message in books.broker.stored]
    assert queued == [str(order.run_id) for order in (*wanted, *crowd[8:13])]


async def test_a_thread_keeps_the_group_it_got_first(shop: Any) -> None:
    books = shop(Limits(tickets=2))
    order = await books.create(fairness_group="one", priority=2)
    again = await books.create(order.thread_id, fairness_group="two", priority=-1)
    row = await books.run(again.run_id)
    assert (row["fairness_group"], row["priority"]) == ("one", 2)


@pytest.mark.parametrize("limit", ["per_tenant", "per_assistant", "per_user"])
async def test_a_limit_of_running_runs_holds_whoever_shares_out(shop: Any, limit: str) -> None:
    books = shop(Limits(tickets=5, **{limit: 2}))
    orders = [await books.create(user_key="u") for _ in range(6)]
    await asyncio.gather(*[books.dispatch.share_out() for _ in range(4)])
    assert await tickets(books) == 2
    attempts = [await books.claim(order) for order in orders[:2]]
    assert await books.dispatch.share_out() == 0
    await books.ledger.lose({orders[0].run_id: attempts[0]}, failures_max=1, expired_only=False)
    assert await books.dispatch.share_out() == 1
    other = await books.create(
        user_key="v", assistant_id=uuid4(), tenant="other" if limit == "per_tenant" else "default"
    )
    assert await books.dispatch.share_out() == 1
    assert await books.claim(other) == 1


async def test_a_ready_run_that_is_cancelled_leaves_its_place(shop: Any) -> None:
    books = shop(Limits(tickets=1))
    running = await books.create()
    ready = await books.create()
    behind = await books.create(ready.thread_id)
    await books.admissions.cancel(
        ready.run_id, ready.thread_id, tenant="default", action="interrupt"
    )
    turn = await books.dispatch.dispatch_next(ready.thread_id)
    assert turn.is_ready
    await books.claim(running)
    assert await books.dispatch.share_out() == 1
    assert await books.claim(behind) == 1
    [] = await books.dispatch.queues(limit=5)
