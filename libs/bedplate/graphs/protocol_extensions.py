"""A graph's own stream transformers, run over what the protocol shows of a run.

They may change events (a middleware that takes out personal data), hold some back (calls that are
internal to one) and add named channels of their own. The library's mux runs them; the library's own
transformers are left out, because they build handles for readers in the same process.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, cast

from langgraph.stream import SubgraphTransformer
from langgraph.stream._mux import StreamMux  # pyright: ignore[reportPrivateUsage]

from bedplate.graphs.factories import AnyGraph
from bedplate.graphs.protocol_lines import Namespace, Part

_NAMED = "custom:"


class _Nested(SubgraphTransformer):
    """Gives every subgraph transformers of its own, and leaves its tasks in the stream."""

    async def aprocess(self, event: Any) -> bool:
        await super().aprocess(event)
        return True


class Extensions:
    """`passed` for every part; then `finished`, or `failed` however else the run ends."""

    def __init__(self, graph: AnyGraph) -> None:
        factories = [
            factory
            for factory in graph.stream_transformers
            # The library's mark of transformers that serve readers in the same process.
            if not getattr(factory, "_native", False)
        ]
        self._mux = StreamMux(factories=[_Nested, *factories], is_async=True) if factories else None
        self._is_over = False
        if self._mux is not None:
            # Being read is what makes a channel keep what it is given. Its iterator would end as
            # soon as nothing waits, so the queue itself is read.
            aiter(self._mux._events)  # pyright: ignore[reportPrivateUsage]

    @property
    def are_any(self) -> bool:
        return self._mux is not None

    async def passed(self, part: Part) -> list[Part]:
        """What the transformers make of `part`: itself, nothing, or more."""
        if self._mux is None:
            return [part]
        event: Any = {
            "type": "event",
            "method": part.mode,
            "params": {
                "namespace": list(part.namespace),
                "timestamp": time.time_ns() // 1_000_000,
                "data": part.data,
            },
        }
        if part.mode == "values":
            event["params"]["interrupts"] = tuple(part.interrupts)
        await self._mux.apush(event)
        return [*self._waiting()]

    async def finished(self) -> list[Part]:
        """What they still say when the graph has ended."""
        if self._mux is None or self._is_over:
            return []
        self._is_over = True
        await self._mux.aclose()
        return [*self._waiting()]

    async def failed(self, error: BaseException) -> list[Part]:
        """The same after a failure: whatever they scheduled is cancelled. Does nothing when the run
        is over already.
        """
        if self._mux is None or self._is_over:
            return []
        self._is_over = True
        await self._mux.afail(error)
        return [*self._waiting()]

    def _waiting(self) -> Iterator[Part]:
        if self._mux is None:
            return
        items = self._mux._events._items  # pyright: ignore[reportPrivateUsage]
        while items:
            _, event = items.popleft()
            method, params = event["method"], event["params"]
            namespace: Namespace = tuple(params["namespace"])
            if method.startswith(_NAMED):
                data = {"name": method.removeprefix(_NAMED), "payload": params["data"]}
                yield Part("extension", namespace, data)
            else:
                interrupts = cast("Any", params).get("interrupts", ())
                yield Part(method, namespace, params["data"], interrupts)
