"""Lines of the event-streaming protocol (v2) as a worker writes them into a run's event log.

A line is `{"method", "params": {"namespace", "timestamp", "data", "node"?}, "event_id"?}`; the
gateway adds what only it knows (`seq`, and the id of an event that has none of its own). Here is
how one is spelled, and how the protocol shows messages inside state.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import orjson
from langchain_core.messages import BaseMessage, BaseMessageChunk, message_chunk_to_message

from bedplate.graphs.wire import WireEvent, dumps, raw
from bedplate_proto.vocabulary import EventName

Namespace = tuple[str, ...]

_OPTIONS = orjson.OPT_NAIVE_UTC
# Parts of the namespace in an id: no node can have this character in its name.
_ID_SEPARATOR = "\x00"
# The order in which every message begins; what else it has follows.
_FIRST = frozenset({"type", "content", "id"})


class Part(NamedTuple):
    """What the library streams: one item of one mode. `interrupts` are those of a `values` item."""

    mode: str
    namespace: Namespace
    data: Any
    interrupts: Sequence[Any] = ()


def line(
    method: str,
    namespace: Sequence[str],
    data: bytes,
    *,
    node: str | None = None,
    event_id: str | None = None,
) -> WireEvent:
    """One line. `data` is JSON; `event_id` is given for events that are made, not streamed."""
    about = b"" if node is None else b',"node":' + dumps(node)
    # Not by `dumps`: it takes out the separator of the id, which is no text of a user's.
    known = b"" if event_id is None else b',"event_id":' + _id_json(event_id)
    return WireEvent(
        EventName.PROTOCOL,
        b'{"method":"%b","params":{"namespace":%b,"timestamp":%d,"data":%b%b}%b}'
        % (
            method.encode(),
            dumps(list(namespace)),
            time.time_ns() // 1_000_000,
            data,
            about,
            known,
        ),
    )


def synthetic_id(run_id: str, kind: str, namespace: Sequence[str], which: str) -> str:
    """The id of an event that is made of others: the same whoever makes it, and on every attempt.

    React cuts the run's id out of it: the form is part of the protocol.
    """
    return f"synth:{run_id}:{kind}|{_ID_SEPARATOR.join(namespace)}|{which}"


def shown(value: Any) -> bytes:
    """`value` as JSON with its messages as the protocol shows them. Never raises for what it is."""
    try:
        encoded = orjson.dumps(value, _shaped, _OPTIONS)
    except Exception:
        return dumps(_with_shown_messages(value, frozenset()))
    if b"\\u0000" in encoded:
        return dumps(_with_shown_messages(value, frozenset()))
    return encoded


def shown_message(message: BaseMessage) -> dict[str, Any]:
    """`message` without what says nothing: empty fields, and what only a piece of one has."""
    if isinstance(message, BaseMessageChunk):
        message = message_chunk_to_message(message)
    about: dict[str, Any] = {"type": message.type, "content": message.content}
    if message.id:
        about["id"] = message.id
    extra = message.__pydantic_extra__
    fields = {**message.__dict__, **extra} if extra else message.__dict__
    said = {
        name: value
        for name, value in fields.items()
        if name not in _FIRST and not _says_nothing(name, value)
    }
    return about | said


def _says_nothing(name: str, value: Any) -> bool:
    if isinstance(value, (dict, list, str)):
        return not value
    return value is None or (name == "example" and not value)


def _shaped(value: Any) -> Any:
    if isinstance(value, BaseMessage):
        return shown_message(value)
    return raw(dumps(value))


def _with_shown_messages(value: Any, above: frozenset[int]) -> Any:
    """The slow way, for values orjson refuses. `above` holds the ids of the containers around."""
    if isinstance(value, BaseMessage):
        return shown_message(value)
    if not isinstance(value, (dict, list)) or id(cast("object", value)) in above:
        return value
    within = above | {id(cast("object", value))}
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return {key: _with_shown_messages(item, within) for key, item in items}
    return [_with_shown_messages(item, within) for item in cast("list[Any]", value)]


def _id_json(event_id: str) -> bytes:
    try:
        return orjson.dumps(event_id)
    except Exception:
        return dumps(event_id)  # a lone surrogate in a node's name
