"""A run as the event-streaming protocol tells it: order, ids, state channels, ends."""

from __future__ import annotations

import asyncio
import json
import operator
import time
from contextlib import aclosing
from itertools import pairwise
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.errors import GraphDrained
from langgraph.func import entrypoint
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import RunControl
from langgraph.stream import StreamChannel, StreamTransformer
from langgraph.types import Command, interrupt
from pydantic import BaseModel
from typing_extensions import TypedDict

from bedplate.graphs.modes import RunStream, stream_graph
from bedplate.graphs.protocol import protocol_stream

RUN_ID = "01a1fb0b-3a9f-76d4-8ec7-a6497b6a4b78"
Lines = list[dict[str, Any]]


def stream_of(graph: Any, given: Any, config: Any, **options: Any) -> RunStream:
    return protocol_stream(
        graph, given, config, run_id=RUN_ID, **({"is_first_attempt": True} | options)
    )


async def read(stream: RunStream) -> tuple[Lines, list[tuple[str, Any]]]:
    """The v2 lines, and the others."""
    lines: Lines = []
    others: list[tuple[str, Any]] = []
    async with aclosing(stream):
        async for name, data in stream:
            if name == "v2":
                lines.append(json.loads(data))
            else:
                others.append((name, json.loads(data)))
    return lines, others


async def tell(graph: Any, given: Any, config: Any, **options: Any) -> Lines:
    lines, _ = await read(stream_of(graph, given, config, **options))
    return lines


def data_of(lines: Lines, method: str, namespace: list[str] | None = None) -> list[Any]:
    return [
        line["params"]["data"]
        for line in lines
        if line["method"] == method
        and (namespace is None or line["params"]["namespace"] == namespace)
    ]


def without(ids: list[str], events: list[tuple[str, Any]]) -> str:
    text = json.dumps(events)
    for one in ids:
        text = text.replace(one, "ID")
    return text


async def test_a_line_has_the_keys_the_gateway_reads_in_their_order(
    graphs: SimpleNamespace,
) -> None:
    before_ms = int(time.time() * 1000)
    lines = await tell(graphs.echo(), {"messages": "a"}, graphs.config(graph_id="echo"))
    for line in lines:
        assert [*line] in (["method", "params"], ["method", "params", "event_id"])
        params = [*line["params"]]
        assert params in (
            ["namespace", "timestamp", "data"],
            ["namespace", "timestamp", "data", "node"],
        )
        assert before_ms <= line["params"]["timestamp"] <= int(time.time() * 1000)
    assert lines[0]["method"] == "lifecycle"
    assert lines[0]["params"]["data"] == {"event": "running", "graph_name": "echo"}
    assert lines[0]["event_id"] == f"synth:{RUN_ID}:lc||running"
    # Which events are synthetic is part of the contract; the root's end is the gateway's.
    synthetic = {line["method"] for line in lines if "event_id" in line}
    assert synthetic == {"lifecycle", "checkpoints"}
    assert len(data_of(lines, "lifecycle")) == 1


async def test_the_older_streams_see_the_very_values_they_see_without_the_protocol(
    graphs: SimpleNamespace,
) -> None:
    for graph, given in (
        (graphs.steps(), {"note": "x"}),
        (graphs.approval(), {"topic": "t"}),
        (graphs.nested(lambda _: {"answer": "yes"}), {"topic": "t"}),
    ):
        told = stream_of(graph, given, graphs.config(), modes=["values", "updates"])
        _, others = await read(told)
        plain = stream_graph(graph, given, graphs.config(), modes=["values", "updates"])
        async with aclosing(plain):
            bare = [(name, json.loads(data)) async for name, data in plain]

        ids = [one.id for one in (*told.interrupts, *plain.interrupts)]
        assert without(ids, others) == without(ids, bare)
        assert told.values == plain.values
        assert told.is_finished == plain.is_finished
        assert len(told.interrupts) == len(plain.interrupts)


