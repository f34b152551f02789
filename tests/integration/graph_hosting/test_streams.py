from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import pytest
from deepagents import create_deep_agent
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.errors import GraphDrained
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph
from langgraph.runtime import RunControl
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict

from bedplate.graphs.host import to_input
from bedplate.graphs.modes import RunStream, stream_graph

Events = list[tuple[str, Any]]


async def read(stream: RunStream) -> Events:
    async with aclosing(stream):
        return [(name, json.loads(data)) async for name, data in stream]


async def run(graph: Any, given: Any, config: Any, **options: Any) -> tuple[Events, RunStream]:
    stream = stream_graph(graph, given, config, **options)
    return await read(stream), stream


async def test_values_shows_the_input_applied_and_then_every_step(graphs: SimpleNamespace) -> None:
    events, stream = await run(graphs.steps(), {"note": "x"}, graphs.config(), modes=["values"])
    assert events == [
        ("values", {"note": "x", "log": []}),
        ("values", {"note": "x", "log": ["one:x"]}),
        ("values", {"note": "x", "log": ["one:x", "two:x"]}),
        ("values", {"note": "x", "log": ["one:x", "two:x", "three:x"]}),
    ]
    assert json.loads(stream.values or b"") == events[-1][1]
    assert stream.is_finished


async def test_updates_come_before_the_values_of_their_step(graphs: SimpleNamespace) -> None:
    modes = ["values", "updates"]
    events, _ = await run(graphs.steps(), {"note": "x"}, graphs.config(), modes=modes)
    assert [name for name, _ in events] == ["values"] + ["updates", "values"] * 3
    assert events[1] == ("updates", {"one": {"log": ["one:x"]}})


async def test_the_newest_values_are_known_although_nobody_asked(graphs: SimpleNamespace) -> None:
    events, stream = await run(graphs.steps(), {"note": "x"}, graphs.config(), modes=["updates"])
    assert {name for name, _ in events} == {"updates"}
    assert json.loads(stream.values or b"")["log"] == ["one:x", "two:x", "three:x"]
    assert stream.answer() == stream.values


async def test_parallel_nodes_and_silent_nodes_have_an_update_each(graphs: SimpleNamespace) -> None:
    class State(TypedDict):
        a: int

    graph = (
        StateGraph(State).add_node("sets", lambda _: {"a": 1}).add_node("silent", lambda _: None)
    )
    compiled = graph.add_edge(START, "sets").add_edge(START, "silent").compile()
    events, _ = await run(compiled, {"a": 0}, graphs.config(), modes=["updates"], durability=None)
    assert sorted(events, key=str) == [
        ("updates", {"sets": {"a": 1}}),
        ("updates", {"silent": None}),
    ]


async def test_an_interrupt_shows_in_updates_values_and_the_answer(graphs: SimpleNamespace) -> None:
    modes = ["values", "updates"]
    graph, config = graphs.approval(), graphs.config()
    events, stream = await run(graph, {"topic": "t"}, config, modes=modes)
    pending = events[1][1]["__interrupt__"]
    assert events == [
        ("values", {"topic": "t"}),
        ("updates", {"__interrupt__": pending}),
        ("values", {"topic": "t", "__interrupt__": pending}),
    ]
    (only,) = pending
    assert only["value"] == {"question": "approve t?"}
    assert only["response_schema"] is None
    assert only.keys() == {"value", "id", "response_schema"}
    assert not stream.is_finished
    assert stream.values == b'{"topic":"t"}'
    assert json.loads(stream.answer()) == {"topic": "t", "__interrupt__": pending}
    again = graphs.config(config["configurable"]["thread_id"])
    events, stream = await run(graph, Command(resume=False), again, modes=["values"])
    assert events[-1] == ("values", {"topic": "t", "answer": False})
    assert stream.is_finished


async def test_several_interrupts_answer_with_nothing_else(graphs: SimpleNamespace) -> None:
    class State(TypedDict):
        a: int

    graph = StateGraph(State)
    for name in ("left", "right"):
        graph.add_node(name, lambda _, name=name: interrupt(name)).add_edge(START, name)
    compiled = graph.compile(checkpointer=InMemorySaver())
    _, stream = await run(compiled, {"a": 1}, graphs.config(), modes=["updates"])
    answer = json.loads(stream.answer())
    assert answer.keys() == {"__interrupt__"}
    assert sorted(one["value"] for one in answer["__interrupt__"]) == ["left", "right"]


