"""Many attempts, few transactions, and nobody pays for somebody else's fault."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from langgraph.checkpoint.base.id import uuid6

from bedplate.graphs.committer import Committer
from bedplate.graphs.saver import PostgresSaver
from bedplate.kernel.errors import Refused, Unavailable
from bedplate.testing.eventually import eventually

RUNS = 16
STEPS = 20


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_sixteen_runs_need_at_most_two_commits_per_step(
    tables: Any, talk: Any, graphs: Any, durability: str
) -> None:
    talks = [talk(graphs.steps(), durability) for _ in range(RUNS)]

    await asyncio.gather(*(each.run({"turns": STEPS}) for each in talks))

    for each in talks:
        assert (await each.values())["log"] == list(range(STEPS, 0, -1))
    assert tables.committer.commits <= 2 * STEPS * RUNS
    # The promise above would hold one by one; this is what gathering is for.
    assert tables.committer.commits < tables.committer.entries / 2 or durability == "exit"


async def test_what_nobody_waits_for_yet_travels_together(tables: Any) -> None:
    thread_id = uuid4()
    committer = Committer(tables.pool, linger_s=60.0)
    fence = await tables.run(thread_id)
    saver = PostgresSaver(tables.pool, committer, fence=fence).deferring()
    places = [_place(str(thread_id)) for _ in range(3)]
    for place in places:
        await saver.aput_writes(place, [("c", 1)], "t")
        # Each was queued long before the next: a writer that does not linger takes it alone.
        await tables.pool.fetchval("SELECT 1")
    assert committer.commits == 0

    await saver.settled()

    assert committer.commits == 1
    assert await tables.count("checkpoint_writes", thread_id) == 3


async def test_what_nobody_ever_waits_for_is_committed_all_the_same(tables: Any) -> None:
    thread_id = uuid4()
    saver = tables.fenced(await tables.run(thread_id)).deferring()
    await saver.aput_writes(_place(str(thread_id)), [("c", 1)], "t")

    await eventually(lambda: tables.count("checkpoint_writes", thread_id), equals=1, within_s=5)


async def test_one_bad_entry_does_not_fail_its_neighbours(tables: Any) -> None:
    threads = [str(uuid4()) for _ in range(6)]
    writes = [
        tables.saver.aput_writes(
            _place(thread_id), [("channel\0" if n == 3 else "channel", n)], str(uuid4())
        )
        for n, thread_id in enumerate(threads)
    ]

    outcomes = await asyncio.gather(*writes, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [type(None)] * 3 + [Refused] + [
        type(None)
    ] * 2
    for n, thread_id in enumerate(threads):
        assert await tables.count("checkpoint_writes", thread_id) == (n != 3)


async def test_a_connection_that_is_dropped_is_not_noticed(
    tables: Any, talk: Any, graphs: Any
) -> None:
    talks = [talk(graphs.chat(), durability) for durability in ("sync", "async") for _ in range(4)]
    savers = [tables.fenced(await tables.run(UUID(each.thread_id))) for each in talks]
    axe = await asyncpg.connect(tables.uri, timeout=10)
    felled = 0
    try:
        async with asyncio.TaskGroup() as group:
            runs = [
                group.create_task(each.say("on", turns=60, saver=saver))
                for each, saver in zip(talks, savers, strict=True)
            ]
            while not all(run.done() for run in runs):
                felled += await axe.fetchval(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                seen = tables.committer.commits
                await eventually(
                    # Until the last one is done: an axe that swings without a pause fells them all.
                    lambda seen=seen: (
                        tables.committer.commits > seen + 20 or all(run.done() for run in runs)
                    ),
                    within_s=30,
                )
    finally:
        await axe.close()

    assert felled > 1
    for each in talks:
        values = await each.values()
        assert len(values["messages"]) == 61
        assert values["turns"] == 0


async def test_an_outage_that_lasts_ends_in_unavailable_for_all_who_wait(tables: Any) -> None:
    async with asyncpg.create_pool(
        "postgresql://nobody:nothing@127.0.0.1:1/none", min_size=0, max_size=1, timeout=1
    ) as pool:
        committer = Committer(pool, retry_s_max=0.3)
        saver = PostgresSaver(pool, committer)
        outcomes = await asyncio.gather(
            *(saver.aput_writes(_place(str(uuid4())), [("c", n)], "t") for n in range(50)),
            return_exceptions=True,
        )
        await committer.aclose()
    assert {type(outcome) for outcome in outcomes} == {Unavailable}


async def test_the_same_put_twice_is_harmless(tables: Any, talk: Any, graphs: Any) -> None:
    talk = talk(graphs.chat())

    class Twice(Committer):
        async def commit(self, entry: Any) -> None:
            await super().commit(entry)
            await super().commit(entry)

    fence = await tables.run(UUID(talk.thread_id))
    stutters = PostgresSaver(tables.pool, Twice(tables.pool), fence=fence)
    await talk.say("one", saver=stutters)
    await talk.say("two", saver=stutters)

    assert (await talk.values())["log"] == ["one", *_answers(1), "two", *_answers(5)]
    assert len(await talk.states()) == 10


def _answers(first: int) -> list[str]:
    return [f"answer {n}" for n in range(first, first + 3)]


async def test_what_is_put_again_in_one_batch_counts_as_it_was_put_last(tables: Any) -> None:
    place = _place(str(uuid4()))
    task = str(uuid4())

    await asyncio.gather(
        *(tables.saver.aput_writes(place, [("__interrupt__", n)], task) for n in range(5)),
        *(tables.saver.aput_writes(place, [("ordinary", n)], task) for n in range(5)),
    )

    # What one statement cannot do is not tried: nothing was refused and said again one by one.
    assert tables.committer.commits <= 5
    rows = await tables.pool.fetch(
        "SELECT channel, blob FROM checkpoint_writes ORDER BY idx",
    )
    kept = [
        (row["channel"], tables.saver.serde.loads_typed(("msgpack", row["blob"]))) for row in rows
    ]
    assert kept == [("__interrupt__", 4), ("ordinary", 0)]


async def test_a_caller_that_gives_up_takes_its_entry_back(tables: Any) -> None:
    places = [_place(str(uuid4())) for _ in range(3)]
    first, second, third = (
        asyncio.ensure_future(tables.saver.aput_writes(place, [("c", 1)], "t")) for place in places
    )
    # One turn of the loop: all are handed in, none is on its way.
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(first, third)

    counts = [
        await tables.count("checkpoint_writes", place["configurable"]["thread_id"])
        for place in places
    ]
    assert counts == [1, 0, 1]
    with pytest.raises(asyncio.CancelledError):
        await second


async def test_a_batch_is_bounded_by_rows_and_bytes(tables: Any) -> None:
    for bounds in ({"rows_max": 10}, {"bytes_max": 1000}):
        committer = Committer(tables.pool, **bounds)
        saver = PostgresSaver(tables.pool, committer)
        await asyncio.gather(
            *(saver.aput_writes(_place(str(uuid4())), [("c", b"x" * 100)], "t") for _ in range(100))
        )
        assert committer.commits == 10
        await committer.aclose()


async def test_a_closed_committer_has_decided_everything_and_takes_nothing_more(
    tables: Any,
) -> None:
    committer = Committer(tables.pool)
    saver = PostgresSaver(tables.pool, committer)
    write = asyncio.ensure_future(saver.aput_writes(_place(str(uuid4())), [("c", 1)], "t"))
    await asyncio.sleep(0)

    await committer.aclose()

    assert write.done()
    with pytest.raises(Unavailable):
        await saver.aput_writes(_place(str(uuid4())), [("c", 1)], "t")


def _place(thread_id: str) -> Any:
    return {
        "configurable": {
            "thread_id": thread_id,
            "checkpoint_ns": "",
            "checkpoint_id": str(uuid6()),
        }
    }
