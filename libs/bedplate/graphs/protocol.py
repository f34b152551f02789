"""A run streamed as the event-streaming protocol (v2) shows it, beside the root values for readers
of the older run streams.

The library's own protocol run (`astream_events(version="v3")`) builds handles for readers in the
same process: an accumulator per message, a mux per subgraph, a task per pull. Here the modes it is
made of are read directly, with models asked for content-block events, and each item becomes its
lines at once. Nothing waits for what may take long, and only ids are remembered.

What is *not* told here: the root's terminal lifecycle event. It follows from the run's end, which
is written after everything else (see the gateway).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from copy import copy
from typing import Any, cast

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl
from langgraph.types import Command, Durability

from bedplate.graphs.factories import AnyGraph
from bedplate.graphs.modes import Breakpoints, RunStream
from bedplate.graphs.protocol_extensions import Extensions
from bedplate.graphs.protocol_lifecycle import Lifecycles
from bedplate.graphs.protocol_lines import Namespace, Part, line, shown, synthetic_id
from bedplate.graphs.protocol_messages import FailedModels, MessageLines
from bedplate.graphs.protocol_order import Order
from bedplate.graphs.wire import WireEvent, dumps

_Item = tuple[Namespace, str, Any]

_INTERRUPT = "__interrupt__"
_MODES = ["checkpoints", "custom", "messages", "tasks", "tools", "updates", "values"]
# The library's switch for content-block events; it is honoured in version "v2" of `astream` alone.
_CONTENT_BLOCKS = "__pregel_stream_messages_v2"


def protocol_stream(
    graph: AnyGraph,
    input_or_command: Any,
    config: RunnableConfig,
    *,
    run_id: str,
    is_first_attempt: bool,
    context: Any = None,
    durability: Durability = "async",
    interrupt_before: Breakpoints = None,
    interrupt_after: Breakpoints = None,
    control: RunControl | None = None,
    modes: Sequence[str] = ("values",),
) -> RunStream:
    """Run `graph` (as `Registry.open` yields it) and tell it in lines named `v2`; its root is also
    told in `modes` as `stream_graph` does, without messages and subgraphs.

    Only the first attempt begins with the root's `running`. Nothing runs before the first event is
    asked for.
    """
    failed = FailedModels()
    arguments: dict[str, Any] = {
        "context": context,
        "stream_mode": _MODES,
        "subgraphs": True,
        "durability": durability,
        "interrupt_before": interrupt_before or None,
        "interrupt_after": interrupt_after or None,
        "control": control,
        "version": "v2",
    }
    configurable = {**config.get("configurable", {}), _CONTENT_BLOCKS: True}
    asked = merge_configs(config, {"configurable": configurable, "callbacks": [failed]})
    telling = _Telling(graph, run_id=run_id, failed=failed, keeps_steps=durability != "exit")
    running = (str(configurable.get("graph_id") or graph.name),) if is_first_attempt else ()
    stream = _stream(graph, input_or_command, asked, arguments)
    return RunStream(_source(stream, telling, running), graph, modes=set(modes) - {"messages"})


def _stream(
    graph: AnyGraph, given: Any, config: RunnableConfig, arguments: dict[str, Any]
) -> AsyncGenerator[Mapping[str, Any]]:
    plain = graph
    if graph._output_mapper is not None or graph._state_mapper is not None:  # pyright: ignore[reportPrivateUsage]
        # With a state that is a model the library would make one of every subgraph's state too,
        # and fail where that has other fields.
        plain = copy(graph)
        plain._output_mapper = plain._state_mapper = None  # pyright: ignore[reportPrivateUsage]
    stream = cast("Any", plain).astream(given, config, **arguments)
    return cast("AsyncGenerator[Mapping[str, Any]]", stream)


async def _source(
    stream: AsyncGenerator[Mapping[str, Any]], telling: _Telling, running: Sequence[str]
) -> AsyncGenerator[_Item | WireEvent]:
    """What `RunStream` reads: root items for its books and the older streams, and lines."""
    try:
        for graph_name in running:
            yield telling.running(graph_name)
        async with aclosing(stream):
            async for item in stream:
                part = Part(item["type"], item["ns"], item["data"], item.get("interrupts") or ())
                if not part.namespace and part.mode != "messages":
                    yield telling.root_item(part)
                for event in await telling.lines(part):
                    yield event
        for event in await telling.finished():
            yield event
    except Exception as error:
        for event in await telling.failed(error):
            yield event
        raise
    finally:
        await telling.closed()


class _Telling:
    """Turns the library's items into lines, one run at a time, in the order clients need."""

    def __init__(
        self, graph: AnyGraph, *, run_id: str, failed: FailedModels, keeps_steps: bool
    ) -> None:
        self._run_id = run_id
        self._has_one_channel = isinstance(graph.stream_channels_asis, str)
        # With durability "exit" the checkpoints between are never saved: nobody can go back there.
        self._keeps_steps = keeps_steps
        self._last_checkpoint: Part | None = None
        is_checkpointed = graph.checkpointer is not None and keeps_steps
        self._order = Order(is_checkpointed=is_checkpointed)
        self._lifecycles = Lifecycles(run_id)
        self._messages = MessageLines(failed)
        self._extensions = Extensions(graph)
        # By interrupt: where it was raised, and the request's data.
        self._requests: dict[str, tuple[Namespace, bytes]] = {}
        self._has_stopped = False

    def running(self, graph_name: str) -> WireEvent:
        return self._lifecycles.running(graph_name)

    def root_item(self, part: Part) -> _Item:
        """The item as the library gives it without the protocol: with the interrupts inside."""
        data = part.data
        if part.mode == "values" and part.interrupts:
            pending = {_INTERRUPT: tuple(part.interrupts)}
            data = pending if self._has_one_channel else {**data, **pending}
        return part.namespace, part.mode, data

    async def lines(self, part: Part) -> list[WireEvent]:
        lines = [*self._lifecycles.begun(part)]
        if part.mode == "tasks" and "result" in part.data:
            for held in self._order.below(part.namespace):
                lines += await self._told(held)
            lines += self._lifecycles.ended(part)
        if self._is_shown(part):
            for arranged in self._order.arranged(part):
                lines += await self._told(arranged)
        return lines

    async def finished(self) -> list[WireEvent]:
        lines = await self._rest()
        for part in await self._extensions.finished():
            lines += self._encoded(part)
        lines += self._messages.swept()
        waits = self._requests or self._has_stopped
        lines += self._lifecycles.swept("interrupted" if waits else "completed")
        # After all values: a client that sees a request stops reading them.
        return [*lines, *self._requested()]

    async def failed(self, error: Exception) -> list[WireEvent]:
        lines = await self._rest()
        for part in await self._extensions.failed(error):
            lines += self._encoded(part)
        if isinstance(error, GraphDrained):
            return lines  # the next attempt goes on with what is open
        lines += self._messages.swept(error)
        return [*lines, *self._lifecycles.swept("failed", error)]

    async def closed(self) -> None:
        await self._extensions.failed(RuntimeError("the run was stopped"))

    def _is_shown(self, part: Part) -> bool:
        """Whether `part` has lines of its own; keeps what is only shown at the end."""
        if part.mode == "updates" and _is_interrupt(part.data):
            if not part.namespace:
                self._has_stopped = True
            self._request(part.data[_INTERRUPT], part.namespace)
            return False
        if part.mode == "values":
            self._request(part.interrupts, part.namespace)
            if self._has_one_channel and part.interrupts and not part.namespace:
                return False
        if part.mode == "checkpoints" and not self._keeps_steps:
            if not part.namespace:
                self._last_checkpoint = part
            return False
        return True

    def _request(self, interrupts: Sequence[Any], namespace: Namespace) -> None:
        """Each once, where it was first seen: in the innermost graph."""
        for one in interrupts:
            if one.id in self._requests:
                continue
            data = {"interrupt_id": one.id, "payload": one.value, "value": one.value}
            if one.response_schema is not None:
                data["response_schema"] = one.response_schema
            self._requests[one.id] = (namespace, shown(data))

    def _requested(self) -> Iterator[WireEvent]:
        for interrupt_id, (namespace, data) in self._requests.items():
            event_id = synthetic_id(self._run_id, "input", namespace, interrupt_id)
            yield line("input.requested", namespace, data, event_id=event_id)

    async def _rest(self) -> list[WireEvent]:
        lines: list[WireEvent] = []
        for part in self._order.rest():
            lines += self._lifecycles.opened(part.namespace)
            lines += await self._told(part)
        if self._last_checkpoint is not None:
            lines += await self._told(self._last_checkpoint)
        return lines

    async def _told(self, part: Part) -> list[WireEvent]:
        if not self._extensions.are_any:
            return [*self._encoded(part)]
        lines: list[WireEvent] = []
        for made in await self._extensions.passed(part):
            lines += self._encoded(made)
        return lines

    def _encoded(self, part: Part) -> Iterator[WireEvent]:
        mode, namespace, data, _ = part
        if mode == "messages":
            yield from self._messages.lines(part)
        elif mode == "values":
            self._messages.remember(data, namespace)
            yield line("values", namespace, shown(data))
        elif mode == "updates":
            node = next(iter(data)) if isinstance(data, dict) and len(data) == 1 else None
            yield line("updates", namespace, shown(data), node=node)
        elif mode == "tools":
            yield line("tools", namespace, shown(_tool_event(data)))
        elif mode == "checkpoints":
            yield self._checkpoint(part)
        elif mode == "tasks":
            if "result" in data:
                yield from self._messages.results(part)
            yield line("tasks", namespace, dumps(data))
        elif mode == "extension":
            yield line("custom", namespace, shown(data))
        else:
            yield line("custom", namespace, shown({"payload": data}))

    def _checkpoint(self, part: Part) -> WireEvent:
        payload = part.data
        checkpoint_id = payload["config"]["configurable"].get("checkpoint_id")
        parent = (payload["parent_config"] or {}).get("configurable", {}).get("checkpoint_id")
        about: dict[str, Any] = {"id": checkpoint_id}
        if parent is not None:
            about["parent_id"] = parent
        about["step"] = payload["metadata"].get("step")
        about["source"] = payload["metadata"].get("source")
        event_id = synthetic_id(self._run_id, "checkpoint", part.namespace, checkpoint_id)
        return line("checkpoints", part.namespace, dumps(about), event_id=event_id)


def _is_interrupt(data: Any) -> bool:
    return isinstance(data, dict) and _INTERRUPT in data


def _tool_event(data: dict[str, Any]) -> dict[str, Any]:
    """A tool's event; a result that is a command is shown as the message it carries."""
    output = data.get("output")
    if not isinstance(output, Command):
        return data
    update = cast("Command[Any]", output).update
    messages: Any = update.get("messages") if isinstance(update, dict) else None
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, ToolMessage) and message.tool_call_id == data["tool_call_id"]:
            return {**data, "output": message}
    return data