@pytest.mark.parametrize("compiled_in", [True, False])
async def test_a_static_breakpoint_stops_without_an_interrupt(
    graphs: SimpleNamespace, compiled_in: bool
) -> None:
    graph = graphs.steps(**({"interrupt_before": ["two"]} if compiled_in else {}))
    options: dict[str, Any] = {} if compiled_in else {"interrupt_before": ["two"]}
    config = graphs.config()
    events, stream = await run(graph, {"note": "x"}, config, modes=["updates"], **options)
    assert events == [
        ("updates", {"one": {"log": ["one:x"]}}),
        ("updates", {"__interrupt__": []}),
    ]
    assert not stream.is_finished
    # Not asked for, it is not shown, and still known.
    events, stream = await run(graph, {"note": "y"}, graphs.config(), modes=["values"], **options)
    assert [name for name, _ in events] == ["values", "values"]
    assert not stream.is_finished


async def test_subgraph_events_are_named_by_namespace_and_only_sent_if_asked(
    graphs: SimpleNamespace,
) -> None:
    graph = graphs.nested(lambda state: {"answer": "yes"})
    events, stream = await run(
        graph, {"topic": "t"}, graphs.config(), modes=["updates", "values"], subgraphs=True
    )
    inside = [name for name, _ in events if "|" in name]
    (namespace,) = {name.partition("|")[2] for name in inside}
    assert namespace.startswith("child:")
    assert len(namespace) == len("child:20b0b0be-3d1c-2e20-76d1-2efbf83b1243")
    assert (f"updates|{namespace}", {"inner": {"answer": "yes"}}) in events
    assert stream.values == b'{"topic":"t","answer":"yes"}'
    outside, _ = await run(graph, {"topic": "t"}, graphs.config(), modes=["updates", "values"])
    assert outside == [event for event in events if "|" not in event[0]]


async def test_custom_data_is_sent_as_it_is(graphs: SimpleNamespace) -> None:
    def writes(state: dict[str, Any]) -> dict[str, Any]:
        write = get_stream_writer()
        write({"progress": 0})
        write("plain text")
        return {"topic": "done"}

    events, _ = await run(graphs.nested(writes), {"topic": "t"}, graphs.config(), modes=["custom"])
    assert events == []
    events, _ = await run(
        graphs.nested(writes), {"topic": "t"}, graphs.config(), modes=["custom"], subgraphs=True
    )
    assert [data for _, data in events] == [{"progress": 0}, "plain text"]


async def test_tasks_checkpoints_and_debug_have_their_documented_keys(
    graphs: SimpleNamespace,
) -> None:
    modes = ["tasks", "checkpoints", "debug"]
    config = graphs.config(langgraph_auth_user={"token": "t"}, team="blue")
    events, _ = await run(graphs.steps(), {"note": "x"}, config, modes=modes)
    tasks = [data for name, data in events if name == "tasks"]
    start, end = tasks[0], tasks[1]
    assert start["id"] == end["id"]
    assert start.keys() - {"metadata"} == {"id", "name", "input", "triggers"}
    assert end.keys() == {"id", "name", "error", "result", "interrupts"}
    checkpoints = [data for name, data in events if name == "checkpoints"]
    assert [data["metadata"]["step"] for data in checkpoints] == [-1, 0, 1, 2, 3]
    assert checkpoints[0]["parent_config"] is None
    keys = {"config", "parent_config", "values", "metadata", "next", "tasks"}
    assert checkpoints[1].keys() == keys
    configurable = checkpoints[1]["config"]["configurable"]
    assert {"thread_id", "checkpoint_ns", "checkpoint_id", "team"} <= configurable.keys()
    assert "langgraph_auth_user" not in configurable
    debug = [data for name, data in events if name == "debug"]
    assert {data["type"] for data in debug} == {"checkpoint", "task", "task_result"}
    payloads = [data["payload"] for data in debug if data["type"] == "checkpoint"]
    first, second = payloads[:2]
    assert first["parent_checkpoint"] is None
    assert second["parent_checkpoint"] == first["checkpoint"]
    assert first["checkpoint"].keys() == {"thread_id", "checkpoint_ns", "checkpoint_id"}
    assert debug[0].keys() == {"step", "timestamp", "type", "payload"}


