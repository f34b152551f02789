"""Threads: made, changed, copied and removed, also while a run is at work on them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from bedplate.kernel.errors import Conflict, NotFound, Refused
from bedplate.ledger import Missing, NewThread, ThreadChange, Threads
from bedplate_proto.threads import CopyThread
from bedplate_proto.vocabulary import IfExists, ThreadStatus


def creation(thread_id: UUID | None = None, **changed: Any) -> NewThread:
    order = NewThread(
        tenant="default",
        thread_id=thread_id or uuid4(),
        metadata='{"a": 1}',
        if_exists=IfExists.RAISE,
    )
    return replace(order, **changed)


async def test_a_thread_is_shown_as_it_was_made(books: Any) -> None:
    order = creation()
    row = json.loads(await books.threads.create(order))
    assert row["thread_id"] == str(order.thread_id)
    assert (row["status"], row["metadata"], row["values"]) == ("idle", {"a": 1}, None)
    assert (row["interrupts"], row["config"]) == ({}, {})


async def test_a_thread_that_exists_is_returned_or_refused_as_wished(books: Any) -> None:
    order = creation()
    first = await books.threads.create(order)
    with pytest.raises(Conflict):
        await books.threads.create(order)
    again = creation(order.thread_id, metadata="{}", if_exists=IfExists.DO_NOTHING)
    assert json.loads(await books.threads.create(again)) == json.loads(first)


async def test_another_tenants_thread_is_a_conflict_and_stays_unseen(books: Any) -> None:
    order = creation()
    await books.threads.create(order)
    for if_exists in IfExists:
        with pytest.raises(Conflict):
            await books.threads.create(
                creation(order.thread_id, tenant="other", if_exists=if_exists)
            )


async def test_the_same_thread_made_many_times_at_once_is_one_for_all(books: Any) -> None:
    for _ in range(20):
        order = creation(if_exists=IfExists.DO_NOTHING)
        rows = await asyncio.gather(*[books.threads.create(order) for _ in range(6)])
        assert len({json.loads(row)["created_at"] for row in rows}) == 1


async def test_metadata_is_merged_key_by_key(books: Any) -> None:
    order = creation(metadata='{"a": {"x": 1}, "b": 1}')
    await books.threads.create(order)
    update = ThreadChange(tenant="default", thread_id=order.thread_id, metadata='{"a": {"y": 2}}')
    row = json.loads(await books.threads.update(update))
    assert row["metadata"] == {"a": {"y": 2}, "b": 1}
    for changed in ({"tenant": "other"}, {"thread_id": uuid4()}):
        with pytest.raises(NotFound):
            await books.threads.update(replace(update, **changed))


async def test_metadata_that_postgresql_cannot_hold_is_refused(books: Any) -> None:
    order = creation()
    await books.threads.create(order)
    for text in ('{"a": "\\u0000"}', "{"):
        with pytest.raises(Refused, match="metadata"):
            await books.threads.create(creation(metadata=text))
        with pytest.raises(Refused, match="metadata"):
            await books.threads.update(
                ThreadChange(tenant="default", thread_id=order.thread_id, metadata=text)
            )


async def test_deleting_a_thread_stops_the_run_that_works_on_it(books: Any, outcome: Any) -> None:
    order = await books.create()
    behind = await books.create(order.thread_id)
    attempt = await books.claim(order)
    deleted = await books.threads.delete([order.thread_id, uuid4()], tenant="default")
    assert deleted == {order.thread_id: order.run_id}
    assert await books.run(behind.run_id) is None
    renewed = await books.ledger.renew({order.run_id: attempt}, lease_s=60)
    assert renewed.superseded == {order.run_id}
    assert await books.ledger.finish(books.about(order, attempt), outcome()) == Missing()
    assert await books.ledger.release({order.run_id: attempt}) == 0
    assert not await books.dispatch.dispatch_next(order.thread_id)


async def test_another_tenants_threads_are_not_deleted(books: Any) -> None:
    order = await books.create()
    assert await books.threads.delete([order.thread_id], tenant="other") == {}
    assert await books.thread(order.thread_id) is not None


async def test_checkpoints_go_in_the_same_transaction_as_their_threads(books: Any) -> None:
    order = await books.create()
    forgotten: list[UUID] = []

    async def forget(connection: Any, thread_ids: Any) -> None:
        assert connection.is_in_transaction()
        forgotten.extend(thread_ids)
        raise ConnectionResetError

    threads = Threads(books.pool, forget=forget, copy=no_copy, prune=no_prune)
    with pytest.raises(ConnectionResetError):
        await threads.delete([order.thread_id, uuid4()], tenant="default")
    assert forgotten == [order.thread_id]
    assert await books.thread(order.thread_id) is not None


async def test_deleting_many_threads_never_deadlocks_with_the_keepers_of_their_runs(
    books: Any,
) -> None:
    for _ in range(15):
        orders = [await books.create() for _ in range(20)]
        ids = [order.run_id for order in orders]
        await books.ledger.claim(ids, by="x", lease_s=60)
        backwards = sorted((order.thread_id for order in orders), reverse=True)
        await asyncio.gather(
            *[books.ledger.renew(dict.fromkeys(ids, 1), lease_s=60) for _ in range(4)],
            books.ledger.lose(dict.fromkeys(ids, 1), failures_max=3, expired_only=False),
            books.threads.delete(backwards, tenant="default"),
            books.ledger.claim(ids, by="y", lease_s=60),
            books.ledger.release(dict.fromkeys(ids, 2)),
        )
        assert await books.pool.fetchval("SELECT count(*) FROM runs") == 0


async def test_a_copy_shows_what_the_thread_shows_and_has_no_runs(books: Any, outcome: Any) -> None:
    order = await books.create(thread_metadata='{"m": 1}', thread_config='{"c": 1}')
    attempt = await books.claim(order)
    await books.ledger.finish(
        books.about(order, attempt),
        outcome(values='{"v": 1}', thread_status=ThreadStatus.INTERRUPTED, events_n=5),
    )
    await books.create(order.thread_id, thread_config='{"c": 1}')
    copied: list[tuple[UUID, UUID]] = []

    async def copy(connection: Any, source: UUID, target: UUID) -> None:
        assert connection.is_in_transaction()
        copied.append((source, target))

    threads = Threads(books.pool, forget=no_forget, copy=copy, prune=no_prune)
    copy_id = uuid4()
    message = CopyThread(tenant="default", thread_id=order.thread_id, copy_id=copy_id)
    row = json.loads(await threads.copy(message))
    assert copied == [(order.thread_id, copy_id)]
    assert row["thread_id"] == str(copy_id)
    # The thread itself is busy with its second run, the copy is not.
    assert (row["status"], row["values"]) == ("interrupted", {"v": 1})
    assert (row["metadata"], row["config"]) == ({"m": 1}, {"c": 1})
    thread = await books.thread(copy_id)
    assert (thread["runs_active"], thread["current_run"], thread["events_n"]) == (0, None, 0)
    await books.assert_consistent(copy_id)
    with pytest.raises(Conflict):
        await threads.copy(message)
    for changed in ({"tenant": "other"}, {"thread_id": uuid4()}):
        with pytest.raises(NotFound):
            await threads.copy(message.model_copy(update={"copy_id": uuid4(), **changed}))


async def test_an_edited_state_is_shown_unless_a_run_is_in_flight(books: Any, outcome: Any) -> None:
    async def edit(thread_id: UUID) -> bool:
        return await books.threads.record_state(
            thread_id,
            values='{"edited": 1}',
            interrupts="{}",
            status=ThreadStatus.INTERRUPTED,
        )

    order = await books.create()
    assert not await edit(order.thread_id)
    attempt = await books.claim(order)
    assert not await edit(order.thread_id)
    await books.ledger.finish(books.about(order, attempt), outcome())
    assert await edit(order.thread_id)
    thread = await books.thread(order.thread_id)
    assert (thread["status"], json.loads(thread["values"])) == ("interrupted", {"edited": 1})
    assert not await edit(uuid4())


async def test_a_sweep_takes_every_tenants_doomed_threads(books: Any) -> None:
    orders = [
        await books.create(tenant=tenant, is_temporary=True, deletes_thread=True)
        for tenant in ("default", "other", "other")
    ]
    kept = await books.create()
    await books.pool.execute(
        "UPDATE threads SET doomed_at = now() - interval '1 hour' WHERE thread_id = ANY($1)",
        [order.thread_id for order in orders],
    )
    assert await books.threads.sweep_doomed(older_than_s=7200, limit=10) == 0
    assert await books.threads.sweep_doomed(older_than_s=60, limit=2) == 2
    assert await books.threads.sweep_doomed(older_than_s=60, limit=2) == 1
    left = await books.pool.fetch("SELECT thread_id FROM threads")
    assert [row["thread_id"] for row in left] == [kept.thread_id]


async def no_forget(connection: Any, thread_ids: Any) -> None:
    del connection, thread_ids


async def no_prune(connection: Any, thread_id: UUID) -> None:
    del connection, thread_id


async def no_copy(connection: Any, source: UUID, target: UUID) -> None:
    del connection, source, target
