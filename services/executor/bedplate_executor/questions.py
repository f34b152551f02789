"""Questions that need a graph, answered in a worker: state, history, edits, drawings, schemas."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any
from uuid import UUID

from bedplate.graphs import drawing, editing, introspection
from bedplate.graphs.factories import AccessContext, AnyGraph
from bedplate.graphs.fence import EditFence
from bedplate.graphs.host import client_keys, user_keys
from bedplate.graphs.introspection import thread_config
from bedplate.graphs.library import RunnableConfig
from bedplate.graphs.priority import PriorityHandler
from bedplate.graphs.registry import Registry
from bedplate.graphs.store import store_under
from bedplate.graphs.user import User
from bedplate.kernel.errors import Conflict, Fenced, NotFound, Refused
from bedplate.ledger import Ledger, Threads
from bedplate_proto.runs import AssignedPriorities, AssignPriorities, PrioritySettings
from bedplate_proto.threads import (
    BulkUpdateState,
    CopyCheckpoints,
    DrawGraph,
    ForgetRun,
    GraphAsk,
    KeepLatest,
    PatchState,
    ReadHistory,
    ReadSchemas,
    ReadState,
    ReadSubgraphs,
    UpdateState,
)
from bedplate_proto.vocabulary import ThreadStatus

from .keeping import Kept
from .sealed_rows import sealed_part

IN_FLIGHT_MESSAGE = "Thread has runs in flight: wait for them to finish, or cancel them."


class Questions:
    """One public method per question; the names are those of the orders."""

    def __init__(
        self,
        registry: Registry,
        kept: Kept,
        ledger: Ledger,
        threads: Threads,
        *,
        priority: PriorityHandler | None,
    ) -> None:
        self._registry = registry
        self._saver = kept.saver
        self._store = kept.store
        self._sealing = kept.sealing
        self._ledger = ledger
        self._threads = threads
        self._priority = priority

    async def read_state(self, ask: ReadState) -> bytes:
        config = self._config(ask, ask.thread_id, checkpoint=ask.checkpoint)
        async with self._graph(ask, config, "threads.read") as graph:
            return await introspection.thread_state(graph, config, subgraphs=ask.subgraphs)

    async def read_history(self, ask: ReadHistory) -> bytes:
        config = self._config(ask, ask.thread_id, checkpoint=ask.checkpoint)
        async with self._graph(ask, config, "threads.read") as graph:
            return await introspection.thread_history(
                graph, config, limit=ask.limit, before=ask.before, metadata=ask.metadata
            )

    async def update_state(self, ask: UpdateState) -> bytes:
        """Raises `Conflict` while a run of the thread is in flight."""
        config = self._config(ask, ask.thread_id, checkpoint=ask.checkpoint)

        async def edit(graph: AnyGraph) -> bytes:
            return await editing.update_state(graph, config, ask.values, as_node=ask.as_node)

        return await self._edit(ask, ask.thread_id, config, edit)

    async def patch_state(self, ask: PatchState) -> bytes:
        """Raises `Conflict` while a run is in flight, `Refused` when there is no state."""
        fenced = self._saver.with_fence(EditFence(ask.thread_id)).under(ask.encryption_context)
        try:
            await fenced.apatch_newest(str(ask.thread_id), ask.metadata)
        except Fenced as error:
            raise Conflict(IN_FLIGHT_MESSAGE, thread_id=str(ask.thread_id)) from error
        return b"{}"

    async def bulk_update_state(self, ask: BulkUpdateState) -> bytes:
        config = self._config(ask, ask.thread_id)

        async def edit(graph: AnyGraph) -> bytes:
            return await editing.bulk_update(graph, config, ask.supersteps)

        return await self._edit(ask, ask.thread_id, config, edit)

    async def forget_run(self, ask: ForgetRun) -> bytes:
        """Raises `NotFound` when the run is gone already."""
        config = self._config(ask, ask.thread_id)
        fenced = self._saver.with_fence(EditFence(ask.thread_id))

        async def edit(_: AnyGraph) -> bytes:
            await fenced.adelete_for_runs([str(ask.run_id)])
            if not await self._ledger.forget(ask.run_id):
                raise NotFound("Run not found.", run_id=str(ask.run_id))
            return b"{}"

        return await self._edit(ask, ask.thread_id, config, edit)

    async def keep_latest(self, ask: KeepLatest) -> bytes:
        for thread_id in ask.thread_ids:
            fenced = self._saver.with_fence(EditFence(thread_id))
            try:
                await fenced.aprune([str(thread_id)], strategy="keep_latest")
            except Fenced as error:
                raise Conflict(IN_FLIGHT_MESSAGE, thread_id=str(thread_id)) from error
        return b"{}"

    async def copy_checkpoints(self, ask: CopyCheckpoints) -> bytes:
        """Raises `Refused` when the checkpointer cannot."""
        await self._saver.acopy_thread(str(ask.thread_id), str(ask.copy_id))
        return b"{}"

    async def draw_graph(self, ask: DrawGraph) -> bytes:
        config = self._config(ask, None)
        async with self._graph(ask, config, "assistants.read") as graph:
            return await drawing.drawing(graph, xray=ask.xray)

    async def read_schemas(self, ask: ReadSchemas) -> bytes:
        config = self._config(ask, None)
        async with self._graph(ask, config, "assistants.read") as graph:
            return drawing.schemas(graph, ask.graph_id)

    async def read_subgraphs(self, ask: ReadSubgraphs) -> bytes:
        config = self._config(ask, None)
        async with self._graph(ask, config, "assistants.read") as graph:
            return await drawing.subgraphs(graph, namespace=ask.namespace, recurse=ask.recurse)

    async def assign_priorities(self, ask: AssignPriorities) -> bytes:
        if self._priority is None:
            raise Refused("The executor's project configures no priority handler.")
        contexts = [context.model_dump() for context in ask.contexts]
        settings = [
            None if one is None else PrioritySettings(**asdict(one))
            for one in await self._priority.assigned(contexts)
        ]
        return AssignedPriorities(settings=settings).model_dump_json().encode()

    async def _edit(
        self,
        ask: GraphAsk,
        thread_id: UUID,
        config: RunnableConfig,
        edit: Callable[[AnyGraph], Awaitable[bytes]],
    ) -> bytes:
        """Change a thread's state while no run of it works, and let its row show the new one."""
        fence = EditFence(thread_id)
        try:
            async with self._graph(ask, config, "threads.update", fence=fence) as graph:
                answer = await edit(graph)
                state = await introspection.settled(graph, thread_config(str(thread_id)))
        except Fenced as error:
            raise Conflict(IN_FLIGHT_MESSAGE, thread_id=str(thread_id)) from error
        sealing, context = self._sealing, ask.encryption_context
        await self._threads.record_state(
            thread_id,
            values=await sealed_part(state.values.decode(), "values", sealing, context),
            interrupts=await sealed_part(state.interrupts.decode(), "interrupts", sealing, context),
            status=ThreadStatus(state.status),
        )
        return answer

    @asynccontextmanager
    async def _graph(
        self,
        ask: GraphAsk,
        config: RunnableConfig,
        access: AccessContext,
        *,
        fence: EditFence | None = None,
    ) -> AsyncGenerator[AnyGraph]:
        async with self._registry.open(
            ask.graph_id,
            config=config,
            access=access,
            context=ask.context or None,
            user=_user(ask),
            store=store_under(self._store, ask.encryption_context),
            checkpointer=self._saver.with_fence(fence).under(ask.encryption_context),
        ) as graph:
            yield graph

    def _config(
        self, ask: GraphAsk, thread_id: UUID | None, *, checkpoint: dict[str, Any] | None = None
    ) -> RunnableConfig:
        """The assistant's config with the thread's place in it."""
        given = {key: value for key, value in ask.config.items() if key != "configurable"}
        configurable = client_keys(ask.config.get("configurable"))
        configurable |= user_keys(_user(ask))
        configurable["graph_id"] = ask.graph_id
        if ask.assistant_id is not None:
            configurable["assistant_id"] = str(ask.assistant_id)
        if thread_id is not None:
            place = thread_config(str(thread_id), checkpoint=checkpoint)
            configurable = {**configurable, **place.get("configurable", {})}
        return {**given, "configurable": configurable}  # pyright: ignore[reportReturnType]


def _user(ask: GraphAsk) -> User | None:
    return None if ask.user is None else User(ask.user)
