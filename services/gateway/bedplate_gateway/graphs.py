"""What an assistant's graph looks like: drawing, schemas, subgraphs. An executor answers."""

from __future__ import annotations

from typing import Any

from bedplate.bus.broker import Bus
from bedplate_proto import subjects
from bedplate_proto.threads import DrawGraph, ReadSchemas, ReadSubgraphs

from .access.access import Access
from .assistants import Assistant, Assistants
from .runs import EXECUTOR_S_MAX


class Graphs:
    """Each takes an assistant's id or a graph's name."""

    def __init__(self, assistants: Assistants, bus: Bus, *, tenant: str) -> None:
        self._assistants = assistants
        self._bus = bus
        self._tenant = tenant

    async def drawing(self, name: str, *, xray: bool | int, by: Access) -> bytes:
        ask = DrawGraph(**self._about(await self._assistants.at(name), by), xray=xray)
        return await self._bus.order(subjects.DRAW_GRAPH, ask, limit_s=EXECUTOR_S_MAX)

    async def schemas(self, name: str, *, by: Access) -> bytes:
        ask = ReadSchemas(**self._about(await self._assistants.at(name), by))
        return await self._bus.order(subjects.READ_SCHEMAS, ask, limit_s=EXECUTOR_S_MAX)

    async def subgraphs(
        self, name: str, *, namespace: str | None, recurse: bool, by: Access
    ) -> bytes:
        about = self._about(await self._assistants.at(name), by)
        ask = ReadSubgraphs(**about, namespace=namespace, recurse=recurse)
        return await self._bus.order(subjects.READ_SUBGRAPHS, ask, limit_s=EXECUTOR_S_MAX)

    def _about(self, assistant: Assistant, by: Access) -> dict[str, Any]:
        return {
            "tenant": self._tenant,
            "graph_id": assistant.graph_id,
            "assistant_id": assistant.assistant_id,
            "config": assistant.setup.config,
            "context": assistant.setup.context,
            "user": by.user,
            "encryption_context": by.encryption_context,
        }
