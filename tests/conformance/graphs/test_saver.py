"""How the saver is used by an executor: few queries, from any thread, and its own memory."""

from __future__ import annotations

import asyncio
import json
import operator
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict
from uuid import UUID, uuid4

import asyncpg
import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.graph import START, StateGraph
from langgraph.types import Command

from bedplate.graphs import checkpoint_tables
from bedplate.graphs.committer import Committer
from bedplate.graphs.saver import PostgresSaver


class _Log(TypedDict):
    log: Annotated[list[int], operator.add]


def _sync_graph(saver: Any) -> Any:
    graph = StateGraph(_Log)
    graph.add_node("next", lambda state: {"log": [state["log"][-1] + 1]})
    graph.add_edge(START, "next")
    return graph.compile(checkpointer=saver)


@dataclass
class Watched:
    """A saver of its own, and what was asked of PostgreSQL through it."""

    saver: PostgresSaver
    queries: list[str] = field(default_factory=list)

    def named(self, name: str) -> int:
        return sum(query.startswith(f"-- {name}:") for query in self.queries)


@pytest.fixture
async def watched(uri: str) -> AsyncIterator[Watched]:
    queries: list[str] = []

    async def watch(connection: Any) -> None:
        connection.add_query_logger(lambda record: queries.append(record.query))

    async with asyncpg.create_pool(uri, min_size=1, max_size=4, init=watch) as pool:
        committer = Committer(pool)
        yield Watched(PostgresSaver(pool, committer), queries)
        await committer.aclose()


async def test_a_run_reads_once_and_its_last_state_without_a_query(
    tables: Any, talk: Any, graphs: Any, watched: Watched
) -> None:
    talk = talk(graphs.steps())
    for turns in (0, 3):
        fence = await tables.run(UUID(talk.thread_id))
        saver = watched.saver.with_fence(fence)
        watched.queries.clear()
        await talk.run({"turns": turns + 1, "log": [0]}, saver=saver)
        assert watched.named("read_checkpoint") == 1

        watched.queries.clear()
        remembered = await talk.values(saver)
        assert watched.queries == []
        assert remembered == await talk.values()


async def test_on_a_blank_thread_nothing_is_read(
    tables: Any, talk: Any, graphs: Any, watched: Watched
) -> None:
    for graph, given in (
        (graphs.steps(), {"turns": 3, "log": [0]}),
        (graphs.chat(), {"messages": [HumanMessage("x")], "turns": 4}),
        (graphs.approval(), {"messages": [HumanMessage("x")]}),
    ):
        each = talk(graph)
        saver = watched.saver.with_fence(await tables.run(UUID(each.thread_id)), is_blank=True)
        watched.queries.clear()
        await each.run(given, saver=saver)
        assert watched.named("read_checkpoint") == 0
        assert await saver.aget_tuple(each.place) == await tables.saver.aget_tuple(each.place)
        assert await saver.aget_tuple(each.place) is not None


async def test_what_was_written_and_given_up_on_a_blank_thread_is_asked_for(
    tables: Any, talk: Any, graphs: Any, watched: Watched
) -> None:
    each = talk(graphs.steps())
    saver = watched.saver.with_fence(await tables.run(UUID(each.thread_id)), is_blank=True)
    assert await saver.aget_tuple(each.place) is None
    saving = asyncio.create_task(
        saver.aput(each.place, empty_checkpoint(), {"source": "input", "step": -1}, {})
    )
    await asyncio.sleep(0)
    saving.cancel()
    with suppress(asyncio.CancelledError):
        await saving
    assert await saver.aget_tuple(each.place) == await tables.saver.aget_tuple(each.place)


