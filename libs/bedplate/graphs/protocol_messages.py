"""The `messages` channel: each message as its start, its content blocks piece by piece, its finish.

Models stream such events themselves once they are asked to; a message that comes whole (a node
returned it, a model cannot stream) is told the same way, all at once. The results of tools are told
beside them, under a namespace of the call's own.

Only a message's start carries its id. A client knows what the other events belong to by namespace
and node (JS), or because nothing else is open (Python). Where that is not enough, because two
messages stream at a time, the second is given a node of its own, and events carry the id.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    BaseMessageChunk,
    ToolMessage,
    message_chunk_to_message,
)

from bedplate.graphs.failures import shown_error
from bedplate.graphs.protocol_lines import Namespace, Part, line, shown
from bedplate.graphs.wire import WireEvent

# They travel with a block's finish alone: twice would be twice the size of every image.
_HEAVY = frozenset({"args", "base64", "data", "output", "transcript", "value"})
_EMPTY: dict[str, Any] = {"tool_call": {"args": {}}, "non_standard": {"value": {}}}
_GROWS = {"text": "text", "reasoning": "reasoning"}
_INTERNAL_ROLE = "tool"
# Failures whose message was not told yet, or never will be, because the model said nothing.
_ERRORS_MAX = 64


@dataclass
class _Open:
    id: str
    namespace: Namespace
    node: str
    task: str


class FailedModels(BaseCallbackHandler):
    """Notes the runs of models that failed: the library lets their messages just stop."""

    run_inline = True

    def __init__(self) -> None:
        self.errors: dict[str, str] = {}

    def on_llm_error(self, error: BaseException, *, run_id: uuid.UUID, **_: Any) -> None:
        if len(self.errors) >= _ERRORS_MAX:
            del self.errors[next(iter(self.errors))]
        self.errors[str(run_id)] = shown_error(error)["message"]


class MessageLines:
    """The lines of one run's messages. Remembers which are open and which tool results it told."""

    def __init__(self, failed: FailedModels) -> None:
        self._failed = failed
        self._open: dict[str, _Open] = {}
        self._internal: set[str] = set()
        self._told: set[str] = set()
        self._seen_states: set[Namespace] = set()

    def lines(self, part: Part) -> Iterator[WireEvent]:
        """The lines of one item of the library's `messages` mode."""
        payload, metadata = part.data
        if self._failed.errors:
            yield from self._given_up(but=str(metadata.get("run_id", "")))
        if isinstance(payload, BaseMessage):
            yield from self._whole(payload, metadata, part.namespace)
        elif isinstance(payload, dict):
            yield from self._streamed(cast("dict[str, Any]", payload), metadata, part.namespace)

    def remember(self, values: Any, namespace: Namespace) -> None:
        """Learn from a graph's first state which tool results are old: they are not told again."""
        if namespace in self._seen_states:
            return
        self._seen_states.add(namespace)
        self._told.update(message.tool_call_id for message in _tool_messages(values))

    def results(self, part: Part) -> Iterator[WireEvent]:
        """The tool results that a task gave, and the end of what it left open."""
        for message in _tool_messages(part.data["result"]):
            if message.tool_call_id in self._told:
                continue
            self._told.add(message.tool_call_id)
            if not message.id:
                # Set before the reducer would: it must be the id the state shows.
                message.id = str(uuid.uuid4())
            namespace = (*part.namespace, f"tools:{message.tool_call_id}")
            about = {"tool_call_id": message.tool_call_id}
            for data in _told_whole(message, about):
                yield line("messages", namespace, shown(_with_content(data)))
        if self._open:
            error = part.data.get("error")
            raised = error if isinstance(error, BaseException) else None
            yield from self._left_open(raised, task=f"{part.data['name']}:{part.data['id']}")

    def swept(self, error: BaseException | None = None) -> Iterator[WireEvent]:
        yield from self._left_open(error, task=None)

    def _streamed(
        self, data: dict[str, Any], metadata: Mapping[str, Any], namespace: Namespace
    ) -> Iterator[WireEvent]:
        run, kind = str(metadata.get("run_id", "")), data.get("event")
        if kind == "message-start":
            if data.get("role") == _INTERNAL_ROLE:
                # How a middleware marks a call that is none of the client's business.
                self._internal.add(run)
                return
            message_id = data.get("id") or data.get("message_id") or f"lc_run--{run}"
            data = {"event": kind, "role": data.get("role", "ai"), **data, "id": message_id}
            node = self._free_node(metadata, namespace, message_id)
            self._open[run] = _Open(message_id, namespace, node, _task_of(metadata))
        elif run in self._internal:
            if kind == "message-finish":
                self._internal.discard(run)
            return
        one = self._open.get(run)
        if one is None:
            return
        if kind != "message-start" and self._is_crowded(one):
            data = {**data, "id": one.id}
        if kind in ("message-finish", "error"):
            del self._open[run]
        if kind == "content-block-delta":
            data = _with_piece(data)
        yield line("messages", namespace, shown(data), node=one.node)

    def _whole(
        self, message: BaseMessage, metadata: Mapping[str, Any], namespace: Namespace
    ) -> Iterator[WireEvent]:
        if isinstance(message, BaseMessageChunk):
            message = message_chunk_to_message(message)
        if message.type == "remove" or isinstance(message, ToolMessage):
            return
        node = self._free_node(metadata, namespace, message.id or "")
        crowded = any(one.namespace == namespace for one in self._open.values())
        for data in _told_whole(message, {}):
            if crowded:
                data["id"] = message.id
            yield line("messages", namespace, shown(data), node=node)

    def _free_node(self, metadata: Mapping[str, Any], namespace: Namespace, message_id: str) -> str:
        """The node's name, or a longer one if a message of that name is open in `namespace`."""
        node: str = metadata.get("langgraph_node") or ""
        taken = {one.node for one in self._open.values() if one.namespace == namespace}
        task = _task_of(metadata)
        return next(name for name in (node, task, f"{task}:{message_id}") if name not in taken)

    def _is_crowded(self, one: _Open) -> bool:
        if len(self._open) == 1:
            return False
        return sum(other.namespace == one.namespace for other in self._open.values()) > 1

    def _given_up(self, *, but: str) -> Iterator[WireEvent]:
        """The end of messages whose model failed. A failure is known before the last pieces are
        read, so nothing is ended by its own piece.
        """
        for run in [run for run in self._failed.errors if run != but and run in self._open]:
            yield self._error(self._open.pop(run), self._failed.errors.pop(run))

    def _left_open(self, error: BaseException | None, *, task: str | None) -> Iterator[WireEvent]:
        message = "the message was not finished"
        if error is not None:
            message = shown_error(error)["message"]
        for run in [run for run, one in self._open.items() if task in (None, one.task)]:
            yield self._error(self._open.pop(run), self._failed.errors.pop(run, message))

    def _error(self, one: _Open, message: str) -> WireEvent:
        data = {"event": "error", "message": message, "id": one.id}
        return line("messages", one.namespace, shown(data), node=one.node)


