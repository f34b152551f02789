"""Old snapshots of a DeltaChannel are dropped where the writes tell the same."""

from __future__ import annotations

from random import Random
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.graph import START, StateGraph
from langgraph.graph.message import _messages_delta_reducer
from langgraph.types import Command, Overwrite, interrupt

from bedplate.graphs.saver import PostgresSaver


async def snapshots(chat: Any, channel: str = "messages") -> list[int]:
    """The lengths of the thread, in super-steps, at which the channel is stored whole."""
    found = await chat.tables.pool.fetch(
        "SELECT split_part(version, '.', 1)::int AS step FROM checkpoint_blobs"
        " WHERE thread_id = $1 AND channel = $2 AND type <> 'empty' ORDER BY 1",
        chat.thread_id,
        channel,
    )
    return [row["step"] for row in found]


@pytest.mark.parametrize("turns", [[150], [1] * 30])
async def test_every_state_reads_the_same_from_the_snapshots_that_stay(
    talk: Any, graphs: Any, stock: Any, turns: list[int]
) -> None:
    chat = talk(graphs.chat(snapshot_frequency=5))
    states: dict[str, Any] = {}
    for n, count in enumerate(turns):
        chat.settles = False
        await chat.say(f"run {n}", turns=count)
        if n % 5 == 0:
            states |= await chat.states()
        await chat.settle()

    assert states.items() <= (await chat.states()).items()
    assert await chat.states() == await chat.states(stock)
    kept = await snapshots(chat)
    # Beside the newest two, one for each doubling.
    assert len(kept) <= kept[-1].bit_length() + 2
    doublings = [step.bit_length() for step in kept[:-2]]
    assert doublings == sorted(set(doublings))


async def test_a_thread_that_grows_keeps_few_snapshots_at_any_time(talk: Any, graphs: Any) -> None:
    chat = talk(graphs.chat(snapshot_frequency=2))
    for n in range(25):
        await chat.say(f"run {n}", turns=2)
        kept = await snapshots(chat)
        assert len(kept) <= kept[-1].bit_length() + 2


async def test_a_thread_whose_snapshots_are_thinned_can_be_copied_taken_back_and_pruned(
    talk: Any, graphs: Any, stock: Any
) -> None:
    chat = talk(graphs.chat(snapshot_frequency=3))
    runs = [await chat.say(f"run {n}", turns=9) for n in range(6)]
    copy = talk(chat.graph)
    await chat.tables.saver.acopy_thread(chat.thread_id, copy.thread_id)
    assert await copy.states(stock) == await chat.states()

    states = await chat.states()
    await chat.tables.saver.adelete_for_runs([runs[2]], thread_ids=[chat.thread_id])
    await chat.tables.saver.adelete_for_runs([runs[5]], thread_ids=[chat.thread_id])
    left = await chat.states()
    assert left == {place: states[place] for place in left}
    values = await chat.values()
    await chat.tables.saver.aprune([chat.thread_id])
    assert await chat.values() == await chat.values(stock) == values


async def test_what_cannot_be_looked_into_keeps_its_snapshots(talk: Any, graphs: Any) -> None:
    """An encrypted write may be an Overwrite."""
    chat = talk(graphs.chat(snapshot_frequency=3))
    serde = EncryptedSerializer.from_pycryptodome_aes(chat.tables.saver.serde, key=b"k" * 16)
    chat.tables.saver = PostgresSaver(chat.tables.pool, chat.tables.committer, serde=serde)
    await chat.say("one", turns=40)
    assert len(await snapshots(chat)) == 13


# -- threads on which everything happens


class Wild(TypedDict):
    messages: Annotated[
        list[AnyMessage], DeltaChannel(_messages_delta_reducer, snapshot_frequency=3)
    ]
    plan: list[str]


def _done(state: Wild) -> bool:
    return not state.get("plan")


async def _act(state: Wild) -> dict[str, Any]:
    step, *rest = state["plan"]
    said = f"{step} {len(state['messages'])}"
    match step:
        case "fail":
            raise RuntimeError("as asked")
        case "ask":
            said = f"asked {interrupt(said)}"
        case "overwrite":
            return {"messages": Overwrite([AIMessage(said, id=said)]), "plan": rest}
        case "silent":
            return {"plan": rest}
        case _:
            pass
    return {"messages": [AIMessage(said, id=said)], "plan": rest}


async def _watch(state: Wild) -> dict[str, Any]:
    said = f"watched {len(state['messages'])}"
    return {"messages": [AIMessage(said, id=said)]}


def _wild() -> StateGraph[Any]:
    graph = StateGraph(Wild)
    graph.add_node("act", _act)
    graph.add_node("watch", _watch)
    for node in ("act", "watch"):
        graph.add_edge(START, node)
    graph.add_conditional_edges(
        "act", lambda state: [] if _done(state) else ["act", "watch"], ["act", "watch"]
    )
    return graph


_STEPS = ["say"] * 8 + ["overwrite", "silent", "silent", "ask", "fail"]


async def _something(chat: Any, rng: Random) -> None:
    """One thing that may happen to a thread."""
    chat.durability = rng.choice(["async", "async", "sync", "exit"])
    places = list(await chat.states())
    where = {"checkpoint_id": rng.choice(places)} if places and rng.random() < 0.2 else {}
    plan = rng.choices(_STEPS, k=rng.randint(1, 12))
    given: Any = {"messages": [HumanMessage(f"hello {rng.random()}")], "plan": plan}
    match rng.choice(["say"] * 6 + ["resume", "go on", "update", "goto"]):
        case "resume":
            given = Command(resume="yes")
        case "go on":
            given = None
        case "goto":
            given = Command(goto="act", update={"plan": plan})
        case "update" if places:
            config = {"configurable": {**chat.place["configurable"], **where}}
            written = [HumanMessage(f"edit {rng.random()}")]
            graph = chat.on(chat.tables.saver)
            await graph.aupdate_state(config, {"messages": written, "plan": plan}, as_node="act")
            return
        case _:
            pass
    if not places and not isinstance(given, dict):
        return
    try:
        await chat.run(given, **where)
    except RuntimeError:
        return


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_has_happened_to_a_thread_every_state_stays_as_it_was(
    talk: Any, stock: Any, seed: int
) -> None:
    rng = Random(seed)
    chat = talk(_wild())
    chat.settles = False
    before = 0
    for _ in range(20):
        await _something(chat, rng)
        if rng.random() < 0.6:
            states, before = await chat.states(), before + len(await snapshots(chat))
            await chat.settle()
            before -= len(await snapshots(chat))
            assert await chat.states() == states
    assert await chat.states(stock) == await chat.states()
    assert before > 0, "nothing was dropped at all"
