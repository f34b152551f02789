"""What the published suite does not look at: threads whose messages are a DeltaChannel."""

from __future__ import annotations

import itertools
from typing import Any
from uuid import UUID, uuid4

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.types import Command

from bedplate.graphs import checkpoint_tables

DURABILITIES = ["sync", "async", "exit"]


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_a_rolled_back_newest_run_has_never_been(
    talk: Any, graphs: Any, durability: str
) -> None:
    chat = talk(graphs.chat(snapshot_frequency=4), durability)
    await chat.say("one")
    before, state = await chat.rows(), await chat.values()
    second = await chat.say("two")

    await chat.tables.saver.adelete_for_runs([second])

    assert await chat.rows() == before
    await chat.say("three")
    assert graphs.texts(await chat.values()) == [
        *graphs.texts(state),
        "three",
        "answer 5",
        "answer 6",
        "answer 7",
    ]


async def test_a_rolled_back_first_run_leaves_nothing(talk: Any, graphs: Any) -> None:
    chat = talk(graphs.chat())
    only = await chat.say("one")

    await chat.tables.saver.adelete_for_runs([only], thread_ids=[chat.thread_id])

    assert not any((await chat.rows()).values())


@pytest.mark.parametrize("frequency", [2, 5, 50])
@pytest.mark.parametrize("durability", DURABILITIES)
async def test_later_and_earlier_checkpoints_survive_the_removal_of_a_run_between(
    talk: Any, graphs: Any, stock: Any, durability: str, frequency: int
) -> None:
    chat = talk(graphs.chat(snapshot_frequency=frequency), durability)
    runs = [await chat.say(f"run {n}", turns=4) for n in range(5)]

    for removed in (runs[1], runs[0], runs[3]):
        kept = await _states_without(chat, removed)
        await chat.tables.saver.adelete_for_runs([removed], thread_ids=[chat.thread_id])
        assert removed not in await chat.runs()
        assert await chat.states() == kept
        theirs = await chat.states(stock)
        assert {place: theirs[place] for place in kept} == kept

    before = graphs.texts(await chat.values())
    await chat.say("on", turns=1)
    assert graphs.texts(await chat.values()) == [*before, "on", f"answer {len(before) + 1}"]


async def test_a_run_is_removed_across_a_snapshot_of_more_than_fifty_updates(
    talk: Any, graphs: Any, stock: Any
) -> None:
    chat = talk(graphs.chat(snapshot_frequency=50), "exit")
    chat.durability = "async"
    runs = [await chat.say(f"run {n}", turns=turns) for n, turns in enumerate((30, 40, 5))]
    texts = graphs.texts(await chat.values())
    assert len(texts) == 78

    await chat.tables.saver.adelete_for_runs([runs[1]], thread_ids=[chat.thread_id])
    assert graphs.texts(await chat.values()) == texts
    assert graphs.texts(await chat.values(stock)) == texts

    await chat.tables.saver.adelete_for_runs([runs[2]], thread_ids=[chat.thread_id])
    assert graphs.texts(await chat.values()) == texts[:31]
    assert graphs.texts(await chat.values(stock)) == texts[:31]


async def _states_without(chat: Any, run_id: str) -> dict[str, Any]:
    found = chat.tables.saver.alist(chat.place, filter={"run_id": run_id})
    gone = {found.checkpoint["id"] async for found in found}
    return {place: state for place, state in (await chat.states()).items() if place not in gone}


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_a_rollback_reopens_the_interrupt_that_the_run_had_answered(
    talk: Any, graphs: Any, durability: str
) -> None:
    talk = talk(graphs.approval(), durability)
    await talk.run({"messages": [("user", "please")]})
    before, states = await talk.rows(), await talk.states()
    again = await talk.run(Command(resume="yes"))
    between = await talk.rows()
    assert between != before
    done = await talk.run(Command(resume="really"))
    assert graphs.texts(await talk.values())[-1] == "closed"

    await talk.tables.saver.adelete_for_runs([done], thread_ids=[talk.thread_id])
    assert await talk.rows() == between
    await talk.tables.saver.adelete_for_runs([again], thread_ids=[talk.thread_id])
    assert await talk.rows() == before
    assert await talk.states() == states

    await talk.run(Command(resume="now"))
    await talk.run(Command(resume="well"))
    assert sorted(graphs.texts(await talk.values())) == sorted(
        ["please", "worked", "answered now well", "closed"]
    )