async def test_message_pieces_come_once_and_close_with_the_last(graphs: SimpleNamespace) -> None:
    config = graphs.config(graph_id="g", assistant_id="a", run_id="r")
    config["metadata"] = {"run_attempt": 1, "mine": "yes"}
    config["tags"] = ["tagged"]
    given = {"messages": [{"role": "user", "content": "a"}]}
    events, stream = await run(graphs.echo(), given, config, modes=["messages-tuple"])
    assert {name for name, _ in events} == {"messages"}
    pieces = [piece for _, (piece, _) in events]
    assert "".join(piece["content"] for piece in pieces) == "Echo: a"
    assert {piece["type"] for piece in pieces} == {"AIMessageChunk"}
    assert len({piece["id"] for piece in pieces}) == 1
    assert [piece["chunk_position"] for piece in pieces].index("last") == len(pieces) - 1
    metadata = events[0][1][1]
    for key in (
        "langgraph_node",
        "langgraph_step",
        "langgraph_triggers",
        "langgraph_path",
        "langgraph_checkpoint_ns",
        "checkpoint_ns",
        "thread_id",
        "run_id",
        "graph_id",
        "assistant_id",
        "run_attempt",
        "tags",
        "ls_model_type",
        "mine",
    ):
        assert key in metadata
    messages = json.loads(stream.values or b"")["messages"]
    assert [message["type"] for message in messages] == ["human", "ai"]
    assert messages[1]["id"] == pieces[0]["id"]


async def test_accumulating_messages_show_the_whole_so_far(graphs: SimpleNamespace) -> None:
    calls = [{"name": "look", "args": {"at": 1}, "id": "c", "type": "tool_call"}]

    def reply(messages: Any) -> AIMessage:
        return AIMessage("let me look", tool_calls=calls)

    given = {"messages": "a"}
    events, _ = await run(graphs.echo(reply), given, graphs.config(), modes=["messages"])
    names = [name for name, _ in events]
    assert names == ["messages/metadata"] + ["messages/partial"] * (len(events) - 1)
    ((message_id, about),) = events[0][1].items()
    assert about["metadata"]["langgraph_node"] == "model"
    partials = [data for _, data in events[1:]]
    assert [len(data) for data in partials] == [1] * len(partials)
    assert [data[0]["content"] for data in partials[:3]] == ["let", "let me", "let me look"]
    last = partials[-1][0]
    assert last["type"] == "ai"
    assert last["id"] == message_id
    assert last["tool_calls"] == calls
    assert last["usage_metadata"]["total_tokens"] == 3
    assert "tool_call_chunks" not in last


async def test_whole_messages_come_complete_and_once(graphs: SimpleNamespace) -> None:
    class State(TypedDict):
        messages: list[Any]

    result = ToolMessage("found", tool_call_id="c", id="tool-1")
    graph = StateGraph(State)
    graph.add_node("tools", lambda _: {"messages": [result]})
    graph.add_node("again", lambda _: {"messages": [result, AIMessage("done", id="ai-1")]})
    graph.add_edge(START, "tools").add_edge("tools", "again")
    modes = ["messages", "messages-tuple"]
    events, _ = await run(
        graph.compile(), {"messages": []}, graphs.config(), modes=modes, durability=None
    )
    assert [name for name, _ in events] == [
        "messages",
        "messages/metadata",
        "messages/complete",
    ] * 2
    assert events[0][1][0]["type"] == "tool"
    assert events[2][1] == [events[0][1][0]]
    assert events[5][1][0]["id"] == "ai-1"


async def test_a_model_tagged_nostream_sends_no_pieces(graphs: SimpleNamespace) -> None:
    quiet = graphs.model(reply=lambda _: AIMessage("a b")).with_config(tags=["nostream"])

    async def call(state: Any) -> dict[str, Any]:
        await quiet.ainvoke("x")
        return {"topic": "done"}

    class State(TypedDict):
        topic: str

    graph = StateGraph(State).add_node("call", call).add_edge(START, "call").compile()
    events, _ = await run(
        graph, {"topic": "t"}, graphs.config(), modes=["messages-tuple"], durability=None
    )
    assert events == []