async def test_a_step_is_told_as_task_update_result_checkpoint_values(
    graphs: SimpleNamespace,
) -> None:
    lines = await tell(graphs.steps(), {"note": "x"}, graphs.config())
    methods = [line["method"] for line in lines]
    begin = ["lifecycle", "checkpoints", "checkpoints", "values"]
    # A client pairs a checkpoint with the values after it.
    assert methods == begin + ["tasks", "updates", "tasks", "checkpoints", "values"] * 3
    assert data_of(lines, "values")[-1]["log"] == ["one:x", "two:x", "three:x"]
    updates = [line["params"] for line in lines if line["method"] == "updates"]
    assert [one["node"] for one in updates] == ["one", "two", "three"]
    assert updates[0]["data"] == {"one": {"log": ["one:x"]}}
    start, end = data_of(lines, "tasks")[:2]
    assert start["id"] == end["id"]
    assert {"name", "input", "triggers"} <= start.keys()
    assert end.keys() == {"id", "name", "error", "result", "interrupts"}


async def test_checkpoints_are_linked_and_named_by_their_id(graphs: SimpleNamespace) -> None:
    graph, config = graphs.steps(), graphs.config()
    lines = await tell(graph, {"note": "x"}, config)
    checkpoints = data_of(lines, "checkpoints")
    assert [one["step"] for one in checkpoints] == [-1, 0, 1, 2, 3]
    assert [one["source"] for one in checkpoints] == ["input", *["loop"] * 4]
    assert "parent_id" not in checkpoints[0]
    for parent, child in pairwise(checkpoints):
        assert [*child] == ["id", "parent_id", "step", "source"]
        assert child["parent_id"] == parent["id"]
    ids = [line["event_id"] for line in lines if line["method"] == "checkpoints"]
    assert ids == [f"synth:{RUN_ID}:checkpoint||{one['id']}" for one in checkpoints]
    state = await graph.aget_state(config)
    assert state.config["configurable"]["checkpoint_id"] == checkpoints[-1]["id"]


async def test_with_durability_exit_only_the_checkpoint_that_is_saved_is_told(
    graphs: SimpleNamespace,
) -> None:
    graph, config = graphs.steps(), graphs.config()
    lines = await tell(graph, {"note": "x"}, config, durability="exit")
    (only,) = data_of(lines, "checkpoints")
    state = await graph.aget_state(config)
    assert only["id"] == state.config["configurable"]["checkpoint_id"]
    assert len(data_of(lines, "values")) == 4


async def test_without_a_checkpointer_values_do_not_wait(graphs: SimpleNamespace) -> None:
    class State(TypedDict):
        a: int

    graph = StateGraph(State).add_node("add", lambda state: {"a": state["a"] + 1})
    compiled = graph.add_edge(START, "add").compile()
    lines = await tell(compiled, {"a": 1}, graphs.config(), durability=None)
    methods = [line["method"] for line in lines]
    assert methods == ["lifecycle", "values", "tasks", "updates", "tasks", "values"]


async def test_messages_in_state_are_shown_without_what_says_nothing(
    graphs: SimpleNamespace,
) -> None:
    lines = await tell(graphs.echo(), {"messages": "a"}, graphs.config())
    human, ai = data_of(lines, "values")[-1]["messages"]
    assert human == {"type": "human", "content": "a", "id": human["id"]}
    assert ai == {
        "type": "ai",
        "content": [{"type": "text", "text": "Echo: a", "index": 0}],
        "id": ai["id"],
        "response_metadata": {"output_version": "v1"},
        "usage_metadata": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
    }
    (update,) = data_of(lines, "updates")
    assert update["model"]["messages"] == [ai]


