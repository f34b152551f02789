"""One run's stream in the Agent Server's words: names, order and shapes of its run streams.

The library streams Python objects; `RunStream` asks it for no more modes than the client's need,
names and encodes each item once, and remembers what the thread's row must show when the run is
over: the newest values (as an object, encoded only at the end) and what it stopped at.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal, cast

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import RunControl
from langgraph.types import All, Durability, Interrupt

from bedplate.graphs.factories import AnyGraph
from bedplate.graphs.messages import MessageEvents
from bedplate.graphs.wire import WireEvent, dumps

Mode = Literal[
    "values",
    "updates",
    "messages",
    "messages-tuple",
    "custom",
    "events",
    "debug",
    "tasks",
    "checkpoints",
    "tools",
]
Breakpoints = All | Sequence[str] | None
# (namespace, mode, data) as the library yields them.
_Item = tuple[tuple[str, ...], str, Any]

_INTERRUPT = "__interrupt__"
_HIDDEN = "langsmith:hidden"
# What the library calls each mode. `tools` is a name that newer clients send here and that sends
# nothing; `events` is not a mode of the library but another way to run it.
_LIBRARY_MODES: dict[str, str | None] = {
    "values": "values",
    "updates": "updates",
    "messages": "messages",
    "messages-tuple": "messages",
    "custom": "custom",
    "events": None,
    "debug": "debug",
    "tasks": "tasks",
    "checkpoints": "checkpoints",
    "tools": None,
}


class RunStream:
    """The events of one run of `graph`, to be iterated once; closed with `aclose`.

    The graph's own failure comes out of the iteration as it is. Afterwards: `values` is the newest
    root state as JSON, or None if the graph gave none; `interrupts` is what it waits for;
    `is_finished` is true if it ran to its end, so that nothing is next.
    """

    def __init__(
        self,
        source: AsyncGenerator[_Item | WireEvent],
        graph: AnyGraph,
        *,
        modes: set[str],
    ) -> None:
        self._source = source
        self._modes = modes
        self._messages = MessageEvents(
            pieces="messages-tuple" in modes, accumulated="messages" in modes
        )
        # With one output channel the library sends interrupts instead of values, else within them.
        self._has_one_channel = isinstance(graph.stream_channels_asis, str)
        self._newest: Any = None
        self._has_values = False
        self._encoded: bytes | None = None
        self._has_stopped = False
        self._has_ended = False
        self._iterator = self._events()
        self.interrupts: list[Interrupt] = []

    def __aiter__(self) -> AsyncIterator[WireEvent]:
        return self._iterator

    async def aclose(self) -> None:
        """Stop the graph if it still runs. Safe to call more than once."""
        await self._iterator.aclose()
        await self._source.aclose()

    @property
    def is_finished(self) -> bool:
        return self._has_ended and not self._has_stopped and not self.interrupts

    @property
    def values(self) -> bytes | None:
        if self._encoded is None and self._has_values:
            self._encoded = dumps(self._newest)
        return self._encoded

    def answer(self) -> bytes:
        """What `wait` and `join` return for this run if it did not fail."""
        if not self.interrupts:
            return self.values or b"{}"
        if len(self.interrupts) == 1 and isinstance(self._newest, Mapping):
            return dumps({**cast("dict[str, Any]", self._newest), _INTERRUPT: self.interrupts})
        return dumps({_INTERRUPT: self.interrupts})

    async def _events(self) -> AsyncGenerator[WireEvent]:
        modes = self._modes
        async with aclosing(self._source):
            async for item in self._source:
                if isinstance(item, WireEvent):
                    yield item
                    continue
                namespace, mode, data = item
                suffix = "|" + "|".join(namespace) if namespace else ""
                if mode == "messages":
                    message, metadata = data
                    for event in self._messages.events(message, metadata=metadata, suffix=suffix):
                        yield event
                    continue
                if not namespace:
                    self._remember(mode, data)
                if mode not in modes:
                    continue
                shape = _SHAPES.get(mode)
                encoded = dumps(data if shape is None else shape(data))
                if mode == "values" and not namespace and data is self._newest:
                    self._encoded = encoded
                yield WireEvent(mode + suffix, encoded)
        self._has_ended = True

    def _remember(self, mode: str, data: Any) -> None:
        if mode == "values":
            if isinstance(data, dict) and _INTERRUPT in data:
                state = dict(cast("dict[str, Any]", data))
                known = {interrupt.id for interrupt in self.interrupts}
                pending: Sequence[Interrupt] = state.pop(_INTERRUPT)
                self.interrupts.extend(one for one in pending if one.id not in known)
                if self._has_one_channel:
                    return
                data = state
            self._newest = data
            self._has_values = True
            self._encoded = None
        elif mode == "updates" and isinstance(data, dict) and _INTERRUPT in data:
            self._has_stopped = True


def stream_graph(
    graph: AnyGraph,
    input_or_command: Any,
    config: RunnableConfig,
    *,
    context: Any = None,
    modes: Sequence[str] = ("values",),
    subgraphs: bool = False,
    durability: Durability = "async",
    interrupt_before: Breakpoints = None,
    interrupt_after: Breakpoints = None,
    control: RunControl | None = None,
) -> RunStream:
    """Run `graph` (as `Registry.open` yields it) and show it in `modes`.

    Nothing runs before the first event is asked for. Raises KeyError for a mode that does not
    exist: the request was checked long before.
    """
    library = {known for mode in modes if (known := _LIBRARY_MODES[mode])} | {"values"}
    own_breakpoints = graph.interrupt_before_nodes or graph.interrupt_after_nodes
    if interrupt_before or interrupt_after or own_breakpoints:
        # A breakpoint shows in no other mode, and without it the run would look finished.
        library.add("updates")
    arguments: dict[str, Any] = {
        "context": context,
        "stream_mode": sorted(library),
        "subgraphs": subgraphs,
        "durability": durability,
        "interrupt_before": interrupt_before or None,
        "interrupt_after": interrupt_after or None,
        "control": control,
    }
    run = _items_and_events if "events" in modes else _items
    return RunStream(run(graph, input_or_command, config, arguments), graph, modes=set(modes))


async def _items(
    graph: AnyGraph, given: Any, config: RunnableConfig, arguments: dict[str, Any]
) -> AsyncGenerator[_Item | WireEvent]:
    stream = cast("AsyncGenerator[Any]", graph.astream(given, config, **arguments))
    async with aclosing(stream):
        if arguments["subgraphs"]:
            async for item in stream:
                yield cast("_Item", item)
        else:
            async for mode, data in stream:
                yield (), mode, data


async def _items_and_events(
    graph: AnyGraph, given: Any, config: RunnableConfig, arguments: dict[str, Any]
) -> AsyncGenerator[_Item | WireEvent]:
    """The same, run through LangChain's event stream: what the root graph streams is an event."""
    stream = cast(
        "AsyncGenerator[Any]",
        graph.astream_events(given, config, version="v2", **arguments),
    )
    async with aclosing(stream):
        async for event in stream:
            if event["event"] == "on_chain_stream" and not event["parent_ids"]:
                item = event["data"]["chunk"]
                yield cast("_Item", item if arguments["subgraphs"] else ((), *item))
            elif _HIDDEN not in event["tags"]:
                yield WireEvent("events", dumps(event))