async def test_events_mode_leaves_hidden_runnables_out_and_carries_the_other_modes(
    graphs: SimpleNamespace,
) -> None:
    hidden = RunnableLambda(lambda x: x, name="secret").with_config(tags=["langsmith:hidden"])
    shown = RunnableLambda(lambda x: x, name="plain")

    async def call(state: Any, config: RunnableConfig) -> dict[str, Any]:
        return {"answer": await (hidden | shown).ainvoke("x", config)}

    graph = graphs.nested(call)
    modes = ["events", "values", "updates"]
    events, stream = await run(graph, {"topic": "t"}, graphs.config(), modes=modes)
    named = [data for name, data in events if name == "events"]
    assert {"event", "name", "run_id", "data", "metadata", "tags", "parent_ids"} <= named[0].keys()
    assert named[0]["event"] == "on_chain_start"
    names = {data["name"] for data in named}
    assert "plain" in names
    assert "secret" not in names
    others = [event for event in events if event[0] != "events"]
    bare, _ = await run(graph, {"topic": "t"}, graphs.config(), modes=["values", "updates"])
    assert others == bare
    assert stream.is_finished
    inside, _ = await run(graph, {"topic": "t"}, graphs.config(), modes=modes, subgraphs=True)
    assert [name for name, _ in inside if name.startswith("values|child:")]


async def test_events_mode_shows_an_interrupt(graphs: SimpleNamespace) -> None:
    _, stream = await run(graphs.approval(), {"topic": "t"}, graphs.config(), modes=["events"])
    assert [one.value for one in stream.interrupts] == [{"question": "approve t?"}]


async def test_tools_is_accepted_and_sends_nothing(graphs: SimpleNamespace) -> None:
    events, _ = await run(graphs.steps(), {"note": "x"}, graphs.config(), modes=["tools"])
    assert events == []


async def test_a_failure_comes_out_as_it_is_after_what_was_done(graphs: SimpleNamespace) -> None:
    def boom(state: Any) -> Any:
        raise ValueError("boom: value")

    for modes in (["values"], ["events"]):
        stream = stream_graph(graphs.nested(boom), {"topic": "t"}, graphs.config(), modes=modes)
        with pytest.raises(ValueError, match="boom: value"):
            await read(stream)
        assert stream.values == b'{"topic":"t"}'
        assert not stream.is_finished


async def test_a_drained_graph_stops_between_steps(graphs: SimpleNamespace) -> None:
    control = RunControl()
    stream = stream_graph(
        graphs.steps(), {"note": "x"}, graphs.config(), modes=["updates"], control=control
    )
    seen = []
    with pytest.raises(GraphDrained):
        async for name, _ in stream:
            seen.append(name)
            control.request_drain("deploy")
    # The event of a step is seen when the next one begins, so that one still runs.
    assert seen == ["updates", "updates"]
    assert not stream.is_finished


