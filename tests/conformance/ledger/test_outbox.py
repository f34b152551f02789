"""A change and its messages are committed together, and what was committed is published."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from bedplate.kernel.errors import NotFound, Unavailable
from bedplate.ledger import Outbox, Outgoing
from bedplate.testing.eventually import eventually


async def leave_behind(books: Any, count: int) -> list[str]:
    """Runs whose writer died between commit and flush; the message ids, oldest first."""
    books.broker.is_up = False
    for _ in range(count):
        await books.create()
    await books.flushed()
    books.broker.is_up = True
    return [message.msg_id for message in await books.waiting_messages()]


async def test_what_was_written_is_published_at_once_and_then_deleted(books: Any) -> None:
    await books.create()
    await books.flushed()
    assert len(books.broker.stored) == 2
    assert await books.waiting_messages() == []


async def test_what_is_published_is_what_was_written(books: Any) -> None:
    books.broker.is_up = False
    await books.create()
    await books.flushed()
    written = await books.waiting_messages()
    books.broker.is_up = True
    await books.outbox.flush(written)
    assert books.broker.stored == written
    for message in written:
        assert message.outbox_id > 0


async def test_a_broker_that_is_away_fails_no_verb(books: Any, outcome: Any) -> None:
    books.broker.is_up = False
    order = await books.create()
    attempt = await books.claim(order)
    await books.ledger.release({order.run_id: attempt})
    attempt = await books.claim(order)
    await books.ledger.finish(books.about(order, attempt), outcome())
    await books.flushed()
    kinds = [each.msg_id.partition(":")[2] for each in await books.waiting_messages()]
    assert kinds == ["1", "run.created", "2", "run.finished"]


async def test_what_the_broker_took_before_it_went_away_is_deleted(books: Any) -> None:
    taken: list[Outgoing] = []

    async def takes_one(row: Outgoing) -> None:
        if taken:
            raise Unavailable
        taken.append(row)

    def spawn(work: Any) -> object:
        return books.tasks.start(work, "outbox")

    await leave_behind(books, 1)
    rows = await books.waiting_messages()
    await Outbox(books.pool, takes_one, spawn=spawn).flush(rows)
    await books.flushed()
    assert await books.waiting_messages() == rows[1:]


async def test_the_relay_publishes_in_order_what_a_dead_writer_left(books: Any) -> None:
    left = await leave_behind(books, 5)
    assert await books.outbox.relay(older_than_s=60) == 0
    assert await books.outbox.relay(older_than_s=0, limit=4) == 4
    assert await books.outbox.relay(older_than_s=0) == 6
    assert [message.msg_id for message in books.broker.stored] == left
    assert await books.waiting_messages() == []


async def test_a_relay_that_meets_a_broken_broker_keeps_the_rest(books: Any) -> None:
    left = await leave_behind(books, 3)
    stored: list[str] = []

    async def breaks(row: Outgoing) -> None:
        if len(stored) == 2:
            raise Unavailable
        stored.append(row.msg_id)

    outbox = Outbox(books.pool, breaks, spawn=lambda work: work.close())
    assert await outbox.relay(older_than_s=0) == 2
    assert stored == left[:2]
    assert [message.msg_id for message in await books.waiting_messages()] == left[2:]


async def test_a_relay_that_is_killed_loses_nothing(books: Any) -> None:
    left = await leave_behind(books, 2)
    reached = asyncio.Event()

    async def hangs(row: Outgoing) -> None:
        del row
        reached.set()
        await asyncio.Event().wait()

    outbox = Outbox(books.pool, hangs, spawn=lambda work: work.close())
    async with asyncio.TaskGroup() as group:
        relaying = group.create_task(outbox.relay(older_than_s=0))
        await reached.wait()
        relaying.cancel()
    assert await books.outbox.relay(older_than_s=0) == 4
    assert [message.msg_id for message in books.broker.stored] == left


async def test_relays_at_once_publish_each_row_once(books: Any) -> None:
    left = await leave_behind(books, 40)

    async def relay_all() -> int:
        total = 0
        while (count := await books.outbox.relay(older_than_s=0, limit=7)) > 0:
            total += count
        return total

    totals = await asyncio.gather(*[relay_all() for _ in range(4)])
    assert sum(totals) == len(left)
    assert sorted(message.msg_id for message in books.broker.stored) == sorted(left)


async def test_a_row_whose_transaction_commits_late_is_not_skipped(books: Any) -> None:
    async with books.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(
            "INSERT INTO outbox (msg_id, subject, body) VALUES ('late', 's', '{}')"
        )
        await leave_behind(books, 1)
        assert await books.outbox.relay(older_than_s=0) == 2
        await transaction.commit()
    await eventually(lambda: books.outbox.relay(older_than_s=0), equals=1, within_s=5)
    assert books.broker.stored[-1].msg_id == "late"


async def test_a_parcel_comes_back_as_it_was_until_it_is_swept(books: Any) -> None:
    body = bytes(range(256)) * 8192
    parcel_id = await books.parcels.put(body)
    await books.parcels.sweep(older_than_s=60)
    assert await books.parcels.get(parcel_id) == body
    await books.parcels.sweep(older_than_s=-1)
    for unknown in (parcel_id, uuid4()):
        with pytest.raises(NotFound):
            await books.parcels.get(unknown)
