from __future__ import annotations

import dataclasses
import enum
import json
import timeit
import uuid
from collections import namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from time import process_time
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.types import Command, Interrupt, Send
from pydantic import BaseModel, Field, SecretStr

from bedplate.graphs import wire


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    when: datetime | None = None


class Answer(BaseModel):
    text: str
    said: BaseMessage | None = None
    secret: SecretStr = SecretStr("hush")
    hidden: str = Field(default="kept in", exclude=True)


class Attrs:
    __attrs_attrs__ = (namedtuple("Attribute", "name")("a"),)

    def __init__(self) -> None:
        self.a = {1}


Pair = namedtuple("Pair", "left right")
UUID = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")


def shown(value: Any) -> Any:
    return json.loads(wire.dumps(value))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "2026-01-02T03:04:05.000006+00:00"),
        (datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(3, 4, 5), "03:04:05"),
        (time(3, 4, tzinfo=timezone(timedelta(hours=2))), "03:04:00+02:00"),
        (timedelta(minutes=1, milliseconds=500), 60.5),
        (UUID, str(UUID)),
        (Decimal("1.10"), 1.1),
        (Decimal("NaN"), None),
        ({"a"}, ["a"]),
        (frozenset([1]), [1]),
        ((1, 2), [1, 2]),
        (Pair(1, 2), {"left": 1, "right": 2}),
        (b"\x00\xff", "AP8="),
        (Colour.RED, "red"),
        (Point(1, datetime(2026, 1, 1, tzinfo=UTC)), {"x": 1, "when": "2026-01-01T00:00:00+00:00"}),
        (Attrs(), {"a": [1]}),
        (float("nan"), None),
        (float("-inf"), None),
        ({1: "a", None: "b", UUID: "d"}, {"1": "a", "null": "b", str(UUID): "d"}),
        (ValueError("no"), "ValueError('no')"),
        (int, "<class 'int'>"),
        (Send("node", {"a": 1}), {"node": "node", "arg": {"a": 1}}),
        (
            Command(resume=1),
            {"graph": None, "update": None, "resume": 1, "goto": []},
        ),
        (
            Interrupt(value={"q": 1}, id="f00"),
            {"value": {"q": 1}, "id": "f00", "response_schema": None},
        ),
        (
            Document(page_content="text", metadata={"a": 1}),
            {"id": None, "metadata": {"a": 1}, "page_content": "text", "type": "Document"},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_odd_types_have_one_spelling(value: Any, expected: Any) -> None:
    assert shown(value) == expected
    # The same below a container that needs the slow walk.
    assert shown({"deep": [value], 2: 2**80}) == {"deep": [expected], "2": 2**80}


MESSAGES: list[BaseMessage] = [
    HumanMessage("hi", id="1", name="me"),
    HumanMessage([{"type": "text", "text": "hi"}], example_extra=1),
    SystemMessage("be"),
    AIMessage(
        "ok",
        tool_calls=[{"name": "t", "args": {"a": 1}, "id": "c", "type": "tool_call"}],
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
    ),
    AIMessageChunk(
        content="o", tool_call_chunks=[{"name": "t", "args": "{", "id": "c", "index": 0}]
    ),
    ToolMessage("done", tool_call_id="c", artifact={"rows": [1]}),
    RemoveMessage(id="1"),
    FunctionMessage(content="x", name="f"),
    ChatMessage(content="x", role="critic"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_kind_of_message_is_shown_as_its_model_dump(message: BaseMessage) -> None:
    assert shown(message) == json.loads(json.dumps(message.model_dump()))
    assert shown({1: message}) == {"1": shown(message)}


def test_an_ai_message_shows_all_documented_keys() -> None:
    assert shown(AIMessage("ok", id="1")).keys() == {
        "content",
        "additional_kwargs",
        "response_metadata",
        "type",
        "name",
        "id",
        "tool_calls",
        "invalid_tool_calls",
        "usage_metadata",
    }
    assert {"tool_call_id", "artifact", "status"} <= shown(
        ToolMessage("x", tool_call_id="1")
    ).keys()


def test_a_pydantic_model_keeps_what_is_excluded_and_secret_to_itself() -> None:
    said = AIMessage("hi", tool_calls=[{"name": "t", "args": {}, "id": "c"}])
    answer = shown(Answer(text="x", said=said))
    assert "hidden" not in answer
    assert answer["secret"] == "**********"
    assert answer["said"]["tool_calls"][0]["name"] == "t"


def test_integers_keep_every_digit() -> None:
    assert wire.dumps({"a": 2**64 - 1, "b": 2**64, "c": -(2**63) - 1}) == (
        b'{"a":18446744073709551615,"b":18446744073709551616,"c":-9223372036854775809}'
    )


def test_what_postgresql_cannot_store_is_replaced() -> None:
    assert shown({"a\x00": "b\x00\ud800c", "same": "\\u0000"}) == {
        "a\ufffd": "b\ufffd\ufffdc",
        "same": "\\u0000",
    }


def test_nothing_a_user_puts_in_raises() -> None:
    class Sulks:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    class Refuses(BaseModel):
        def model_dump(self, **_: Any) -> Any:
            raise RuntimeError("no")

    cycle: list[Any] = []
    cycle.append({"again": cycle})
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    shared = {"a": 1}
    text = shown({"c": cycle, "d": deep, "s": Sulks(), "r": Refuses(), "f": print, "g": iter([])})
    assert "Sulks" in text["s"]
    assert text["f"] == "<built-in function print>"
    assert shown([shared, shared, {1: 1}]) == [{"a": 1}, {"a": 1}, {"1": 1}]


def test_a_small_token_costs_at_most_ten_microseconds() -> None:
    chunk = AIMessageChunk(content=" a", id="lc_run--1")
    metadata = {f"langgraph_{number}": f"value {number}" for number in range(20)}
    timer = timeit.Timer(lambda: wire.dumps((chunk, metadata)), timer=process_time)
    assert min(timer.repeat(number=1000, repeat=5)) / 1000 < 10e-6