async def test_a_rollback_forgets_the_failure_of_a_run_that_resumed(talk: Any, graphs: Any) -> None:
    talk = talk(graphs.approval())
    await talk.run({"messages": [("user", "please")]})
    await talk.run(Command(resume="yes"))
    before = await talk.rows()
    with pytest.raises(RuntimeError, match="as asked"):
        await talk.run(Command(resume="fail"))
    known = {row[0] for row in before["checkpoint_undo"]}
    (failed,) = {row[0] for row in (await talk.rows())["checkpoint_undo"]} - known

    await talk.tables.saver.adelete_for_runs([failed])

    assert await talk.rows() == before


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
async def test_removing_an_answer_keeps_what_was_answered_over_it(
    tables: Any, order: tuple[int, ...]
) -> None:
    thread_id = str(await tables.thread())
    place: Any = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    zero = await tables.run(UUID(thread_id))
    saver = tables.fenced(zero)
    at = await saver.aput(place, empty_checkpoint(), {"run_id": str(zero.run_id)}, {})
    await saver.aput_writes(at, [("__interrupt__", 0)], "task", "path")
    runs: dict[int, str] = {}
    for n in (1, 2, 3):
        fence = await tables.run(UUID(thread_id))
        runs[n] = str(fence.run_id)
        saver = tables.fenced(fence)
        await saver.aget_tuple(place)
        await saver.aput_writes(at, [("__interrupt__", n)], "task", "path")
        await saver.aput_writes(at, [("__resume__", n)], "other", "path")
        await saver.aput_writes(at, [("ordinary", n)], "third", "path")

    while True:
        found = await tables.saver.aget_tuple(place)
        writes = {channel: value for _, channel, value in found.pending_writes}
        expected = {"__interrupt__": max(runs, default=0)}
        if runs:
            expected["__resume__"] = max(runs)
        # Not overwritten by the others: it was the first one's alone.
        if 1 in runs:
            expected["ordinary"] = 1
        assert writes == expected
        if not runs:
            break
        await tables.saver.adelete_for_runs([runs.pop(order[3 - len(runs)])])
    assert await tables.count("checkpoint_undo", thread_id) == 0


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_a_pruned_thread_has_one_checkpoint_and_goes_on(
    talk: Any, graphs: Any, stock: Any, durability: str
) -> None:
    chat = talk(graphs.chat(snapshot_frequency=7), durability)
    for n in range(4):
        await chat.say(f"run {n}", turns=5)
    values = await chat.values()
    async with chat.tables.pool.acquire() as connection:
        size = await checkpoint_tables.bytes_of_thread(connection, chat.thread_id)

    for _ in range(2):
        await chat.tables.saver.aprune([chat.thread_id])
        assert len(await chat.states()) == 1
        assert await chat.values() == values
        assert await chat.values(stock) == values
    async with chat.tables.pool.acquire() as connection:
        assert await checkpoint_tables.bytes_of_thread(connection, chat.thread_id) < size

    await chat.say("on", turns=20)
    longer = await chat.values()
    assert graphs.texts(longer)[: len(values["messages"])] == graphs.texts(values)
    assert len(longer["messages"]) == len(values["messages"]) + 21
    await chat.tables.saver.aprune([chat.thread_id])
    assert await chat.values(stock) == longer
    # Nothing is carried along for ever: what the snapshot holds is not kept twice.
    assert await chat.tables.count("checkpoints", chat.thread_id) <= 2


