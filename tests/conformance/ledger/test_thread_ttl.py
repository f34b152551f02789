"""How long threads live: what is promised when they are made, and what a sweep takes."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from bedplate.ledger import Admissions, NewThread, ThreadChange, Threads
from bedplate_proto.threads import CopyThread, ThreadTtl
from bedplate_proto.vocabulary import IfExists, TtlStrategy

HOUR = ThreadTtl(minutes=60)
KEEPS = ThreadTtl(minutes=60, strategy=TtlStrategy.KEEP_LATEST)


async def made(books: Any, ttl: ThreadTtl | None = HOUR, **given: Any) -> UUID:
    order = NewThread(
        tenant="default", thread_id=uuid4(), metadata="{}", if_exists=IfExists.RAISE, ttl=ttl
    )
    await books.threads.create(order, **given)
    return order.thread_id


async def passes(books: Any, *thread_ids: UUID, minutes: float) -> None:
    """Time goes by for these threads, or for all."""
    await books.pool.execute(
        "UPDATE threads SET updated_at = updated_at - $1::float8 * interval '1 minute',"
        " pruned_at = pruned_at - $1::float8 * interval '1 minute'"
        " WHERE thread_id = ANY($2) OR cardinality($2::uuid[]) = 0",
        minutes,
        list(thread_ids),
    )


async def ttl(books: Any, thread_id: UUID) -> Any:
    shown = await books.pool.fetchval(
        "SELECT thread_ttl_json(threads) FROM threads WHERE thread_id = $1", thread_id
    )
    return None if shown is None else json.loads(shown)


async def left(books: Any) -> set[UUID]:
    return {row["thread_id"] for row in await books.pool.fetch("SELECT thread_id FROM threads")}


async def sweep(books: Any, strategy: TtlStrategy = TtlStrategy.DELETE, limit: int = 100) -> int:
    return await books.threads.sweep_ended(strategy=strategy, limit=limit)


async def test_a_thread_ends_a_time_after_its_last_update(books: Any) -> None:
    old, touched, other = [await made(books) for _ in range(3)]
    await passes(books, minutes=59)
    assert await sweep(books) == 0
    update = ThreadChange(tenant="default", thread_id=touched, metadata='{"a": 1}')
    await books.threads.update(update)
    await passes(books, minutes=2)
    assert await sweep(books) == 2
    assert await left(books) == {touched}
    assert {old, other} & await left(books) == set()


async def test_what_is_shown_is_when_it_is_swept(books: Any) -> None:
    thread_id = await made(books, ThreadTtl(minutes=1.5, strategy=TtlStrategy.KEEP_LATEST))
    shown = await ttl(books, thread_id)
    assert (shown["strategy"], shown["ttl_minutes"]) == ("keep_latest", 1.5)
    at = await books.pool.fetchval(
        "SELECT extract(epoch FROM $2::text::timestamptz - updated_at)::float8"
        " FROM threads WHERE thread_id = $1",
        thread_id,
        shown["expires_at"],
    )
    assert at == 90


async def test_the_default_counts_unless_something_is_given(books: Any) -> None:
    by_default = await made(books, None, default_ttl=KEEPS)
    given = await made(books, HOUR, default_ttl=KEEPS)
    for_ever = await made(books, ThreadTtl(), default_ttl=KEEPS)
    assert (await ttl(books, by_default))["strategy"] == "keep_latest"
    assert (await ttl(books, given))["strategy"] == "delete"
    assert await ttl(books, for_ever) is None


async def test_a_thread_that_comes_with_its_run_has_the_default(books: Any) -> None:
    admissions = Admissions(
        books.pool, books.outbox, books.admissions._messages, books.dispatch, thread_ttl=HOUR
    )
    kept, going = books.order(), books.order(is_temporary=True, deletes_thread=True)
    for order in (kept, going):
        await admissions.create(order)
    assert (await ttl(books, kept.thread_id))["ttl_minutes"] == 60
    assert await ttl(books, going.thread_id) is None


async def test_a_time_to_live_can_be_changed_and_taken_back(books: Any) -> None:
    thread_id = await made(books)
    update = ThreadChange(tenant="default", thread_id=thread_id, metadata="{}")
    await books.threads.update(update)
    assert (await ttl(books, thread_id))["ttl_minutes"] == 60
    await books.threads.update(replace(update, ttl=KEEPS))
    assert (await ttl(books, thread_id))["strategy"] == "keep_latest"
    await books.threads.update(replace(update, ttl=ThreadTtl()))
    assert await ttl(books, thread_id) is None
    await passes(books, minutes=1e6)
    assert await sweep(books) + await sweep(books, TtlStrategy.KEEP_LATEST) == 0


async def test_a_copy_lives_as_long(books: Any) -> None:
    thread_id, copy_id = await made(books, KEEPS), uuid4()
    await books.threads.copy(CopyThread(tenant="default", thread_id=thread_id, copy_id=copy_id))
    assert (await ttl(books, copy_id))["strategy"] == "keep_latest"


async def test_a_thread_with_a_run_in_flight_is_left_alone(books: Any, outcome: Any) -> None:
    thread_id = await made(books)
    order = await books.create(thread_id)
    attempt = await books.claim(order)
    await passes(books, minutes=100)
    assert await sweep(books) == 0
    # Its end is an update.
    await books.ledger.finish(books.about(order, attempt), outcome())
    assert await sweep(books) == 0
    await passes(books, minutes=100)
    assert await sweep(books) == 1
    assert await books.run(order.run_id) is None


async def test_checkpoints_are_pruned_once_per_update(books: Any) -> None:
    pruned: list[UUID] = []

    async def prune(connection: Any, thread_id: UUID) -> None:
        assert connection.is_in_transaction()
        pruned.append(thread_id)

    async def nothing(*_: Any) -> None: ...

    books.threads = Threads(books.pool, forget=nothing, copy=nothing, prune=prune)
    thread_id = await made(books, KEEPS)
    await passes(books, minutes=61)
    before = await books.pool.fetchval("SELECT updated_at FROM threads")
    assert await sweep(books) == 0
    assert await sweep(books, TtlStrategy.KEEP_LATEST) == 1
    assert await books.pool.fetchval("SELECT updated_at FROM threads") == before
    await passes(books, minutes=1000)
    assert await sweep(books, TtlStrategy.KEEP_LATEST) == 0
    await books.threads.update(ThreadChange(tenant="default", thread_id=thread_id, metadata="{}"))
    await passes(books, minutes=61)
    assert await sweep(books, TtlStrategy.KEEP_LATEST) == 1
    assert pruned == [thread_id] * 2


async def test_checkpoints_go_with_their_thread_or_neither(books: Any) -> None:
    async def forget(connection: Any, thread_ids: Any) -> None:
        raise ConnectionResetError

    async def nothing(*_: Any) -> None: ...

    thread_id = await made(books)
    await passes(books, minutes=61)
    broken = Threads(books.pool, forget=forget, copy=nothing, prune=nothing)
    with pytest.raises(ConnectionResetError):
        await broken.sweep_ended(strategy=TtlStrategy.DELETE, limit=10)
    assert await left(books) == {thread_id}


async def test_several_sweeps_at_once_take_each_thread_once(books: Any) -> None:
    for _ in range(40):
        await made(books)
    await passes(books, minutes=61)
    counts = await asyncio.gather(*(sweep(books, limit=10) for _ in range(8)))
    assert sum(counts) == 40 or sum(counts) + await sweep(books) == 40
    assert max(counts) <= 10
    assert await left(books) == set()
