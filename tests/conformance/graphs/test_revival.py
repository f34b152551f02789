"""Messages that were read the short way are those that LangGraph's own serializer reads."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import ormsgpack
import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.checkpoint.serde import types as serde_types
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from bedplate.graphs.revival import reviving
from bedplate.graphs.serde import strict_serde

_Snapshot = serde_types._DeltaSnapshot  # pyright: ignore[reportPrivateUsage]
_CALL: Any = {"name": "look", "args": {"at": [1, {"deep": None}]}, "id": "c1"}
_RAW_CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
_USAGE: Any = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
_BLOCKS: Any = [{"type": "text", "text": "hi"}, "and", {"type": "image", "url": "x"}]

SHORT: list[BaseMessage] = [
    HumanMessage("hi"),
    HumanMessage(_BLOCKS, id="1", name="me", additional_kwargs={"k": [1, 2]}),
    SystemMessage("be good", id="s"),
    AIMessage("yes", id="a", response_metadata={"model": "m", "n": 1.5}),
    AIMessage("", tool_calls=[_CALL, {**_CALL, "id": None}]),
    AIMessage("", additional_kwargs={"tool_calls": [_RAW_CALL]}),
    AIMessage(_BLOCKS, usage_metadata=_USAGE),
    AIMessage(
        "",
        usage_metadata={
            **_USAGE,
            "input_token_details": {"cache_read": 1, "audio": 0},
            "output_token_details": {"reasoning": 2},
        },
    ),
    ToolMessage("done", tool_call_id="c1", name="look", artifact={"any": ["thing", 1]}),
    ToolMessage(_BLOCKS, tool_call_id="c1", status="error"),
]


def _changed(message: BaseMessage, **fields: Any) -> BaseMessage:
    """As users' code leaves it that writes into a message: nothing validates that."""
    changed = copy.deepcopy(message)
    vars(changed).update(fields)
    return changed


_AI, _TOOL = AIMessage("yes"), ToolMessage("done", tool_call_id="c1")
LONG: list[BaseMessage] = [
    HumanMessage("hi", additional_kwargs={"at": datetime(2026, 1, 2, tzinfo=UTC)}),
    ToolMessage("done", tool_call_id="c1", artifact={UUID(int=1)}),
    HumanMessage("hi", mood="good"),
    AIMessageChunk(content="ye"),
    RemoveMessage(id="gone"),
    AIMessage("", invalid_tool_calls=[{**_CALL, "args": "{", "error": "cut"}]),
    _changed(_AI, additional_kwargs={"tool_calls": [_RAW_CALL]}),
    _changed(_AI, content=None),
    _changed(_AI, content=[1, "a"]),
    _changed(_AI, content=("a", "b")),
    _changed(_AI, id=7),
    _changed(_AI, name=7),
    _changed(_AI, type="human"),
    _changed(_AI, response_metadata=None),
    _changed(_AI, tool_calls=None),
    _changed(_AI, tool_calls=[_CALL]),
    _changed(_AI, tool_calls=[{**_CALL, "type": "tool_call", "extras": {"a": 1}}]),
    _changed(_AI, tool_calls=[{**_CALL, "type": "function"}]),
    _changed(_AI, tool_calls=[{**_CALL, "type": "tool_call", "args": {1: 2}}]),
    _changed(_AI, usage_metadata={**_USAGE, "other": 1}),
    _changed(_AI, usage_metadata={"input_tokens": 1}),
    _changed(_AI, usage_metadata={**_USAGE, "total_tokens": 7.0}),
    _changed(_AI, usage_metadata={**_USAGE, "input_token_details": {"flex": 1}}),
    _changed(_AI, usage_metadata={**_USAGE, "input_token_details": None}),
    _changed(_TOOL, tool_call_id=7),
    _changed(_TOOL, status="odd"),
    _changed(_TOOL, content={"a": 1}),
    _changed(_TOOL, content=[1]),
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("message", [*SHORT, *LONG], ids=repr)
def test_messages_come_back_as_from_the_stock_serializer(message: BaseMessage) -> None:
    ours, stock = strict_serde(), JsonPlusSerializer(allowed_msgpack_modules=None)
    for value in ([message], {"messages": [message]}, _Snapshot([message])):
        stored = stock.dumps_typed(value)
        assert ours.dumps_typed(value) == stored
        mine, theirs = (_only(serde.loads_typed(stored)) for serde in (ours, stock))
        assert type(mine) is type(theirs)
        assert mine == theirs
        assert repr(mine) == repr(theirs)
        if isinstance(theirs, BaseMessage):
            assert list(mine.__dict__) == list(theirs.__dict__)
            assert mine.model_fields_set == theirs.model_fields_set
            assert mine.model_extra == theirs.model_extra
            assert ours.dumps_typed(mine) == stock.dumps_typed(theirs)


def _only(value: Any) -> Any:
    if isinstance(value, _Snapshot):
        value = value.value
    [message] = value["messages"] if isinstance(value, dict) else value
    return message


@pytest.mark.parametrize("message", SHORT, ids=repr)
def test_a_message_as_it_was_made_takes_the_short_way(message: BaseMessage) -> None:
    asked: list[int] = []

    def stock(code: int, _data: bytes) -> Any:
        asked.append(code)

    kind, data = strict_serde().dumps_typed([message])
    assert kind == "msgpack"
    [found] = ormsgpack.unpackb(data, ext_hook=reviving(stock))
    assert (found, asked) == (message, [])


def test_damaged_messages_come_back_as_from_the_stock_serializer() -> None:
    ours, stock = strict_serde(), JsonPlusSerializer(allowed_msgpack_modules=None)
    kind, data = stock.dumps_typed([HumanMessage("a word")])
    read = 0
    for at in range(len(data)):
        damaged = kind, data[:at] + b"\xc1" + data[at + 1 :]
        try:
            theirs = stock.loads_typed(damaged)
        except Exception as error:
            with pytest.raises(type(error)):
                ours.loads_typed(damaged)
        else:
            read += 1
            assert ours.loads_typed(damaged) == theirs
    assert read


def test_a_revived_message_is_one_like_any_other() -> None:
    serde = strict_serde()
    [found] = serde.loads_typed(serde.dumps_typed([AIMessage("yes", id="a")]))
    found.content = "no"
    later = found.model_copy(update={"id": "b"})
    assert (later.content, later.id, found.id) == ("no", "b", "a")
    assert copy.deepcopy(later) == later
    assert AIMessage.model_validate(found.model_dump()) == found