async def test_a_pruned_thread_keeps_its_open_interrupt(talk: Any, graphs: Any) -> None:
    talk = talk(graphs.approval())
    await talk.run({"messages": [("user", "please")]})

    await talk.tables.saver.aprune([talk.thread_id])

    await talk.run(Command(resume="yes"))
    await talk.run(Command(resume="sure"))
    assert graphs.texts(await talk.values())[-1] == "closed"


async def test_a_copy_and_its_source_go_on_by_themselves(
    talk: Any, graphs: Any, stock: Any
) -> None:
    chat = talk(graphs.chat(snapshot_frequency=3))
    await chat.say("one", turns=5)
    copy = talk(chat.graph)

    await chat.tables.saver.acopy_thread(chat.thread_id, copy.thread_id)
    await chat.tables.saver.acopy_thread(chat.thread_id, copy.thread_id)

    assert await copy.states() == await chat.states()
    states = await chat.states()
    last = await copy.say("two", turns=4)
    assert await chat.states() == states
    await chat.say("three", turns=1)
    assert graphs.texts(await chat.values())[6:] == ["three", "answer 7"]
    assert graphs.texts(await copy.values(stock))[6:8] == ["two", "answer 7"]
    await copy.tables.saver.adelete_for_runs([last], thread_ids=[copy.thread_id])
    assert graphs.texts(await copy.values())[6:] == []


async def test_a_copy_keeps_the_open_interrupt(talk: Any, graphs: Any) -> None:
    source = talk(graphs.approval())
    await source.run({"messages": [("user", "please")]})
    copy = talk(source.graph)
    async with source.tables.pool.acquire() as connection:
        await checkpoint_tables.copy_thread(connection, source.thread_id, copy.thread_id)

    for each in (copy, source):
        await each.run(Command(resume="yes"))
        await each.run(Command(resume="sure"))
        assert graphs.texts(await each.values())[-1] == "closed"


async def test_branches_stay_readable_when_a_run_of_another_branch_is_removed(
    talk: Any, graphs: Any, stock: Any
) -> None:
    chat = talk(graphs.chat(snapshot_frequency=6))
    runs = [await chat.say("trunk", turns=4)]
    trunk = list(await chat.states())
    for place in (trunk[3], trunk[1], trunk[0]):
        runs.append(await chat.say(f"from {place}", turns=3, checkpoint_id=place))
        runs.append(await chat.say("further", turns=2))

    for removed in (runs[1], runs[0], runs[4], runs[5]):
        kept = await _states_without(chat, removed)
        await chat.tables.saver.adelete_for_runs([removed], thread_ids=[chat.thread_id])
        assert await chat.states() == kept
        theirs = await chat.states(stock)
        assert {place: theirs[place] for place in kept} == kept


async def test_what_a_thread_had_is_gone_when_it_is_forgotten(talk: Any, graphs: Any) -> None:
    talked, other = talk(graphs.approval()), talk(graphs.approval())
    for each in (talked, other):
        await each.run({"messages": [("user", "please")]})
        await each.run(Command(resume="yes"))
    before = await other.rows()

    async with talked.tables.pool.acquire() as connection:
        await checkpoint_tables.forget_threads(connection, [talked.thread_id, str(uuid4())])

    assert not any((await talked.rows()).values())
    assert await other.rows() == before


async def test_a_run_is_taken_back_on_its_own_thread_and_not_on_copies_of_it(
    talk: Any, graphs: Any
) -> None:
    chat, copy = talk(graphs.chat()), talk(graphs.chat())
    known = await chat.say("one")
    await chat.tables.saver.acopy_thread(chat.thread_id, copy.thread_id)
    states = await copy.states()
    stranger = talk(graphs.chat())
    unknown = await stranger.say("two", saver=stranger.tables.saver)

    await chat.tables.saver.adelete_for_runs([known, unknown, "no uuid"])

    assert await chat.states() == {}
    assert await stranger.states() == {}
    assert await copy.states() == states
