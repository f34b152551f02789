"""Messages and tools as the event-streaming protocol tells them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from types import SimpleNamespace
from typing import Any

import pytest
from langchain.tools import ToolRuntime, tool
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, Send

from bedplate.graphs.protocol import protocol_stream

Lines = list[dict[str, Any]]


class Pieces(BaseChatModel):
    """Streams what it is given, one gate at a time; an exception among the pieces is raised."""

    pieces: list[Any]
    before_each: Callable[[int], Any] | None = None

    @property
    def _llm_type(self) -> str:
        return "pieces"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("whole"))])

    async def _astream(
        self, messages: list[BaseMessage], *_: Any, **__: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for number, piece in enumerate(self.pieces):
            if self.before_each is not None:
                await self.before_each(number)
            if isinstance(piece, Exception):
                raise piece
            content = piece if isinstance(piece, (str, list)) else ""
            calls = [piece] if isinstance(piece, dict) else []
            chunk = AIMessageChunk(content=content, tool_call_chunks=calls)
            yield ChatGenerationChunk(message=chunk)


async def tell(graph: Any, given: Any, config: Any) -> Lines:
    lines: Lines = []
    stream = protocol_stream(graph, given, config, run_id="run", is_first_attempt=True)
    async with aclosing(stream):
        async for name, data in stream:
            if name == "v2":
                lines.append(json.loads(data))
    return lines


def params_of(lines: Lines, method: str) -> list[dict[str, Any]]:
    return [line["params"] for line in lines if line["method"] == method]


def told(lines: Lines, role: str | None = None) -> list[dict[str, Any]]:
    """The message events; of one role if asked, as a client tells them apart in JS."""
    events: list[dict[str, Any]] = []
    roles: dict[str, str] = {}
    for params in params_of(lines, "messages"):
        key = f"{params['namespace']}{params.get('node')}"
        roles[key] = params["data"].get("role", roles.get(key))
        if role in (None, roles[key]):
            events.append(params["data"])
    return events


def texts_in_js(lines: Lines) -> list[str]:
    """Each message's text as the JS SDK puts it together: by namespace and node."""
    open_: dict[tuple[str, Any], list[str]] = {}
    done: list[str] = []
    for params in params_of(lines, "messages"):
        key, data = (json.dumps(params["namespace"]), params.get("node")), params["data"]
        if data["event"] == "message-start":
            open_[key] = []
        elif data["event"] in ("message-finish", "error"):
            done.append("".join(open_.pop(key)))
        elif "delta" in data:
            open_[key].append(data["delta"].get("text", ""))
    assert not open_
    return sorted(done)


def texts_in_python(lines: Lines) -> list[str]:
    """The same in the Python SDK: by id where there is one, else by being alone."""
    open_: dict[str, list[str]] = {}
    done: list[str] = []
    for params in params_of(lines, "messages"):
        data = params["data"]
        if data["event"] == "message-start":
            open_[data["id"]] = []
            continue
        if "id" not in data:
            assert len(open_) == 1
        one = data.get("id") or next(iter(open_))
        if data["event"] in ("message-finish", "error"):
            done.append("".join(open_.pop(one)))
        elif "delta" in data:
            open_[one].append(data["delta"].get("text", ""))
    assert not open_
    return sorted(done)


def graph_of(*nodes: Any, **named: Any) -> Any:
    """A graph of nodes one after the other over messages."""
    builder = StateGraph(MessagesState)
    before = START
    for name, node in ({node.__name__: node for node in nodes} | named).items():
        builder.add_node(name, node).add_edge(before, name)
        before = name
    return builder.compile(checkpointer=InMemorySaver())


