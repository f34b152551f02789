"""An attempt that lost its run writes nothing; an edit is no rival of a run."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from langgraph.checkpoint.base.id import uuid6

from bedplate.graphs.fence import AttemptFence, EditFence
from bedplate.graphs.store import PostgresStore
from bedplate.kernel.errors import Fenced
from bedplate.testing.eventually import eventually

TABLES = ("checkpoints", "checkpoint_blobs", "checkpoint_writes", "checkpoint_undo")


def checkpoint(**values: Any) -> Any:
    return {
        "v": 4,
        "id": str(uuid6(clock_seq=-1)),
        "ts": "2026-01-01T00:00:00+00:00",
        "channel_values": values,
        "channel_versions": dict.fromkeys(values, "1"),
        "versions_seen": {},
        "updated_channels": None,
    }


def place(thread_id: str, checkpoint_id: str | None = None) -> Any:
    found: dict[str, Any] = {"thread_id": thread_id, "checkpoint_ns": ""}
    if checkpoint_id is not None:
        found["checkpoint_id"] = checkpoint_id
    return {"configurable": found}


async def put(saver: Any, thread_id: str) -> Any:
    values = {"blob": [1], "inline": "x"}
    return await saver.aput(
        place(thread_id),
        checkpoint(**values),
        {"source": "loop", "step": 0},
        dict.fromkeys(values, "1"),
    )


async def assert_nothing_is_stored(tables: Any, thread_id: str) -> None:
    for table in TABLES:
        assert await tables.count(table, thread_id) == 0, table


async def writes_of(tables: Any, fence: AttemptFence, thread_id: str) -> list[Any]:
    """Every way to write something under a fence."""
    saver = tables.fenced(fence)
    store = PostgresStore(tables.pool).with_fence(fence)
    return [
        put(saver, thread_id),
        saver.aput_writes(place(thread_id, str(uuid6())), [("messages", "x")], str(uuid4())),
        saver.aput_writes(place(thread_id, str(uuid6())), [("__interrupt__", "x")], str(uuid4())),
        saver.acopy_thread(thread_id, str(uuid4())),
        saver.adelete_thread(thread_id),
        saver.adelete_for_runs([str(fence.run_id)]),
        saver.aprune([thread_id]),
        store.aput(("zombie",), "k", {"n": 1}),
        store.adelete(("kept",), "k"),
    ]


async def test_a_superseded_attempt_can_write_nothing(tables: Any) -> None:
    thread_id = str(await tables.thread())
    fence = await tables.run(UUID(thread_id))
    await PostgresStore(tables.pool).aput(("kept",), "k", {"n": 1})
    await tables.supersede(fence)

    for write in await writes_of(tables, fence, thread_id):
        with pytest.raises(Fenced):
            await write

    await assert_nothing_is_stored(tables, thread_id)
    store = PostgresStore(tables.pool)
    assert await store.aget(("zombie",), "k") is None
    assert await store.aget(("kept",), "k") is not None


@pytest.mark.parametrize("status", ["pending", "success", "error", "interrupted", "timeout"])
async def test_an_attempt_whose_run_is_not_running_can_write_nothing(
    tables: Any, status: str
) -> None:
    thread_id = str(await tables.thread())
    fence = await tables.run(UUID(thread_id), status=status)
    gone = AttemptFence(uuid4(), 1)

    for each in (fence, gone):
        for write in await writes_of(tables, each, thread_id):
            with pytest.raises(Fenced):
                await write
    await assert_nothing_is_stored(tables, thread_id)


async def test_a_write_that_meets_a_takeover_waits_for_it_and_is_refused(tables: Any) -> None:
    thread_id = str(await tables.thread())
    fence = await tables.run(UUID(thread_id))
    rival = await asyncpg.connect(tables.uri, timeout=10)
    try:
        takeover = rival.transaction()
        await takeover.start()
        await tables.supersede(fence, connection=rival)
        async with asyncio.TaskGroup() as group:
            refused = [
                group.create_task(_outcome(write))
                for write in await writes_of(tables, fence, thread_id)
            ]
            # Checkpoint, undo and store writes go their own ways to PostgreSQL.
            await eventually(lambda: _waiting_for_locks(tables), satisfies=_at_least_3, within_s=10)
            await takeover.commit()
    finally:
        await rival.close()

    assert {type(task.result()) for task in refused} == {Fenced}
    await assert_nothing_is_stored(tables, thread_id)
    assert await PostgresStore(tables.pool).aget(("zombie",), "k") is None


async def test_a_write_that_came_first_is_there_when_the_takeover_happens(tables: Any) -> None:
    thread_id = str(await tables.thread())
    fence = await tables.run(UUID(thread_id))
    rival = await asyncpg.connect(tables.uri, timeout=10)
    try:
        # A rival that gives up: the write was only delayed.
        takeover = rival.transaction()
        await takeover.start()
        await tables.supersede(fence, connection=rival)
        async with asyncio.TaskGroup() as group:
            write = group.create_task(put(tables.fenced(fence), thread_id))
            await eventually(lambda: _waiting_for_locks(tables), satisfies=bool, within_s=10)
            await takeover.rollback()
        assert write.result()["configurable"]["thread_id"] == thread_id
    finally:
        await rival.close()
    assert await tables.count("checkpoints", thread_id) == 1


async def test_a_refused_attempt_does_not_stop_the_others_of_its_batch(tables: Any) -> None:
    threads = [str(await tables.thread()) for _ in range(8)]
    fences = [await tables.run(UUID(thread_id)) for thread_id in threads]
    for fence in fences[::2]:
        await tables.supersede(fence)
    before = tables.committer.commits

    outcomes = await asyncio.gather(
        *(_outcome(put(tables.fenced(f), t)) for f, t in zip(fences, threads, strict=True))
    )

    assert [isinstance(outcome, Fenced) for outcome in outcomes] == [True, False] * 4
    assert tables.committer.commits == before + 1
    for n, thread_id in enumerate(threads):
        assert await tables.count("checkpoints", thread_id) == n % 2


async def test_the_next_attempt_of_the_run_writes(tables: Any, talk: Any, graphs: Any) -> None:
    talk = talk(graphs.steps())
    fence = await tables.run(UUID(talk.thread_id))
    second = await tables.supersede(fence)

    with pytest.raises(Fenced):
        await talk.run({"turns": 3}, saver=tables.fenced(fence))
    await talk.run({"turns": 3}, saver=tables.fenced(second))

    assert (await talk.values())["log"] == [3, 2, 1]


async def test_an_edit_is_refused_while_a_run_is_running(
    tables: Any, talk: Any, graphs: Any
) -> None:
    talk = talk(graphs.chat())
    await talk.say("one")
    run = await tables.run(UUID(talk.thread_id))
    editor = tables.fenced(EditFence(UUID(talk.thread_id)))
    before = await talk.rows()

    with pytest.raises(Fenced):
        await talk.on(editor).aupdate_state(talk.place, {"log": ["edited"]}, as_node="think")
    assert await talk.rows() == before

    await tables.pool.execute("UPDATE runs SET status = 'success' WHERE run_id = $1", run.run_id)
    await tables.run(UUID(talk.thread_id), status="pending")
    await talk.on(editor).aupdate_state(talk.place, {"log": ["edited"]}, as_node="think")
    assert (await talk.values())["log"][-1] == "edited"


async def test_an_edit_of_a_thread_that_is_gone_is_refused(tables: Any) -> None:
    nowhere = uuid4()
    with pytest.raises(Fenced):
        await put(tables.fenced(EditFence(nowhere)), str(nowhere))
    await assert_nothing_is_stored(tables, str(nowhere))


async def test_an_edit_that_waits_while_a_run_starts_is_refused(tables: Any) -> None:
    thread_id = await tables.thread()
    run = await tables.run(thread_id, status="pending")
    rival = await asyncpg.connect(tables.uri, timeout=10)
    try:
        claim = rival.transaction()
        await claim.start()
        await rival.execute("SELECT 1 FROM runs WHERE run_id = $1 FOR UPDATE", run.run_id)
        await rival.execute("UPDATE runs SET status = 'running' WHERE run_id = $1", run.run_id)
        async with asyncio.TaskGroup() as group:
            editor = tables.fenced(EditFence(thread_id))
            edit = group.create_task(_outcome(put(editor, str(thread_id))))
            await eventually(lambda: _waiting_for_locks(tables), satisfies=bool, within_s=10)
            await claim.commit()
    finally:
        await rival.close()
    assert isinstance(edit.result(), Fenced)
    await assert_nothing_is_stored(tables, str(thread_id))


async def test_an_edit_that_waits_while_a_run_is_added_and_starts_is_refused(tables: Any) -> None:
    thread_id = await tables.thread()
    rival = await asyncpg.connect(tables.uri, timeout=10)
    try:
        creation = rival.transaction()
        await creation.start()
        await rival.execute("SELECT 1 FROM threads WHERE thread_id = $1 FOR UPDATE", thread_id)
        await rival.execute(
            "INSERT INTO runs (run_id, thread_id, tenant, assistant_id, graph_id, status,"
            " multitask_strategy, kwargs, attempt)"
            " VALUES ($1, $2, 'default', $1, 'agent', 'running', 'enqueue', '{}', 1)",
            uuid4(),
            thread_id,
        )
        async with asyncio.TaskGroup() as group:
            editor = tables.fenced(EditFence(thread_id))
            edit = group.create_task(_outcome(put(editor, str(thread_id))))
            await eventually(lambda: _waiting_for_locks(tables), satisfies=bool, within_s=10)
            await creation.commit()
    finally:
        await rival.close()
    assert isinstance(edit.result(), Fenced)


async def _outcome(work: Any) -> Any:
    try:
        return await work
    except Fenced as refusal:
        return refusal


async def _waiting_for_locks(tables: Any) -> int:
    return await tables.pool.fetchval(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )


def _at_least_3(count: int) -> bool:
    return count >= 3