async def test_what_json_cannot_say_does_not_stop_the_run(graphs: SimpleNamespace) -> None:
    class State(TypedDict):
        odd: Any
        messages: list[Any]

    odd: dict[str, Any] = {"huge": 2**70, "nul": "a\x00b", "object": object()}
    odd["itself"] = odd
    graph = StateGraph(State).add_node("node", lambda _: {"odd": odd})
    compiled = graph.add_edge(START, "node").compile()
    given = {"odd": 0, "messages": [HumanMessage("hi", id="h")]}
    lines = await tell(compiled, given, graphs.config(), durability=None)
    values = data_of(lines, "values")[-1]
    assert values["odd"]["huge"] == 2**70
    assert values["messages"] == [{"type": "human", "content": "hi", "id": "h"}]


async def test_custom_data_is_a_payload_where_it_was_written(graphs: SimpleNamespace) -> None:
    def writes(state: dict[str, Any]) -> dict[str, Any]:
        get_stream_writer()({"progress": 0})
        get_stream_writer()("plain text")
        return {"answer": "done"}

    lines = await tell(graphs.nested(writes), {"topic": "t"}, graphs.config())
    custom = [line["params"] for line in lines if line["method"] == "custom"]
    assert [one["data"] for one in custom] == [
        {"payload": {"progress": 0}},
        {"payload": "plain text"},
    ]
    assert all(one["namespace"][0].startswith("child:") for one in custom)


async def test_an_interrupt_is_requested_after_all_values_and_kept_out_of_them(
    graphs: SimpleNamespace,
) -> None:
    graph, config = graphs.approval(), graphs.config()
    stream = stream_of(graph, {"topic": "t"}, config)
    lines, others = await read(stream)
    (one,) = stream.interrupts
    assert lines[-1]["method"] == "input.requested"
    assert lines[-1]["event_id"] == f"synth:{RUN_ID}:input||{one.id}"
    question = {"question": "approve t?"}
    assert lines[-1]["params"]["data"] == {
        "interrupt_id": one.id,
        "payload": question,
        "value": question,
    }
    assert all("__interrupt__" not in data for data in data_of(lines, "values"))
    assert data_of(lines, "updates") == []
    assert others[-1][1]["__interrupt__"][0]["id"] == one.id
    assert not stream.is_finished
    answered = graphs.config(config["configurable"]["thread_id"])
    lines = await tell(graph, Command(resume={one.id: "yes"}), answered)
    assert data_of(lines, "input.requested") == []
    assert data_of(lines, "values")[-1] == {"topic": "t", "answer": "yes"}


async def test_parallel_interrupts_are_each_requested_once(graphs: SimpleNamespace) -> None:
    class State(TypedDict):
        done: Annotated[list[str], operator.add]

    asked = asyncio.Semaphore(0)

    def asks(name: str) -> Any:
        async def node(state: Any) -> Any:
            asked.release()
            return interrupt(name)

        return node

    async def later(state: Any) -> dict[str, Any]:
        for _ in range(2):
            await asked.acquire()
        await asyncio.to_thread(int)  # the loop goes round: both have been raised
        return {"done": ["slow"]}

    graph = StateGraph(State)
    for name in ("left", "right"):
        graph.add_node(name, asks(name)).add_edge(START, name)
    graph.add_node("slow", later).add_edge(START, "slow")
    compiled = graph.compile(checkpointer=InMemorySaver())
    stream = stream_of(compiled, {"done": []}, graphs.config())
    lines, _ = await read(stream)
    # Although a third branch still worked when they were raised.
    assert [line["method"] for line in lines[-2:]] == ["input.requested"] * 2
    assert sorted(data["value"] for data in data_of(lines, "input.requested")) == ["left", "right"]
    assert len(data_of(lines, "input.requested")) == 2
    assert len(stream.interrupts) == 2
    assert data_of(lines, "values")[-1] == {"done": ["slow"]}


