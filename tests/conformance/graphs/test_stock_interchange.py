"""Threads and items that LangGraph's own PostgreSQL saver and store go on with, and the other
way."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.store.postgres import AsyncPostgresStore
from langgraph.types import Command

from bedplate.graphs.store import PostgresStore

DURABILITIES = ["sync", "async", "exit"]


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_both_savers_take_turns_on_a_thread(
    talk: Any, graphs: Any, stock: Any, durability: str
) -> None:
    chat = talk(graphs.chat(snapshot_frequency=4), durability)
    expected: list[str] = []
    for turn, saver in enumerate((None, stock, None, stock, stock, None)):
        await chat.say(f"turn {turn}", turns=3, saver=saver)
        n = len(expected)
        expected += [f"turn {turn}", *(f"answer {n + k}" for k in (1, 2, 3))]
        for reader in (chat.tables.saver, stock):
            assert graphs.texts(await chat.values(reader)) == expected
    assert await chat.states() == await chat.states(stock)


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("is_ours_first", [True, False])
async def test_an_interrupt_stored_by_one_saver_is_answered_through_the_other(
    talk: Any, graphs: Any, stock: Any, durability: str, is_ours_first: bool
) -> None:
    talk = talk(graphs.approval(), durability)
    first, second = (None, stock) if is_ours_first else (stock, None)
    await talk.run({"messages": [("user", "please")]}, saver=first)
    await talk.run(Command(resume="yes"), saver=second)
    states = await talk.states(stock)
    assert await talk.states() == states
    (open_,) = [tasks for _, _, tasks in states.values() if any(tasks)]
    assert [i.value for interrupts in open_ for i in interrupts] == ["second?"]
    await talk.run(Command(resume="sure"), saver=first)

    texts = graphs.texts(await talk.values(second))
    assert texts[-1] == "closed"
    assert "answered yes sure" in texts


async def test_the_rows_of_both_savers_are_the_same(talk: Any, graphs: Any, stock: Any) -> None:
    ours, theirs = talk(graphs.chat()), talk(graphs.chat())
    await ours.say("hello", turns=2)
    await theirs.say("hello", turns=2, saver=stock)

    assert _shape(await ours.rows()) == _shape(await theirs.rows())


def _shape(rows: dict[str, list[Any]]) -> Any:
    """The rows without what differs from run to run: ids, times, random ends of versions."""
    checkpoints = []
    for *_, type_, checkpoint, metadata in rows["checkpoints"]:
        parsed = json.loads(checkpoint)
        inner = [sorted(parsed[name]) for name in ("channel_values", "channel_versions")]
        checkpoints.append((type_, sorted(parsed), *inner, sorted(json.loads(metadata))))
    return (
        sorted(checkpoints, key=repr),
        sorted((channel, type_) for _, _, channel, _, type_, _ in rows["checkpoint_blobs"]),
        sorted(
            (idx, channel, type_, path)
            for _, _, _, _, idx, channel, type_, _, path in rows["checkpoint_writes"]
        ),
    )


async def test_the_stock_setup_finds_nothing_to_do(stock: Any, tables: Any) -> None:
    before = await tables.pool.fetch("SELECT v FROM checkpoint_migrations ORDER BY v")
    await stock.setup()
    async with AsyncPostgresStore.from_conn_string(tables.uri) as store:
        await store.setup()

    assert await tables.pool.fetch("SELECT v FROM checkpoint_migrations ORDER BY v") == before
    assert [row["v"] for row in before] == list(range(len(stock.MIGRATIONS)))
    versions = await tables.pool.fetch("SELECT v FROM store_migrations ORDER BY v")
    assert [row["v"] for row in versions] == list(range(len(AsyncPostgresStore.MIGRATIONS)))
    # CREATE INDEX CONCURRENTLY is what a setup that has work begins with.
    assert await tables.pool.fetchval("SELECT to_regclass('checkpoints_thread_id_idx')") is None


class ScriptedModel(GenericFakeChatModel):
    def bind_tools(self, *_: Any, **__: Any) -> ScriptedModel:
        return self


async def test_a_deep_agent_goes_on_with_the_other_saver(talk: Any, stock: Any) -> None:
    deepagents = pytest.importorskip("deepagents")
    script = [
        AIMessage("", tool_calls=[_call("write_file", file_path="/a.md", content="kept")]),
        AIMessage("written"),
        AIMessage("", tool_calls=[_call("read_file", file_path="/a.md")]),
        AIMessage("read"),
    ]
    agent = deepagents.create_deep_agent(model=ScriptedModel(messages=iter(script)))
    deep = talk(agent)
    deep.on = lambda saver: agent.copy({"checkpointer": saver})

    await deep.run({"messages": [HumanMessage("write")]})
    await deep.run({"messages": [HumanMessage("read")]}, saver=stock)

    values = await deep.values()
    assert list(values["files"]) == ["/a.md"]
    assert "kept" in values["messages"][-2].text
    assert values == await deep.values(stock)


def _call(name: str, **args: Any) -> Any:
    return {"name": name, "args": args, "id": f"call-{name}"}


async def test_both_stores_read_and_overwrite_each_others_items(tables: Any) -> None:
    ours = PostgresStore(tables.pool)
    async with AsyncPostgresStore.from_conn_string(tables.uri) as theirs:
        stores: list[Any] = [ours, theirs]
        for writer, reader in (stores, stores[::-1]):
            await writer.aput(
                ("a", "b"), "k", {"n": 1, "text": "é", "deep": {"x": [1, None]}}, ttl=5
            )
            item = await reader.aget(("a", "b"), "k")
            assert item.value == {"n": 1, "text": "é", "deep": {"x": [1, None]}}
            await reader.aput(("a", "b"), "k", {"n": 2})
            again = await writer.aget(("a", "b"), "k")
            assert again.value == {"n": 2}
            assert again.created_at == item.created_at
            assert await reader.asearch(("a",), filter={"n": 2}) == await writer.asearch(
                ("a",), filter={"n": 2}
            )
            assert await reader.alist_namespaces(prefix=("*", "b")) == [("a", "b")]
            await reader.adelete(("a", "b"), "k")
            assert await writer.aget(("a", "b"), "k") is None
