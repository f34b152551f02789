"""The tree of agents of a run, as far as its events have told of them."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

from bedplate.bus.event_line import Event

from ..forms import Object
from .envelopes import Envelope


class AgentTree:
    """`add` a run's lifecycle envelopes in order; `tree` is the root node."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[str, ...], Object] = {}

    def add(self, envelope: Envelope) -> None:
        if envelope.method != b"lifecycle":
            return
        params: Any = from_json(envelope.text)["params"]
        namespace: list[str] = params["namespace"]
        data: Object = params["data"]
        node = self._node(tuple(namespace))
        node["status"] = data["event"]
        if data.get("graph_name") is not None:
            node["graph_name"] = data["graph_name"]
        if data.get("cause") is not None:
            node["metadata"] = {"cause": data["cause"]}

    def tree(self) -> Object | None:
        """None when nothing was told."""
        return self._nodes.get(())

    def _node(self, namespace: tuple[str, ...]) -> Object:
        node = self._nodes.get(namespace)
        if node is None:
            name = namespace[-1].partition(":")[0] if namespace else ""
            node = {"namespace": list(namespace), "status": "running", "graph_name": name}
            self._nodes[namespace] = node
            if namespace:
                parent = self._node(namespace[:-1])
                parent.setdefault("children", []).append(node)
        return node


def tells_of_agents(event: Event) -> bool:
    """Whether it is worth looking into: most events of a run are not."""
    return event.data.startswith(b'{"method":"lifecycle"') or event.name in ("metadata", "end")