def _checkpoint(payload: dict[str, Any]) -> dict[str, Any]:
    return {
        **payload,
        "config": _shown_config(payload["config"]),
        "parent_config": _shown_config(payload["parent_config"]),
    }


def _debug(data: dict[str, Any]) -> dict[str, Any]:
    if data["type"] != "checkpoint":
        return data
    payload = data["payload"]
    short = {
        "checkpoint": short_checkpoint(payload["config"]),
        "parent_checkpoint": short_checkpoint(payload["parent_config"]),
    }
    return {**data, "payload": _checkpoint(payload) | short}


_SHAPES = {"checkpoints": _checkpoint, "debug": _debug}


def short_checkpoint(config: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What a config points at: `{thread_id, checkpoint_ns, checkpoint_id?, checkpoint_map?}`."""
    if config is None:
        return None
    configurable = config.get("configurable", {})
    short: dict[str, Any] = {
        "thread_id": configurable.get("thread_id"),
        "checkpoint_ns": configurable.get("checkpoint_ns", ""),
    }
    for key in ("checkpoint_id", "checkpoint_map"):
        if configurable.get(key) is not None:
            short[key] = configurable[key]
    return short


def _shown_config(config: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A config without what is the server's own: the user object may hold tokens."""
    if config is None:
        return None
    configurable = {
        key: value
        for key, value in config.get("configurable", {}).items()
        if not key.startswith(("__", "langgraph_auth_"))
    }
    return {**config, "configurable": configurable}
