"""Messages out of checkpoints, without validating again what was a message when it was stored.

All messages of a thread are read when a run begins, and most of what that costs is their
validation. What has exactly the fields of its class, each of the form in which validation leaves
it, is the message: it gets its fields as they are. Whatever else there is (a message of another
release, one changed since it was made, a class of the project) is LangGraph's to revive, as ever
(test_messages_come_back_as_from_the_stock_serializer holds the two together).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import ormsgpack
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails
from langgraph.checkpoint.serde import jsonplus
from langgraph.checkpoint.serde import types as serde_types

Hook = Callable[[int, bytes], Any]
_Fields = dict[str, Any]
_Check = Callable[[_Fields], bool]

# Part of the storage format, although its name is private.
_DeltaSnapshot = serde_types._DeltaSnapshot  # pyright: ignore[reportPrivateUsage]
_OPTIONS = ormsgpack.OPT_NON_STR_KEYS
_CALL = ("name", "args", "id", "type")
_COUNTS = ("input_tokens", "output_tokens", "total_tokens")
_DETAILS = ("input_token_details", "output_token_details")
_DETAILS_KNOWN = (
    tuple(InputTokenDetails.__annotations__),
    tuple(OutputTokenDetails.__annotations__),
)
_setattr = object.__setattr__


def reviving(stock: Hook) -> Hook:
    """`stock`, the hook that LangGraph revives msgpack's extensions with, and a shorter way for
    messages in lists and snapshots."""

    def hook(code: int, data: bytes) -> Any:
        if code == jsonplus.EXT_PYDANTIC_V2:
            try:
                message = _message_of(ormsgpack.unpackb(data, ext_hook=_refuse, option=_OPTIONS))
            except Exception:
                message = None  # what becomes of damaged data, too, is LangGraph's to say
            return stock(code, data) if message is None else message
        if code == jsonplus.EXT_DELTA_SNAPSHOT:
            return _DeltaSnapshot(ormsgpack.unpackb(data, ext_hook=hook, option=_OPTIONS))
        return stock(code, data)

    return hook


def _refuse(_code: int, _data: bytes) -> Any:
    """For what a message holds besides plain data: reviving that here and, with all around it, by
    LangGraph again would cost more with every level."""
    raise TypeError("not plain data")


def _message_of(given: Any) -> BaseMessage | None:
    """The message, if validation would change nothing. `given`: module, class, fields, and how to
    revive them."""
    known = _KNOWN.get((given[0], given[1]))
    if known is None:
        return None
    kind, names, is_plain = known
    fields = given[2]
    if tuple(fields) != names or not (_is_message(kind, fields) and is_plain(fields)):
        return None
    message = kind.__new__(kind)
    _setattr(message, "__dict__", fields)
    _setattr(message, "__pydantic_fields_set__", set(names))
    _setattr(message, "__pydantic_extra__", {})
    _setattr(message, "__pydantic_private__", None)
    return message


def _is_message(kind: type[BaseMessage], fields: _Fields) -> bool:
    return (
        fields["type"] == kind.model_fields["type"].default
        and _is_content(fields["content"])
        and type(fields["additional_kwargs"]) is dict
        and type(fields["response_metadata"]) is dict
        and _is_text_or_none(fields["name"])
        and _is_text_or_none(fields["id"])
    )


def _is_content(content: Any) -> bool:
    if type(content) is str:
        return True
    if type(content) is not list:
        return False
    return all(type(block) in (str, dict) for block in cast("list[Any]", content))


def _is_text_or_none(value: Any) -> bool:
    return value is None or type(value) is str


def _is_anything(_fields: _Fields) -> bool:
    return True


def _is_answer(fields: _Fields) -> bool:
    calls = fields["tool_calls"]
    if type(calls) is not list or fields["invalid_tool_calls"] != []:
        return False
    # Without calls of its own, validation makes them of what the provider sent.
    if not calls and fields["additional_kwargs"].get("tool_calls"):
        return False
    usage = fields["usage_metadata"]
    return all(map(_is_call, calls)) and (usage is None or _is_usage(usage))


def _is_call(call: Any) -> bool:
    return (
        type(call) is dict
        and tuple(cast("_Fields", call)) == _CALL
        and call["type"] == "tool_call"
        and type(call["name"]) is str
        and type(call["args"]) is dict
        and all(type(name) is str for name in call["args"])
        and _is_text_or_none(call["id"])
    )


def _is_usage(usage: Any) -> bool:
    if type(usage) is not dict:
        return False
    counts = {name: usage[name] for name in usage if name not in _DETAILS}
    details = tuple(name for name in _DETAILS if name in usage)
    return (
        tuple(usage) == (*_COUNTS, *details)
        and _are_counts(counts, _COUNTS)
        and all(
            _are_counts(usage[name], known)
            for name, known in zip(_DETAILS, _DETAILS_KNOWN, strict=True)
            if name in usage
        )
    )


def _are_counts(given: Any, known: Sequence[str]) -> bool:
    """Whole numbers under known names, in their order: validation drops others."""
    if type(given) is not dict:
        return False
    counts = cast("_Fields", given)
    return tuple(counts) == tuple(name for name in known if name in counts) and all(
        type(count) is int for count in counts.values()
    )


def _is_result(fields: _Fields) -> bool:
    return type(fields["tool_call_id"]) is str and fields["status"] in ("success", "error")


_FIELDS = ("content", "additional_kwargs", "response_metadata", "type", "name", "id")
# A release whose classes have other fields than these is left to LangGraph.
_KNOWN: dict[tuple[str, str], tuple[type[BaseMessage], tuple[str, ...], _Check]] = {
    (kind.__module__, kind.__name__): (kind, names, is_plain)
    for kind, names, is_plain in (
        (HumanMessage, _FIELDS, _is_anything),
        (SystemMessage, _FIELDS, _is_anything),
        (AIMessage, (*_FIELDS, "tool_calls", "invalid_tool_calls", "usage_metadata"), _is_answer),
        (ToolMessage, (*_FIELDS, "tool_call_id", "artifact", "status"), _is_result),
    )
    if tuple(kind.model_fields) == names and not kind.__private_attributes__
}