async def test_a_delta_thread_is_opened_with_two_queries(
    tables: Any, talk: Any, graphs: Any, watched: Watched
) -> None:
    chat = talk(graphs.chat(snapshot_frequency=100))
    await chat.say("one", turns=60)
    watched.queries.clear()

    values = await chat.values(watched.saver)

    assert len(values["messages"]) == 61
    assert (watched.named("read_checkpoint"), watched.named("read_delta_history")) == (1, 1)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_what_is_remembered_is_what_is_stored(
    tables: Any, talk: Any, graphs: Any, durability: str
) -> None:
    for graph, inputs in (
        (graphs.chat(), [{"messages": [HumanMessage("x")], "turns": 4}] * 2),
        (
            graphs.approval(),
            [{"messages": [HumanMessage("x")]}, Command(resume="y"), Command(resume="z")],
        ),
    ):
        each = talk(graph, durability)
        for given in inputs:
            fence = await tables.run(UUID(each.thread_id))
            saver = tables.fenced(fence)
            await each.run(given, saver=saver)
            fresh = await tables.saver.aget_tuple(each.place)
            assert await saver.aget_tuple(each.place) == fresh
            assert await saver.aget_tuple(fresh.config) == fresh
            assert saver._newest.find((each.thread_id, ""), None) is not None


async def test_what_is_remembered_does_not_change_with_the_objects_that_were_stored(
    tables: Any,
) -> None:
    thread_id = str(uuid4())
    saver = tables.fenced(await tables.run())
    place = _place(thread_id)
    assert await saver.aget_tuple(place) is None
    value = ["as stored"]
    checkpoint: Any = {
        **empty_checkpoint(),
        "channel_values": {"c": value},
        "channel_versions": {"c": "1"},
    }
    await saver.aput(place, checkpoint, {}, {"c": "1"})
    value.append("later")

    for _ in range(2):
        found = await saver.aget_tuple(place)
        assert found.checkpoint["channel_values"] == {"c": ["as stored"]}
        found.checkpoint["channel_values"]["c"].append("by the reader")


async def test_an_earlier_checkpoint_is_read_and_not_remembered(
    talk: Any, graphs: Any, tables: Any
) -> None:
    talk = talk(graphs.steps())
    fence = await tables.run(UUID(talk.thread_id))
    saver = tables.fenced(fence)
    await talk.run({"turns": 3}, saver=saver)
    history = [found async for found in tables.saver.alist(talk.place)]

    for found in history:
        assert await saver.aget_tuple(found.config) == found
    assert (await saver.aget_tuple(talk.place)) == history[0]
    await saver.adelete_thread(talk.thread_id)
    assert await saver.aget_tuple(talk.place) is None


async def test_after_a_write_that_was_given_up_the_truth_is_read(tables: Any) -> None:
    thread_id = str(uuid4())
    saver = tables.fenced(await tables.run())
    place = _place(thread_id)
    await saver.aget_tuple(place)
    first = empty_checkpoint()
    await saver.aput(place, first, {}, {})
    second = {**empty_checkpoint(), "id": str(uuid6())}
    lock = await asyncpg.connect(tables.uri, timeout=10)
    try:
        held = lock.transaction()
        await held.start()
        await lock.execute("LOCK TABLE checkpoints IN EXCLUSIVE MODE")
        put = asyncio.ensure_future(saver.aput(_place(thread_id, first["id"]), second, {}, {}))
        while not await lock.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0)
        put.cancel()
        with pytest.raises(asyncio.CancelledError):
            await put
        reading = asyncio.ensure_future(saver.aget_tuple(place))
        # The lock does not stop readers: it is the write that is waited for.
        assert not (await asyncio.wait([reading], timeout=0.3))[0]
        await held.rollback()
        found = await reading
    finally:
        await lock.close()

    # It was on its way already.
    assert found is not None
    assert found.checkpoint["id"] == second["id"]