def calling(model: Any) -> Any:
    async def call(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return call


async def test_a_streamed_message_is_told_once_in_content_blocks(graphs: SimpleNamespace) -> None:
    lines = await tell(graphs.echo(), {"messages": "a"}, graphs.config())
    assert {params["node"] for params in params_of(lines, "messages")} == {"model"}
    events = told(lines)
    assert events == [
        {"event": "message-start", "role": "ai", "id": events[0]["id"]},
        {"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}},
        *(
            {
                "event": "content-block-delta",
                "index": 0,
                "delta": {"type": "text-delta", "text": text},
            }
            for text in ("Echo:", " a")
        ),
        {
            "event": "content-block-finish",
            "index": 0,
            "content": {"type": "text", "text": "Echo: a"},
        },
        {
            "event": "message-finish",
            "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        },
    ]
    (values,) = [one["data"] for one in params_of(lines, "values")][-1:]
    assert values["messages"][-1]["id"] == events[0]["id"]


async def test_each_piece_is_handed_out_before_the_model_makes_the_next(
    graphs: SimpleNamespace,
) -> None:
    seen: list[str] = []
    made = [asyncio.Event() for _ in range(3)]

    async def wait(number: int) -> None:
        if number:
            # The one before must have reached the reader, or this never ends.
            await asyncio.wait_for(made[number - 1].wait(), 5)

    model = Pieces(pieces=["a", "b", "c"], before_each=wait)
    stream = protocol_stream(
        graph_of(calling(model)),
        {"messages": "go"},
        graphs.config(),
        run_id="run",
        is_first_attempt=True,
    )
    async for name, line in stream:
        data = json.loads(line)["params"]["data"] if name == "v2" else {}
        if isinstance(data, dict) and "delta" in data:
            seen.append(data["delta"]["text"])
            made[len(seen) - 1].set()
    assert seen == ["a", "b", "c"]


async def test_reasoning_and_tool_calls_stream_as_blocks_of_their_own(
    graphs: SimpleNamespace,
) -> None:
    call = {"type": "tool_call_chunk", "index": 2, "id": "c", "name": "look", "args": '{"at"'}
    model = Pieces(
        pieces=[
            [{"type": "reasoning", "reasoning": "let me ", "index": 0}],
            [{"type": "reasoning", "reasoning": "think", "index": 0}],
            [{"type": "text", "text": "I look", "index": 1}],
            call,
            call | {"id": None, "name": None, "args": ": 1}"},
        ]
    )
    lines = await tell(graph_of(calling(model)), {"messages": "go"}, graphs.config())
    events = told(lines)
    deltas = [data["delta"] for data in events if data["event"] == "content-block-delta"]
    assert deltas == [
        {"type": "reasoning-delta", "reasoning": "let me "},
        {"type": "reasoning-delta", "reasoning": "think"},
        {"type": "text-delta", "text": "I look"},
        {"type": "tool-call-delta", "args": '{"at"'},
        {"type": "tool-call-delta", "args": ": 1}"},
    ]
    starts = [data["content"] for data in events if data["event"] == "content-block-start"]
    assert [one["type"] for one in starts] == ["reasoning", "text", "tool_call_chunk"]
    assert {"id": "c", "name": "look", "args": ""}.items() <= starts[2].items()
    finished = [data["content"] for data in events if data["event"] == "content-block-finish"]
    assert finished[2] == {"type": "tool_call", "id": "c", "name": "look", "args": {"at": 1}}
    assert events[-1]["event"] == "message-finish"


async def test_a_message_that_comes_whole_is_told_like_one_that_streams(
    graphs: SimpleNamespace,
) -> None:
    def says(state: MessagesState) -> dict[str, Any]:
        call = {"name": "look", "args": {"at": 1}, "id": "c", "type": "tool_call"}
        return {
            "messages": [
                SystemMessage("be kind", id="s"),
                HumanMessage("hello", id="h"),
                AIMessage("", id="empty"),
                AIMessage("I look", tool_calls=[call], id="a"),
                AIMessage([{"type": "odd", "base64": "x" * 9, "value": 1}], id="odd"),
            ]
        }

    def again(state: MessagesState) -> dict[str, Any]:
        # Neither a message that was told, nor the removal of one, is a message.
        return {"messages": [AIMessage("I looked", id="a"), RemoveMessage(id="s")]}

    lines = await tell(graph_of(says, again), {"messages": []}, graphs.config())
    events = told(lines)
    starts = [data for data in events if data["event"] == "message-start"]
    assert [(data["role"], data["id"]) for data in starts] == [
        ("system", "s"),
        ("human", "h"),
        ("ai", "empty"),
        ("ai", "a"),
        ("ai", "odd"),
    ]
    of_a = events[events.index(starts[3]) : events.index(starts[4])]
    assert [data["event"] for data in of_a] == [
        "message-start",
        "content-block-start",
        "content-block-delta",
        "content-block-finish",
        "content-block-start",
        "content-block-finish",
        "message-finish",
    ]
    assert of_a[4]["content"] == {"type": "tool_call", "id": "c", "name": "look", "args": {}}
    assert of_a[5]["content"]["args"] == {"at": 1}
    (block,) = [data["content"] for data in events[-2:-1]]
    assert block["type"] == "non_standard"


async def test_a_model_that_a_node_streams_itself_is_told_at_least_whole(
    graphs: SimpleNamespace,
) -> None:
    model = graphs.model(reply=lambda _: AIMessage("one two"))

    async def streams(state: MessagesState) -> dict[str, Any]:
        pieces = [piece async for piece in model.astream("x")]
        return {"messages": [sum(pieces[1:], pieces[0])]}

    lines = await tell(graph_of(streams), {"messages": []}, graphs.config())
    assert texts_in_js(lines) == ["one two"]
    values = params_of(lines, "values")[-1]["data"]["messages"]
    assert values[-1]["id"] == told(lines)[0]["id"]


async def test_parallel_messages_in_one_namespace_are_kept_apart(
    graphs: SimpleNamespace,
) -> None:
    def talker(*words: str) -> Any:
        barrier = asyncio.Barrier(2)

        async def wait(number: int) -> None:
            await asyncio.wait_for(barrier.wait(), 5)

        return [Pieces(pieces=list(text.split()), before_each=wait) for text in words]

    one, other = talker("a b c", "x y z")
    builder = StateGraph(MessagesState)
    builder.add_node("left", calling(one)).add_edge(START, "left")
    builder.add_node("right", calling(other)).add_edge(START, "right")
    by_node = builder.compile(checkpointer=InMemorySaver())

    models = talker("a b c", "x y z")

    async def sent(state: dict[str, Any]) -> dict[str, Any]:
        return {"messages": [await models[state["which"]].ainvoke("go")]}

    builder = StateGraph(MessagesState).add_node("sent", sent)
    builder.add_conditional_edges(START, lambda _: [Send("sent", {"which": n}) for n in (0, 1)])
    by_task = builder.compile(checkpointer=InMemorySaver())

    both_models = talker("a b c", "x y z")

    async def both(state: Any) -> dict[str, Any]:
        answers = await asyncio.gather(*(model.ainvoke("go") for model in both_models))
        return {"messages": answers}

    for graph in (by_node, by_task, graph_of(both)):
        lines = await tell(graph, {"messages": []}, graphs.config())
        assert texts_in_js(lines) == ["abc", "xyz"]
        assert texts_in_python(lines) == ["abc", "xyz"]
        assert {json.dumps(one["namespace"]) for one in params_of(lines, "messages")} == {"[]"}
    # Alone again, a message's node has its plain name and its events no id.
    lines = await tell(graphs.echo(), {"messages": "a"}, graphs.config())
    assert all("id" not in data for data in told(lines)[1:])


async def test_a_model_that_fails_ends_its_message_and_the_next_try_begins_a_new_one(
    graphs: SimpleNamespace,
) -> None:
    bad = Pieces(pieces=["half", ValueError("no more")])
    worse = Pieces(pieces=["half", OSError("secret host")])
    good = graphs.model(reply=lambda _: AIMessage("all well"))

    async def tries(state: MessagesState) -> dict[str, Any]:
        for model in (bad, worse):
            with suppress(ValueError, OSError):
                await model.ainvoke("go")
        return {"messages": [await good.ainvoke("go")]}

    lines = await tell(graph_of(tries), {"messages": []}, graphs.config())
    assert texts_in_js(lines) == texts_in_python(lines) == ["all well", "half", "half"]
    assert {params["node"] for params in params_of(lines, "messages")} == {"tries"}
    errors = [data["message"] for data in told(lines) if data["event"] == "error"]
    assert errors == ["no more", "An internal error occurred"]


async def test_a_message_cut_by_the_runs_failure_is_ended(graphs: SimpleNamespace) -> None:
    model = Pieces(pieces=["half", ValueError("no more")])
    stream = protocol_stream(
        graph_of(calling(model)),
        {"messages": "go"},
        graphs.config(),
        run_id="run",
        is_first_attempt=True,
    )
    lines: Lines = []
    with pytest.raises(ValueError, match="no more"):
        async for name, data in stream:
            if name == "v2":
                lines.append(json.loads(data))
    assert [data["event"] for data in told(lines)][-1] == "error"
    assert texts_in_js(lines) == ["half"]


@tool
async def look(at: int, runtime: ToolRuntime) -> str:
    """Look at something."""
    runtime.emit_output_delta("look")
    runtime.emit_output_delta("ing")
    if at < 0:
        raise ValueError("nothing there")
    return f"saw {at}"


@tool
def commands(runtime: ToolRuntime) -> Command[Any]:
    """Answer with a command."""
    message = ToolMessage("commanded", tool_call_id=runtime.tool_call_id)
    return Command(update={"messages": [message]})


def tools_graph(*calls: dict[str, Any], handles: bool = True) -> Any:
    def asks(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("", tool_calls=[{**c, "type": "tool_call"} for c in calls])]}

    return graph_of(asks, tools=ToolNode([look, commands], handle_tool_errors=handles))


async def test_a_tool_is_told_from_its_start_to_its_result(graphs: SimpleNamespace) -> None:
    graph = tools_graph(
        {"name": "look", "args": {"at": 1}, "id": "c1"},
        {"name": "commands", "args": {}, "id": "c2"},
    )
    lines = await tell(graph, {"messages": []}, graphs.config())
    events = params_of(lines, "tools")
    assert {json.dumps(one["namespace"]) for one in events} == {"[]"}
    of_look = [one["data"] for one in events if one["data"]["tool_call_id"] == "c1"]
    assert of_look[0] == {
        "event": "tool-started",
        "tool_call_id": "c1",
        "tool_name": "look",
        "input": {"at": 1},
    }
    assert [one["delta"] for one in of_look[1:3]] == ["look", "ing"]
    assert of_look[3]["event"] == "tool-finished"
    assert of_look[3]["output"]["type"] == "tool"
    assert of_look[3]["output"]["content"] == "saw 1"
    finished = [one["data"] for one in events if one["data"]["event"] == "tool-finished"]
    # A command is shown as the message it carries.
    outputs = {one["tool_call_id"]: one["output"]["content"] for one in finished}
    assert outputs == {"c1": "saw 1", "c2": "commanded"}


async def test_a_tools_result_is_also_a_message_under_its_call(graphs: SimpleNamespace) -> None:
    graph = tools_graph({"name": "look", "args": {"at": 1}, "id": "c1"})
    config = graphs.config()
    lines = await tell(graph, {"messages": []}, config)
    result = [one for one in params_of(lines, "messages") if one["namespace"]]
    assert {json.dumps(one["namespace"]) for one in result} == {'["tools:c1"]'}
    events = [one["data"] for one in result]
    message_id = events[0]["id"]
    assert events == [
        {"event": "message-start", "role": "tool", "id": message_id, "tool_call_id": "c1"},
        {"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}},
        {
            "event": "content-block-delta",
            "index": 0,
            "content": {"type": "text", "text": "saw 1"},
        },
        {"event": "content-block-finish", "index": 0, "content": {"type": "text", "text": "saw 1"}},
        {"event": "message-finish"},
    ]
    values = params_of(lines, "values")[-1]["data"]["messages"]
    assert values[-1]["id"] == message_id
    # The next run of the thread does not tell it again, though a node hands it on.
    again = graphs.config(config["configurable"]["thread_id"])
    lines = await tell(graph, {"messages": [HumanMessage("more")]}, again)
    roles = [one for one in told(lines) if one.get("role") == "tool"]
    assert [one["tool_call_id"] for one in roles] == []


async def test_a_tool_that_fails_is_told_with_its_message(graphs: SimpleNamespace) -> None:
    graph = tools_graph({"name": "look", "args": {"at": -1}, "id": "c1"})
    lines = await tell(graph, {"messages": []}, graphs.config())
    last = params_of(lines, "tools")[-1]["data"]
    assert last == {"event": "tool-error", "tool_call_id": "c1", "message": "nothing there"}
    (start,) = [one for one in told(lines) if one.get("role") == "tool"]
    assert start["tool_call_id"] == "c1"
    graph = tools_graph({"name": "look", "args": {"at": -1}, "id": "c1"}, handles=False)
    with pytest.raises(ValueError, match="nothing there"):
        await tell(graph, {"messages": []}, graphs.config())


async def test_the_cost_of_a_token_stays_within_its_budget(graphs: SimpleNamespace) -> None:
    """CPU beside what the library itself takes for the same events, the best of several."""
    model = Pieces(pieces=[f"word{number} " for number in range(500)])
    graph = graph_of(calling(model))
    modes: Any = ["checkpoints", "custom", "messages", "tasks", "tools", "updates", "values"]

    async def bare() -> int:
        config = graphs.config(__pregel_stream_messages_v2=True)
        given: Any = {"messages": "go"}
        stream = graph.astream(given, config, stream_mode=modes, subgraphs=True, version="v2")
        return len([item async for item in stream])

    async def plain() -> int:
        given: Any = {"messages": "go"}
        stream = graph.astream(given, graphs.config(), stream_mode="messages")
        return len([item async for item in stream])

    async def ours() -> int:
        return len(await lines_of(graph, graphs.config()))

    took: dict[Any, float] = {}
    count = 0
    for _ in range(5):
        for run in (bare, plain, ours):
            begun = time.process_time()
            count = await run()
            took[run] = min(took.get(run, 1e9), time.process_time() - begun)
    assert count >= 500
    over_same_events = (took[ours] - took[bare]) / 500
    over_plain_tokens = (took[ours] - took[plain]) / 500
    print(f"per token: {over_same_events * 1e6:.0f} µs, {over_plain_tokens * 1e6:.0f} µs")
    assert over_same_events < 60e-6
    assert over_plain_tokens < 120e-6


async def lines_of(graph: Any, config: Any) -> list[Any]:
    stream = protocol_stream(graph, {"messages": "go"}, config, run_id="run", is_first_attempt=True)
    return [event async for event in stream]