def _task_of(metadata: Mapping[str, Any]) -> str:
    return str(metadata.get("langgraph_checkpoint_ns", "")).rpartition("|")[2]


def _told_whole(message: BaseMessage, about: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A finished message in the events of one that streams."""
    yield {"event": "message-start", "role": message.type, "id": message.id, **about}
    for index, block in enumerate(_blocks(message)):
        skeleton = {key: value for key, value in block.items() if key not in _HEAVY}
        kind = block.get("type", "text")
        skeleton |= _EMPTY.get(kind, {})
        grows = _GROWS.get(kind)
        if grows is not None:
            skeleton[grows] = ""
        yield {"event": "content-block-start", "index": index, "content": skeleton}
        if grows is not None and block.get(grows):
            delta = {"type": f"{kind}-delta", grows: block[grows]}
            yield {"event": "content-block-delta", "index": index, "delta": delta}
        yield {"event": "content-block-finish", "index": index, "content": block}
    finish: dict[str, Any] = {"event": "message-finish"}
    if isinstance(message, AIMessage) and message.usage_metadata:
        finish["usage"] = message.usage_metadata
    if message.response_metadata:
        finish["metadata"] = message.response_metadata
    yield finish


def _blocks(message: BaseMessage) -> list[dict[str, Any]]:
    try:
        blocks = [dict(block) for block in cast("Any", message.content_blocks)]
    except Exception:
        # Content no translator of the library takes is still shown.
        blocks = [{"type": "text", "text": str(message.content)}]
    if isinstance(message, AIMessage):
        blocks += [{**call, "type": "invalid_tool_call"} for call in message.invalid_tool_calls]
    return blocks


def _with_content(data: dict[str, Any]) -> dict[str, Any]:
    """A tool result's delta carries a block's content instead of what is to be added to it."""
    if data["event"] != "content-block-delta":
        return data
    delta = data.pop("delta")
    kind = delta["type"].removesuffix("-delta")
    return {**data, "content": {**delta, "type": kind}}


def _with_piece(data: dict[str, Any]) -> dict[str, Any]:
    """A piece of a tool call also as a block to be merged.

    React 1.1 (its SDK is 1.11) knows no `tool-call-delta`: without a block it stops reading the
    sub-agent that calls the tool (tests/node/use_stream.test.js). Who takes the delta ignores it.
    """
    delta = data.get("delta") or {}
    if delta.get("type") != "tool-call-delta":
        return data
    return {**data, "content": {"type": "tool_call_chunk", "args": delta["args"]}}


def _tool_messages(value: Any) -> Iterator[ToolMessage]:
    """The tool messages in a state or an update: in a channel, or in the list a channel holds."""
    if isinstance(value, ToolMessage):
        yield value
    elif isinstance(value, dict):
        for item in cast("dict[str, Any]", value).values():
            yield from _tool_messages_of(item)


def _tool_messages_of(channel: Any) -> Iterator[ToolMessage]:
    if isinstance(channel, ToolMessage):
        yield channel
    elif isinstance(channel, dict) and "$writes" in channel:
        for write in cast("Sequence[Any]", channel["$writes"]):
            yield from _tool_messages_of(write)
    elif isinstance(channel, (list, tuple)):
        for item in cast("Sequence[Any]", channel):
            if isinstance(item, ToolMessage):
                yield item