async def test_a_read_that_a_write_has_overtaken_is_not_remembered(tables: Any) -> None:
    thread_id = str(uuid4())
    saver = tables.fenced(await tables.run())
    key = (thread_id, "")
    newest = saver._newest
    since = newest.changes
    # Asked before, answered after: the namespace was empty when PostgreSQL looked.
    await saver.aput(_place(thread_id), empty_checkpoint(), {}, {})
    newest.read(key, None, since=since)
    second = {**empty_checkpoint(), "id": str(uuid6())}
    await saver.aput(_place(thread_id), second, {}, {})
    assert newest.find(key, None) is None

    assert (await saver.aget_tuple(_place(thread_id))).checkpoint["id"] == second["id"]
    assert newest.find(key, None) is not None


async def test_a_graph_called_synchronously_in_a_node_uses_the_same_saver(
    talk: Any, graphs: Any, tables: Any
) -> None:
    inner = graphs.steps()
    thread_id = str(uuid4())
    saver = tables.fenced(await tables.run())

    def node(state: Any) -> Any:
        # A node without `async` runs in a thread; `steps` itself is asynchronous.
        graph = _sync_graph(saver)
        config: Any = {"configurable": {"thread_id": thread_id}}
        graph.invoke({"log": [1]}, config)
        graph.invoke({"log": [3]}, config)
        listed = list(saver.list(config))
        in_another_loop = asyncio.run(inner.compile(checkpointer=saver).aget_state(config))
        return {"log": [len(listed), len(in_another_loop.values["log"])]}

    outer = StateGraph(_Log)
    outer.add_node("node", node)
    outer.add_edge(START, "node")
    result = await outer.compile(checkpointer=saver).ainvoke(
        {"log": []}, {"configurable": {"thread_id": str(uuid4())}}
    )

    assert result["log"] == [6, 4]


async def test_a_synchronous_call_on_the_loop_itself_says_what_to_write(tables: Any) -> None:
    for call in (
        lambda: tables.saver.get_tuple(_place("t")),
        lambda: list(tables.saver.list(_place("t"))),
        lambda: tables.saver.put(_place("t"), empty_checkpoint(), {}, {}),
        lambda: tables.saver.put_writes(_place("t", "c"), [("c", 1)], "t"),
        lambda: tables.saver.delete_thread("t"),
        lambda: tables.saver.delete_for_runs(["r"]),
        lambda: tables.saver.copy_thread("t", "u"),
        lambda: tables.saver.prune(["t"]),
        lambda: tables.saver.get_delta_channel_history(config=_place("t"), channels=["c"]),
        lambda: _sync_graph(tables.saver).invoke({"log": [1]}, _place("t")),
    ):
        with pytest.raises(asyncio.InvalidStateError, match="In async code use"):
            call()


async def test_history_is_read_in_pages_that_fit_together(
    talk: Any, graphs: Any, tables: Any
) -> None:
    talk = talk(graphs.steps())
    await talk.run({"turns": 120})
    whole = [found.checkpoint["id"] async for found in tables.saver.alist(talk.place)]
    assert len(whole) == 122
    assert whole == sorted(whole, reverse=True)
    for limit in (0, 1, 50, 51, 100, 500):
        some = [f.checkpoint["id"] async for f in tables.saver.alist(talk.place, limit=limit)]
        assert some == whole[:limit]
    before = {"configurable": {**talk.place["configurable"], "checkpoint_id": whole[70]}}
    rest = [f.checkpoint["id"] async for f in tables.saver.alist(talk.place, before=before)]
    assert rest == whole[71:]


