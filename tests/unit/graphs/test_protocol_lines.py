from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    ToolMessage,
)

from bedplate.graphs.protocol_lines import line, shown, shown_message, synthetic_id
from bedplate.graphs.protocol_messages import FailedModels


def test_a_line_is_one_line_of_json_in_a_fixed_order() -> None:
    made = line("updates", ("a:1", "b:2"), b'{"x":1}', node="b", event_id="synth:1")
    assert made.event == "v2"
    assert b"\n" not in made.data
    told = json.loads(made.data)
    assert [*told] == ["method", "params", "event_id"]
    assert [*told["params"]] == ["namespace", "timestamp", "data", "node"]
    assert told["params"]["namespace"] == ["a:1", "b:2"]
    assert isinstance(told["params"]["timestamp"], int)


def test_a_node_of_any_name_makes_a_line() -> None:
    odd = 'we"ird\n\ud800 %b'
    told = json.loads(line("custom", (odd,), b"null", node=odd, event_id=odd).data)
    assert told["params"]["node"].startswith('we"ird\n')
    assert told["params"]["data"] is None


def test_an_id_names_run_kind_namespace_and_what() -> None:
    assert synthetic_id("r", "lc", (), "running") == "synth:r:lc||running"
    assert synthetic_id("r", "lc", ("a:1", "b:2"), "started") == "synth:r:lc|a:1\x00b:2|started"
    made = line("lifecycle", (), b"{}", event_id=synthetic_id("r", "lc", ("a", "b"), "started"))
    assert json.loads(made.data)["event_id"] == "synth:r:lc|a\x00b|started"


def test_every_kind_of_message_is_shown_without_what_says_nothing() -> None:
    call = {"name": "look", "args": {}, "id": "c", "type": "tool_call"}
    kinds: list[tuple[BaseMessage, dict[str, Any]]] = [
        (HumanMessage("hi", id="1"), {"type": "human", "content": "hi", "id": "1"}),
        (HumanMessage(""), {"type": "human", "content": ""}),
        (
            AIMessage("", tool_calls=[call], id="2"),
            {"type": "ai", "content": "", "id": "2", "tool_calls": [call]},
        ),
        (
            AIMessageChunk("piece", id="3", chunk_position="last"),
            {"type": "ai", "content": "piece", "id": "3"},
        ),
        (
            ToolMessage("no", tool_call_id="c", status="error", artifact=0),
            {
                "type": "tool",
                "content": "no",
                "tool_call_id": "c",
                "status": "error",
                "artifact": 0,
            },
        ),
    ]
    for message, expected in kinds:
        assert shown_message(message) == expected
        assert json.loads(shown([message])) == [expected]


def test_messages_are_shown_alike_wherever_they_are() -> None:
    @dataclass
    class State:
        messages: list[BaseMessage]

    message, expected = HumanMessage("hi", id="1"), {"type": "human", "content": "hi", "id": "1"}
    assert json.loads(shown({"a": {"b": (message,)}})) == {"a": {"b": [expected]}}
    assert json.loads(shown(State([message]))) == {"messages": [expected]}
    # Also where the value is one that takes the slow way.
    around: dict[str, Any] = {"huge": 2**80, "messages": [message], 1: "\x00"}
    around["again"] = around
    told = json.loads(shown(around))
    assert told["huge"] == 2**80
    assert told["messages"] == [expected]
    assert "\x00" not in told["1"]


def test_failures_of_models_are_noted_within_bounds_and_as_they_may_be_shown() -> None:
    failed = FailedModels()
    runs = [uuid.uuid4() for _ in range(100)]
    for run_id in runs:
        failed.on_llm_error(OSError("secret"), run_id=run_id)
    assert len(failed.errors) == 64
    assert failed.errors[str(runs[-1])] == "An internal error occurred"