async def test_an_interrupt_in_a_subgraph_is_requested_once_where_it_was_raised(
    graphs: SimpleNamespace,
) -> None:
    graph = graphs.nested(lambda _: {"answer": interrupt("inside?")})
    stream = stream_of(graph, {"topic": "t"}, graphs.config())
    lines, _ = await read(stream)
    (request,) = [line for line in lines if line["method"] == "input.requested"]
    (namespace,) = request["params"]["namespace"]
    assert namespace.startswith("child:")
    (one,) = stream.interrupts
    assert request["event_id"] == f"synth:{RUN_ID}:input|{namespace}|{one.id}"
    ends = [data["event"] for data in data_of(lines, "lifecycle", [namespace])]
    assert ends == ["started", "interrupted"]


async def test_a_static_breakpoint_requests_nothing_and_is_not_the_end(
    graphs: SimpleNamespace,
) -> None:
    stream = stream_of(graphs.steps(), {"note": "x"}, graphs.config(), interrupt_before=["two"])
    lines, _ = await read(stream)
    assert data_of(lines, "input.requested") == []
    assert not stream.is_finished
    assert stream.interrupts == []


async def test_a_graph_of_one_value_is_told_too(graphs: SimpleNamespace) -> None:
    @entrypoint(checkpointer=InMemorySaver())
    async def double(given: int) -> int:
        return given * 2

    stream = stream_of(double, 21, graphs.config())
    lines, _ = await read(stream)
    assert data_of(lines, "values") == [42]
    assert stream.answer() == b"42"

    @entrypoint(checkpointer=InMemorySaver())
    async def asks(given: int) -> int:
        return interrupt("sure?")

    stream = stream_of(asks, 21, graphs.config())
    lines, _ = await read(stream)
    assert data_of(lines, "values") == []
    assert [data["value"] for data in data_of(lines, "input.requested")] == ["sure?"]
    assert [one["value"] for one in json.loads(stream.answer())["__interrupt__"]] == ["sure?"]


async def test_a_state_that_is_a_model_does_not_break_its_subgraphs(
    graphs: SimpleNamespace,
) -> None:
    class Outer(BaseModel):
        topic: str
        answer: str = ""

    class Inner(TypedDict):
        question: int

    inner = StateGraph(Inner).add_node("inner", lambda _: {"question": 2})
    child = inner.add_edge(START, "inner").compile()

    async def asks(state: Outer) -> dict[str, Any]:
        given = await child.ainvoke({"question": 1})
        return {"answer": str(given["question"])}

    graph = StateGraph(Outer).add_node("asks", asks).add_edge(START, "asks")
    lines = await tell(graph.compile(checkpointer=InMemorySaver()), {"topic": "t"}, graphs.config())
    assert data_of(lines, "values", [])[-1] == {"topic": "t", "answer": "2"}
    assert {"question": 2} in data_of(lines, "values")


async def test_a_failure_comes_out_as_it_is_after_what_was_done(graphs: SimpleNamespace) -> None:
    def boom(state: Any) -> Any:
        raise ValueError("boom: value")

    stream = stream_of(graphs.nested(boom), {"topic": "t"}, graphs.config())
    lines: Lines = []
    with pytest.raises(ValueError, match="boom: value"):
        async for name, data in stream:
            if name == "v2":
                lines.append(json.loads(data))
    assert stream.values == b'{"topic":"t"}'
    assert not stream.is_finished
    assert data_of(lines, "values", []) == [{"topic": "t"}]
    errors = [data["error"] for data in data_of(lines, "tasks") if data.get("error")]
    assert errors == ["ValueError('boom: value')"] * 2


async def test_a_drained_graph_stops_between_steps_and_another_attempt_goes_on(
    graphs: SimpleNamespace,
) -> None:
    graph, config, control = graphs.steps(), graphs.config(), RunControl()
    stream = stream_of(graph, {"note": "x"}, config, control=control)
    first: Lines = []
    with pytest.raises(GraphDrained):
        async for name, data in stream:
            if name == "v2":
                first.append(json.loads(data))
                if first[-1]["method"] == "updates":
                    control.request_drain("deploy")
    assert not stream.is_finished
    assert 0 < len(data_of(first, "updates")) < 3
    second = await tell(graph, None, config, is_first_attempt=False)
    assert data_of(second, "lifecycle") == []
    updates = data_of(first, "updates") + data_of(second, "updates")
    assert [next(iter(one)) for one in updates] == ["one", "two", "three"]
    assert data_of(second, "values")[-1]["log"] == ["one:x", "two:x", "three:x"]
    # The checkpoint it goes on from is the one the first attempt told last, under the same id.
    ids = [line["event_id"] for line in first + second if line["method"] == "checkpoints"]
    assert len(ids) == len(set(ids)) + 1