async def test_checkpoints_of_old_formats_read_their_sends_from_the_parent(
    tables: Any, stock: Any
) -> None:
    thread_id = str(uuid4())
    parent = await tables.saver.aput(_place(thread_id), {**empty_checkpoint(), "v": 1}, {}, {})
    for path, sends in (("b", ["third"]), ("a", ["first", "second"])):
        writes = [("__pregel_tasks", send) for send in sends]
        await tables.saver.aput_writes(parent, writes, str(uuid4()), path)
    checkpoint: Any = {
        **empty_checkpoint(),
        "v": 3,
        "id": str(uuid6()),
        "channel_versions": {"c": "00000000000000000000000000000002.5"},
    }
    child = await tables.saver.aput(parent, checkpoint, {}, {})

    async def check(*readers: Any) -> None:
        for reader in readers:
            found = [await reader.aget_tuple(child)]
            found += [f async for f in reader.alist(_place(thread_id)) if f.parent_config]
            for each in found:
                assert each.checkpoint["channel_values"] == {
                    "__pregel_tasks": ["first", "second", "third"]
                }
                assert each.checkpoint["channel_versions"]["__pregel_tasks"].endswith("2.5")

    await check(tables.saver, stock, tables.fenced(await tables.run()))
    await tables.saver.aprune([thread_id])
    await check(tables.saver, stock)


async def test_pruning_removes_the_calls_of_subgraphs_but_not_their_memory(
    tables: Any, stock: Any
) -> None:
    inner = StateGraph(_Log)
    inner.add_node("add", lambda state: {"log": [len(state["log"])]})
    inner.add_edge(START, "add")
    outer = StateGraph(_Log)
    outer.add_node("call", inner.compile())
    outer.add_node("memory", inner.compile(checkpointer=True))
    outer.add_edge(START, "call")
    outer.add_edge("call", "memory")
    graph = outer.compile(checkpointer=tables.saver)
    place: Any = {"configurable": {"thread_id": str(uuid4())}}
    for n in range(3):
        await graph.ainvoke({"log": [n]}, place)
    thread_id = place["configurable"]["thread_id"]
    values = (await graph.aget_state(place)).values
    memory = await tables.saver.aget_tuple(
        {"configurable": {"thread_id": thread_id, "checkpoint_ns": "memory"}}
    )

    await tables.saver.aprune([thread_id])

    kept = [f.config["configurable"]["checkpoint_ns"] async for f in tables.saver.alist(place)]
    assert sorted(kept) == ["", "memory"]
    assert (await graph.aget_state(place)).values == values
    again = await tables.saver.aget_tuple(
        {"configurable": {"thread_id": thread_id, "checkpoint_ns": "memory"}}
    )
    assert again.checkpoint == memory.checkpoint
    await graph.ainvoke({"log": [9]}, place)
    # No value is left that nothing refers to.
    orphans = await tables.pool.fetchval(
        "SELECT count(*) FROM checkpoint_blobs b WHERE NOT EXISTS (SELECT FROM checkpoints c"
        " WHERE c.thread_id = b.thread_id AND c.checkpoint_ns = b.checkpoint_ns"
        " AND c.checkpoint -> 'channel_versions' ->> b.channel = b.version)"
    )
    assert orphans == 0


async def test_a_copy_says_its_own_name(tables: Any) -> None:
    source, target = str(uuid4()), str(uuid4())
    metadata: Any = {"thread_id": source, "note": "kept"}
    await tables.saver.aput(_place(source), empty_checkpoint(), metadata, {})
    async with tables.pool.acquire() as connection:
        await checkpoint_tables.copy_thread(connection, UUID(source), UUID(target))
        assert await checkpoint_tables.bytes_of_thread(connection, target) > 100
        assert await checkpoint_tables.bytes_of_thread(connection, uuid4()) == 0

    found = await tables.saver.aget_tuple(_place(target))
    assert found.metadata == {"thread_id": target, "note": "kept"}


def test_the_scheduler_can_use_the_tables_without_langgraph() -> None:
    program = (
        "import sys, bedplate.graphs.checkpoint_tables, json;"
        "print(json.dumps([m for m in sys.modules if m.split('.')[0].startswith('lang')]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout) == []


def _place(thread_id: str, checkpoint_id: str | None = None) -> Any:
    found = {"thread_id": thread_id, "checkpoint_ns": ""}
    if checkpoint_id is not None:
        found["checkpoint_id"] = checkpoint_id
    return {"configurable": found}