@pytest.mark.parametrize("modes", [["values"], ["events"], ["messages-tuple"]])
async def test_closing_or_cancelling_the_stream_stops_the_graph(
    graphs: SimpleNamespace, modes: list[str]
) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    async def forever(state: Any) -> Any:
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            stopped.set()

    stream = stream_graph(graphs.nested(forever), {"topic": "t"}, graphs.config(), modes=modes)
    task = asyncio.create_task(read(stream))
    await asyncio.wait_for(started.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(stopped.wait(), 5)


async def test_a_functional_graph_answers_with_its_value(graphs: SimpleNamespace) -> None:
    @entrypoint(checkpointer=InMemorySaver())
    async def double(given: int) -> int:
        return given * 2

    events, stream = await run(double, 21, graphs.config(), modes=["values", "updates"])
    assert ("updates", {"double": 42}) in events
    assert stream.answer() == b"42"

    @entrypoint(checkpointer=InMemorySaver())
    async def asks(given: int) -> int:
        return interrupt("sure?")

    _, stream = await run(asks, 21, graphs.config(), modes=["values"])
    assert [one["value"] for one in json.loads(stream.answer())["__interrupt__"]] == ["sure?"]


async def test_a_deep_agents_subagent_streams_under_its_namespace_and_each_message_once(
    graphs: SimpleNamespace,
) -> None:
    def boss(messages: Any) -> AIMessage:
        if isinstance(messages[-1], ToolMessage):
            return AIMessage("all done")
        call = {"description": "look it up", "subagent_type": "scout"}
        return AIMessage("delegating", tool_calls=[{"name": "task", "args": call, "id": "call-1"}])

    scout = {
        "name": "scout",
        "description": "looks things up",
        "system_prompt": "You scout.",
        "model": graphs.model(reply=lambda _: AIMessage("found it here")),
        "tools": [],
    }
    agent = create_deep_agent(
        model=graphs.model(reply=boss), subagents=[scout], checkpointer=InMemorySaver()
    )
    given = {"messages": [{"role": "user", "content": "go"}]}
    modes = ["messages-tuple", "updates"]
    events, stream = await run(agent, given, graphs.config(), modes=modes, subgraphs=True)
    messages = [(name, *data) for name, data in events if name.partition("|")[0] == "messages"]
    inside = {name for name, *_ in messages if "|" in name}
    (namespace,) = {name.partition("|")[2] for name in inside}
    assert namespace.startswith("tools:")
    text = "".join(piece["content"] for name, piece, _ in messages if name in inside)
    assert text == "found it here"
    whole = [piece["id"] for _, piece, _ in messages if piece["type"] != "AIMessageChunk"]
    assert len(whole) == len(set(whole))
    assert any(name.startswith(f"updates|{namespace}") for name, _ in events)
    assert {meta["lc_agent_name"] for name, _, meta in messages if name in inside} == {"scout"}
    assert json.loads(stream.values or b"")["messages"][-1]["content"] == "all done"
    assert stream.is_finished


async def test_the_added_cost_stays_within_its_budget(graphs: SimpleNamespace) -> None:
    class State(TypedDict):
        topic: str

    async def nothing(state: Any) -> None: ...

    noop = StateGraph(State).add_node("nothing", nothing).add_edge(START, "nothing").compile()
    words = " ".join(["word"] * 300)
    model = graphs.model(reply=lambda _: AIMessage(words))

    async def call(state: Any) -> dict[str, Any]:
        await model.ainvoke("x")
        return {"topic": "done"}

    talks = StateGraph(State).add_node("call", call).add_edge(START, "call").compile()

    async def bare(graph: Any, mode: Any) -> int:
        given: Any = {"topic": "t"}
        return len([x async for x in graph.astream(given, graphs.config(), stream_mode=mode)])

    async def ours(graph: Any, mode: str) -> int:
        stream = stream_graph(graph, {"topic": "t"}, graphs.config(), modes=[mode], durability=None)
        return len([event async for event in stream])

    # CPU time, the two in turn, the best of several: other work on the machine does not count.
    async def added_s(graph: Any, library: str, mode: str, *, times: int) -> tuple[float, int]:
        took: dict[Any, list[float]] = {bare: [], ours: []}
        count = 0
        for _ in range(times):
            for call, name in ((bare, library), (ours, mode)):
                begun = time.process_time()
                count = await call(graph, name)
                took[call].append(time.process_time() - begun)
        return min(took[ours]) - min(took[bare]), count

    per_run_s, _ = await added_s(noop, "values", "values", times=50)
    assert per_run_s < 100e-6
    per_stream_s, count = await added_s(talks, "messages", "messages-tuple", times=7)
    assert count >= 300
    assert per_stream_s / count < 60e-6


@pytest.mark.parametrize("answer", [False, 0, "", [], "yes", {"a": 1}])
async def test_every_answer_but_null_and_the_empty_map_is_one(
    graphs: SimpleNamespace, answer: Any
) -> None:
    graph, config = graphs.approval(), graphs.config()
    _, waiting = await run(graph, {"topic": "t"}, config)

    def again() -> Any:
        return graphs.config(config["configurable"]["thread_id"])

    # An empty map answers nothing, and neither does the id of another interrupt.
    for nothing in ({}, {"f" * 32: "x"}):
        _, stream = await run(graph, to_input(None, {"resume": nothing}), again())
        assert [one.id for one in stream.interrupts] == [waiting.interrupts[0].id]
    _, stream = await run(graph, to_input(None, {"resume": answer}), again())
    assert json.loads(stream.answer()) == {"topic": "t", "answer": answer}
