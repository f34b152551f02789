"""Subgraphs and sub-agents in the event-streaming protocol: when they begin, why, how they end."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import pytest
from deepagents import create_deep_agent
from langchain.tools import tool
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphDrained
from langgraph.graph import START, StateGraph
from langgraph.runtime import RunControl
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict

from bedplate.graphs.protocol import protocol_stream

RUN_ID = "01a1fb0b-3a9f-76d4-8ec7-a6497b6a4b78"
Lines = list[dict[str, Any]]


class Topic(TypedDict, total=False):
    topic: str
    answer: str


async def tell(
    graph: Any, given: Any, config: Any, failure: type[Exception] | None = None, **options: Any
) -> Lines:
    lines: Lines = []
    stream = protocol_stream(
        graph, given, config, run_id=RUN_ID, **({"is_first_attempt": True} | options)
    )

    async def read() -> None:
        async with aclosing(stream):
            async for name, data in stream:
                if name == "v2":
                    lines.append(json.loads(data))

    if failure is None:
        await read()
    else:
        with pytest.raises(failure):
            await read()
    return lines


def below(lines: Lines) -> Lines:
    """The lifecycle lines of everything under the root."""
    return [line for line in lines if line["method"] == "lifecycle" and line["params"]["namespace"]]


def data_of(lines: Lines, method: str) -> list[Any]:
    return [line["params"]["data"] for line in lines if line["method"] == method]


def agent(
    graphs: SimpleNamespace, *calls: dict[str, Any], inner: Any = None, tools: Any = ()
) -> Any:
    """A deep agent that makes `calls` at once, and a scout whose first word is `inner`."""

    def boss(messages: Any) -> AIMessage:
        if isinstance(messages[-1], ToolMessage):
            return AIMessage("all done")
        return AIMessage("delegating", tool_calls=list(calls))

    def scout(messages: Any) -> AIMessage:
        if inner is None or isinstance(messages[-1], ToolMessage):
            return AIMessage("found it here")
        return inner

    subagent = {
        "name": "scout",
        "description": "looks things up",
        "system_prompt": "You scout.",
        "model": graphs.model(reply=scout),
        "tools": list(tools),
    }
    return create_deep_agent(
        model=graphs.model(reply=boss), subagents=[subagent], checkpointer=InMemorySaver()
    )


def task_call(call_id: str) -> dict[str, Any]:
    args = {"description": "look it up", "subagent_type": "scout"}
    return {"name": "task", "args": args, "id": call_id, "type": "tool_call"}


async def test_a_subgraph_is_begun_by_an_edge_before_anything_else_of_it_and_completed(
    graphs: SimpleNamespace,
) -> None:
    child = StateGraph(Topic).add_node("inner", lambda _: {"answer": "yes"})
    builder = StateGraph(Topic).add_node("ahead", lambda _: {"topic": "u"})
    builder.add_node("child", child.add_edge(START, "inner").compile())
    builder.add_edge(START, "ahead").add_edge("ahead", "child")
    graph = builder.compile(checkpointer=InMemorySaver())
    lines = await tell(graph, {"topic": "t"}, graphs.config())
    started, completed = below(lines)
    namespace = started["params"]["namespace"]
    (segment,) = namespace
    task_id = segment.removeprefix("child:")
    assert started["params"]["data"] == {
        "event": "started",
        "namespace": namespace,
        "graph_name": "child",
        "trigger_call_id": task_id,
        "cause": {"type": "edge", "from_node": "ahead"},
    }
    assert started["event_id"] == f"synth:{RUN_ID}:lc|{segment}|started"
    assert completed["params"]["data"] == {
        "event": "completed",
        "namespace": namespace,
        "graph_name": "child",
    }
    assert completed["event_id"] == f"synth:{RUN_ID}:lc|{segment}|completed"
    inside = [line for line in lines if line["params"]["namespace"] == namespace]
    assert (inside[0], inside[-1]) == (started, completed)
    assert [line["method"] for line in inside[1:-1]] == [
        "checkpoints",
        "checkpoints",
        "values",
        "tasks",
        "updates",
        "tasks",
        "checkpoints",
        "values",
    ]
    # The first node of a graph is begun by its start.
    lines = await tell(graphs.nested(lambda _: {"answer": "y"}), {"topic": "t"}, graphs.config())
    cause = {"type": "edge", "from_node": "__start__"}
    assert below(lines)[0]["params"]["data"]["cause"] == cause


async def test_sends_begin_a_subgraph_each(graphs: SimpleNamespace) -> None:
    child = StateGraph(Topic).add_node("inner", lambda _: {"topic": "seen"})
    builder = StateGraph(Topic).add_node("ahead", lambda _: {"answer": "x"})

    async def worker(state: Topic) -> dict[str, Any]:
        await compiled.ainvoke(state)
        return {}

    compiled = child.add_edge(START, "inner").compile()
    builder.add_node("worker", worker).add_edge(START, "ahead")
    sends = [Send("worker", {"topic": name}) for name in ("a", "b")]
    builder.add_conditional_edges("ahead", lambda _: sends)
    graph = builder.compile(checkpointer=InMemorySaver())
    lines = await tell(graph, {"topic": "t"}, graphs.config())
    started = [line for line in below(lines) if line["params"]["data"]["event"] == "started"]
    assert len({line["event_id"] for line in started}) == 2
    for line in started:
        assert line["params"]["data"]["cause"] == {"type": "send", "from_node": "ahead"}
    assert len(below(lines)) == 4


async def test_no_cause_is_better_than_a_wrong_one(graphs: SimpleNamespace) -> None:
    child = StateGraph(Topic).add_node("inner", lambda _: {"answer": "yes"})
    builder = StateGraph(Topic)
    for name in ("left", "right"):
        builder.add_node(name, lambda _: None).add_edge(START, name)
    builder.add_node("child", child.add_edge(START, "inner").compile())
    builder.add_edge(["left", "right"], "child")
    graph = builder.compile(checkpointer=InMemorySaver())
    started = below(await tell(graph, {"topic": "t"}, graphs.config()))[0]
    assert "cause" not in started["params"]["data"]


async def test_a_graph_in_a_graph_in_a_graph_is_told_by_its_whole_path(
    graphs: SimpleNamespace,
) -> None:
    graph = StateGraph(Topic).add_node("leaf", lambda _: {"answer": "y"}).add_edge(START, "leaf")
    for name in ("deep", "middle"):
        graph = StateGraph(Topic).add_node(name, graph.compile()).add_edge(START, name)
    compiled = graph.compile(checkpointer=InMemorySaver())
    lines = below(await tell(compiled, {"topic": "t"}, graphs.config()))
    told = [(len(one["params"]["namespace"]), one["params"]["data"]["event"]) for one in lines]
    assert told == [(1, "started"), (2, "started"), (2, "completed"), (1, "completed")]
    outer, inner = lines[1]["params"]["namespace"]
    assert outer.startswith("middle:")
    assert inner.startswith("deep:")
    # The parts of a namespace are joined by a character that no name has.
    assert lines[1]["event_id"] == f"synth:{RUN_ID}:lc|{outer}\x00{inner}|started"


async def test_two_subgraphs_of_one_task_begin_and_end_each(graphs: SimpleNamespace) -> None:
    child = StateGraph(Topic).add_node("inner", lambda _: {"answer": "yes"})
    compiled = child.add_edge(START, "inner").compile()

    async def both(state: Topic) -> dict[str, Any]:
        await compiled.ainvoke(state)
        await compiled.ainvoke(state)
        return {"answer": "twice"}

    graph = StateGraph(Topic).add_node("both", both).add_edge(START, "both")
    lines = below(
        await tell(graph.compile(checkpointer=InMemorySaver()), {"topic": "t"}, graphs.config())
    )
    started = [one for one in lines if one["params"]["data"]["event"] == "started"]
    completed = [one for one in lines if one["params"]["data"]["event"] == "completed"]
    assert len(started) == len(completed) == 2
    assert {one["params"]["data"]["graph_name"] for one in started} == {"both"}
    assert len({one["event_id"] for one in lines}) == 4


async def test_a_failure_inside_fails_every_graph_around_it(graphs: SimpleNamespace) -> None:
    def boom(state: Any) -> Any:
        raise ValueError("boom: value")

    def secret(state: Any) -> Any:
        raise OSError("secret host")

    for node, failure, text in (
        (boom, ValueError, "boom: value"),
        (secret, OSError, "An internal error occurred"),
    ):
        lines = await tell(graphs.nested(node), {"topic": "t"}, graphs.config(), failure)
        started, failed = below(lines)
        assert started["params"]["data"]["event"] == "started"
        assert failed["params"]["data"]["event"] == "failed"
        assert failed["params"]["data"]["error"] == text


async def test_a_graph_beside_one_that_fails_is_ended_too(graphs: SimpleNamespace) -> None:
    begun = asyncio.Event()

    async def forever(state: Any) -> Any:
        begun.set()
        await asyncio.Event().wait()

    async def boom(state: Any) -> Any:
        await begun.wait()
        raise ValueError("boom: value")

    builder = StateGraph(Topic)
    for name, node in (("slow", forever), ("bad", boom)):
        child = StateGraph(Topic).add_node("inner", node).add_edge(START, "inner")
        builder.add_node(name, child.compile()).add_edge(START, name)
    graph = builder.compile(checkpointer=InMemorySaver())
    lines = below(await tell(graph, {"topic": "t"}, graphs.config(), ValueError))
    ends = {
        one["params"]["data"]["graph_name"]: one["params"]["data"]["event"]
        for one in lines
        if one["params"]["data"]["event"] != "started"
    }
    assert ends == {"slow": "failed", "bad": "failed"}


async def test_an_interrupted_subgraph_begins_again_when_it_is_answered(
    graphs: SimpleNamespace,
) -> None:
    graph = graphs.nested(lambda _: {"answer": interrupt("inside?")})
    config = graphs.config()
    lines = below(await tell(graph, {"topic": "t"}, config))
    assert [one["params"]["data"]["event"] for one in lines] == ["started", "interrupted"]
    again = graphs.config(config["configurable"]["thread_id"])
    more = below(await tell(graph, Command(resume="yes"), again))
    assert [one["params"]["data"]["event"] for one in more] == ["started", "completed"]
    assert more[0]["params"]["namespace"] == lines[0]["params"]["namespace"]


async def test_a_breakpoint_inside_interrupts_its_graph(graphs: SimpleNamespace) -> None:
    child = StateGraph(Topic).add_node("inner", lambda _: {"answer": "yes"})
    inner = child.add_edge(START, "inner").compile(interrupt_before=["inner"])
    graph = StateGraph(Topic).add_node("child", inner).add_edge(START, "child")
    lines = below(
        await tell(graph.compile(checkpointer=InMemorySaver()), {"topic": "t"}, graphs.config())
    )
    assert [one["params"]["data"]["event"] for one in lines] == ["started", "interrupted"]


async def test_a_drained_subgraph_is_open_until_the_next_attempt_ends_it(
    graphs: SimpleNamespace,
) -> None:
    control = RunControl()

    def first(state: Any) -> Any:
        control.request_drain("deploy")
        return {"topic": "first"}

    child = StateGraph(Topic).add_node("first", first)
    child.add_node("second", lambda _: {"answer": "second"})
    inner = child.add_edge(START, "first").add_edge("first", "second").compile()
    builder = StateGraph(Topic).add_node("child", inner).add_edge(START, "child")
    graph, config = builder.compile(checkpointer=InMemorySaver()), graphs.config()
    lines = await tell(graph, {"topic": "t"}, config, GraphDrained, control=control)
    assert [one["params"]["data"]["event"] for one in below(lines)] == ["started"]
    more = await tell(graph, None, config, is_first_attempt=False)
    events = [one["params"]["data"]["event"] for one in below(more)]
    assert events == ["started", "completed"]
    # The same event under the same id: who saw it knows it.
    assert below(more)[0]["event_id"] == below(lines)[0]["event_id"]
    assert data_of(more, "values")[-1] == {"topic": "first", "answer": "second"}


async def test_a_deep_agents_subagents_are_told_under_the_call_that_began_them(
    graphs: SimpleNamespace,
) -> None:
    graph = agent(graphs, task_call("call-1"), task_call("call-2"))
    config = graphs.config(graph_id="agent")
    lines = await tell(graph, {"messages": [{"role": "user", "content": "go"}]}, config)
    started = [one for one in below(lines) if one["params"]["data"]["event"] == "started"]
    causes = [one["params"]["data"]["cause"] for one in started]
    assert sorted(causes, key=str) == [
        {"type": "toolCall", "tool_call_id": "call-1"},
        {"type": "toolCall", "tool_call_id": "call-2"},
    ]
    for one in started:
        (segment,) = one["params"]["namespace"]
        assert segment.startswith("tools:")
        data = one["params"]["data"]
        assert data["graph_name"] == "scout"
        assert segment == f"tools:{data['trigger_call_id']}"
        texts = [
            line["params"]["data"]["delta"]["text"]
            for line in lines
            if line["params"]["namespace"] == [segment]
            and line["params"]["data"].get("event") == "content-block-delta"
        ]
        assert "".join(texts) == "found it here"
    ended = [one for one in below(lines) if one["params"]["data"]["event"] == "completed"]
    assert len(ended) == 2
    tools = [line["params"] for line in lines if line["method"] == "tools"]
    assert {json.dumps(one["namespace"]) for one in tools} == {"[]"}
    names = [one["data"]["tool_name"] for one in tools if one["data"]["event"] == "tool-started"]
    assert names == ["task", "task"]
    outputs = [one["data"]["output"] for one in tools if one["data"]["event"] == "tool-finished"]
    assert [one["content"] for one in outputs] == ["found it here"] * 2
    assert data_of(lines, "values")[-1]["messages"][-1]["content"][0]["text"] == "all done"
    ids = [line["event_id"] for line in lines if "event_id" in line]
    assert len(ids) == len(set(ids))


async def test_a_question_inside_a_subagent_is_asked_from_there_and_answered(
    graphs: SimpleNamespace,
) -> None:
    @tool
    def ask(what: str) -> str:
        """Ask the user."""
        return str(interrupt({"question": what}))

    call = {"name": "ask", "args": {"what": "now?"}, "id": "ask-1", "type": "tool_call"}
    inner = AIMessage("hm", tool_calls=[call])
    graph = agent(graphs, task_call("call-1"), inner=inner, tools=[ask])
    config = graphs.config()
    lines = await tell(graph, {"messages": [{"role": "user", "content": "go"}]}, config)
    request = lines[-1]
    assert request["method"] == "input.requested"
    assert request["params"]["data"]["value"] == {"question": "now?"}
    (scout,) = [one for one in below(lines) if one["params"]["data"]["event"] == "interrupted"]
    assert request["params"]["namespace"] == scout["params"]["namespace"]
    # A tool that waits has neither finished nor failed.
    tools = [(one["event"], one["tool_call_id"]) for one in data_of(lines, "tools")]
    assert tools == [("tool-started", "call-1"), ("tool-started", "ask-1")]
    answer = Command(resume={request["params"]["data"]["interrupt_id"]: "yes"})
    again = graphs.config(config["configurable"]["thread_id"])
    more = await tell(graph, answer, again)
    outputs = [
        (one["tool_call_id"], one["output"]["content"])
        for one in data_of(more, "tools")
        if one["event"] == "tool-finished"
    ]
    assert outputs == [("ask-1", "yes"), ("call-1", "found it here")]
    started = below(more)[0]["params"]["data"]
    assert started["cause"] == {"type": "toolCall", "tool_call_id": "call-1"}
    assert data_of(more, "input.requested") == []