async def test_closing_or_cancelling_the_stream_stops_the_graph(graphs: SimpleNamespace) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    async def forever(state: Any) -> Any:
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            stopped.set()

    stream = stream_of(graphs.nested(forever), {"topic": "t"}, graphs.config())
    task = asyncio.create_task(read(stream))
    await asyncio.wait_for(started.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(stopped.wait(), 5)
    # Also in the middle of what one item of the library's became.
    stream = stream_of(graphs.echo(), {"messages": "a"}, graphs.config())
    async for _ in stream:
        break
    await stream.aclose()
    await stream.aclose()
    assert not stream.is_finished


class Redacts(StreamTransformer):
    """Takes a word out of what models stream, counts it, and says so on a channel of its own."""

    before_builtins = True

    def __init__(self, scope: tuple[str, ...] = ()) -> None:
        super().__init__(scope)
        self._channel: StreamChannel[Any] = StreamChannel("redactions")

    def init(self) -> dict[str, Any]:
        return {"redactions": self._channel}

    def process(self, event: Any) -> bool:
        if event["method"] == "custom":
            return event["params"]["data"] != "secret"
        if event["method"] == "messages" and event["params"]["namespace"] == [*self.scope]:
            delta = event["params"]["data"][0].get("delta", {})
            if "Paul" in delta.get("text", ""):
                delta["text"] = delta["text"].replace("Paul", "****")
                self._channel.push({"count": 1})
        return True


async def test_a_graphs_own_transformers_change_hold_back_and_add_events(
    graphs: SimpleNamespace,
) -> None:
    model = graphs.model(reply=lambda _: AIMessage("I am Paul"))

    async def call(state: MessagesState) -> dict[str, Any]:
        get_stream_writer()("secret")
        get_stream_writer()("shown")
        return {"messages": [await model.ainvoke(state["messages"])]}

    for wraps in (False, True):
        builder = StateGraph(MessagesState)
        if wraps:
            child = StateGraph(MessagesState).add_node("call", call).add_edge(START, "call")
            builder.add_node("outer", child.compile()).add_edge(START, "outer")
        else:
            builder.add_node("call", call).add_edge(START, "call")
        graph = builder.compile(checkpointer=InMemorySaver(), transformers=[Redacts])
        lines = await tell(graph, {"messages": "who?"}, graphs.config())
        deltas = [data["delta"]["text"] for data in data_of(lines, "messages") if "delta" in data]
        assert deltas == ["I", " am", " ****"]
        custom = data_of(lines, "custom")
        assert {"payload": "shown"} in custom
        assert {"payload": "secret"} not in custom
        # A subgraph's named channel is for readers in the same process, as in the library.
        assert ({"name": "redactions", "payload": {"count": 1}} in custom) is not wraps
        assert data_of(lines, "tasks")


async def test_a_transformer_that_fails_fails_the_run(graphs: SimpleNamespace) -> None:
    class Breaks(StreamTransformer):
        def init(self) -> dict[str, Any]:
            return {}

        def process(self, event: Any) -> bool:
            raise RuntimeError("bad transformer")

    class State(TypedDict):
        a: int

    builder = StateGraph(State).add_node("node", lambda _: {"a": 2}).add_edge(START, "node")
    graph = builder.compile(checkpointer=InMemorySaver(), transformers=[Breaks])
    with pytest.raises(RuntimeError, match="bad transformer"):
        await tell(graph, {"a": 1}, graphs.config())
