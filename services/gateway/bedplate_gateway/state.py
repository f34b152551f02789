"""What a thread's graph knows: state, history, edits. Only an executor can answer that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from pydantic_core import from_json

from bedplate.bus.broker import Bus
from bedplate.kernel.errors import NotFound, Refused
from bedplate_proto import subjects
from bedplate_proto.threads import (
    BulkUpdateState,
    PatchState,
    ReadHistory,
    ReadState,
    StateChanged,
    UpdateState,
)

from .access.access import Access
from .forms import HistoryRead, Object, StateUpdate, Superstep
from .ids import uuid_or_none
from .json_text import dumped
from .rows import Rows
from .runs import EXECUTOR_S_MAX, THREAD_MISSING
from .state_forms import StatePatch

NO_GRAPH = "Thread has no graph yet: run it first, or set metadata.graph_id."


@dataclass(frozen=True)
class _Graph:
    """The graph of a thread, with what a factory may look at. `graph_id` None: it has none."""

    graph_id: str | None
    assistant_id: UUID | None
    config: Object

    @property
    def context(self) -> Object:
        return self.config.get("configurable") or {}


class States:
    def __init__(self, rows: Rows, bus: Bus, *, tenant: str) -> None:
        self._rows = rows
        self._bus = bus
        self._tenant = tenant

    async def read(self, thread_id: UUID, *, place: Object, subgraphs: bool, by: Access) -> bytes:
        """The state at `place`, the newest if that is empty. Raises `NotFound` for the thread."""
        graph = await self._graph(thread_id)
        if graph.graph_id is None:
            return _empty_state(thread_id)
        ask = ReadState(
            tenant=self._tenant,
            graph_id=graph.graph_id,
            assistant_id=graph.assistant_id,
            config=graph.config,
            context=graph.context,
            user=by.user,
            encryption_context=by.encryption_context,
            thread_id=thread_id,
            checkpoint=place,
            subgraphs=subgraphs,
        )
        return await self._bus.order(subjects.READ_STATE, ask, limit_s=EXECUTOR_S_MAX)

    async def check_thread(self, thread_id: UUID) -> None:
        """Raises `NotFound`."""
        await self._graph(thread_id)

    async def history(self, thread_id: UUID, form: HistoryRead, *, by: Access) -> bytes:
        """Newest first."""
        graph = await self._graph(thread_id)
        if graph.graph_id is None:
            return b"[]"
        ask = ReadHistory(
            tenant=self._tenant,
            graph_id=graph.graph_id,
            assistant_id=graph.assistant_id,
            config=graph.config,
            context=graph.context,
            user=by.user,
            encryption_context=by.encryption_context,
            thread_id=thread_id,
            limit=form.limit,
            before=form.before,
            metadata=form.metadata,
            checkpoint={} if form.checkpoint is None else form.checkpoint.given(),
        )
        return await self._bus.order(subjects.READ_HISTORY, ask, limit_s=EXECUTOR_S_MAX)

    async def update(self, thread_id: UUID, form: StateUpdate, *, by: Access) -> bytes:
        """Where the new checkpoint is. Raises `Conflict` while a run is in flight, `Refused` for
        an unknown node."""
        graph = await self._graph(thread_id)
        if graph.graph_id is None:
            raise Refused(NO_GRAPH)
        ask = UpdateState(
            tenant=self._tenant,
            graph_id=graph.graph_id,
            assistant_id=graph.assistant_id,
            config=graph.config,
            context=graph.context,
            user=by.user,
            encryption_context=by.encryption_context,
            thread_id=thread_id,
            values=form.values,
            as_node=form.as_node,
            checkpoint=form.place(),
        )
        answer = await self._bus.order(subjects.UPDATE_STATE, ask, limit_s=EXECUTOR_S_MAX)
        changed = StateChanged(tenant=self._tenant, thread_id=thread_id)
        await self._bus.hint(subjects.STATE_CHANGED, changed)
        return answer

    async def patch(self, thread_id: UUID, form: StatePatch, *, by: Access) -> None:
        """Merge metadata into the newest checkpoint's. Raises as `update` does."""
        graph = await self._graph(thread_id)
        if graph.graph_id is None:
            raise Refused(NO_GRAPH)
        ask = PatchState(
            tenant=self._tenant,
            graph_id=graph.graph_id,
            user=by.user,
            encryption_context=by.encryption_context,
            thread_id=thread_id,
            metadata=form.metadata,
        )
        await self._bus.order(subjects.PATCH_STATE, ask, limit_s=EXECUTOR_S_MAX)

    async def apply(self, thread_id: UUID, supersteps: Sequence[Superstep], *, by: Access) -> None:
        """Write the supersteps in order, one checkpoint each."""
        graph = await self._graph(thread_id)
        assert graph.graph_id is not None
        ask = BulkUpdateState(
            tenant=self._tenant,
            graph_id=graph.graph_id,
            user=by.user,
            encryption_context=by.encryption_context,
            thread_id=thread_id,
            supersteps=[step.model_dump(exclude_unset=True) for step in supersteps],
        )
        await self._bus.order(subjects.BULK_UPDATE_STATE, ask, limit_s=EXECUTOR_S_MAX)

    def check_graph(self, metadata: Object) -> None:
        if not isinstance(metadata.get("graph_id"), str):
            raise Refused("supersteps need metadata.graph_id: the graph they are steps of")

    async def _graph(self, thread_id: UUID) -> _Graph:
        row = await self._rows.one("find_thread_graph", self._tenant, thread_id)
        if row is None:
            raise NotFound(THREAD_MISSING, thread_id=str(thread_id))
        return _Graph(
            graph_id=row["graph_id"],
            assistant_id=uuid_or_none(row["assistant_id"] or ""),
            config=from_json(row["config"]),
        )


def _empty_state(thread_id: UUID) -> bytes:
    checkpoint = {"thread_id": str(thread_id), "checkpoint_ns": "", "checkpoint_id": None}
    state: Object = {
        "values": {},
        "next": [],
        "tasks": [],
        "metadata": {},
        "created_at": None,
        "checkpoint": checkpoint,
        "parent_checkpoint": None,
        "interrupts": [],
        "checkpoint_id": None,
        "parent_checkpoint_id": None,
    }
    return dumped(state).encode()
