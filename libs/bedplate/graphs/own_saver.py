"""A project's own checkpointer, with what executors need of a saver around it.

Fencing is weaker than with ours: the attempt is asked for before each write, not in the same
transaction, so one that is taken over between the two writes once more. What the checkpointer does
not implement (taking runs back, pruning, copying) is refused by name.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from typing import Any, Self

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)

from bedplate.kernel.errors import Refused

from .fence import Fence, hold
from .home_loop import HomeLoop
from .patience import Patience

_BLOCKING = "the method with an `a`"


class OwnSaver(BaseCheckpointSaver[Any]):
    """Construct it on the loop of `pool`, which is for the fences alone."""

    def __init__(self, own: BaseCheckpointSaver[Any], pool: Any) -> None:
        super().__init__(serde=own.serde)
        self._own = own
        self._home = HomeLoop()
        self._patience = Patience(pool)
        self._fence: Fence | None = None

    def with_fence(self, fence: Fence | None, *, is_blank: bool = False) -> Self:
        # What its thread has is known to the project's checkpointer alone.
        del is_blank
        clone = copy.copy(self)
        clone._fence = fence
        return clone

    def under(self, context: Mapping[str, Any] | None) -> Self:
        """How it keeps things is the project's own matter."""
        del context
        return self

    def deferring(self) -> Self:
        """It cannot: what it was given is stored when it says so."""
        return self

    async def settled(self) -> None:
        """Nothing is left to wait for."""

    async def has_written_before(self, run_id: str) -> bool:
        """Whether this run has written onto a checkpoint that another run made: it is not noted
        here, and taken for granted, so that nothing is asked of it twice."""
        del run_id
        return True

    async def _held(self) -> None:
        fence = self._fence
        if fence is None:
            return

        async def ask(connection: Any) -> None:
            async with connection.transaction():
                await hold(connection, fence)

        await self._home.run(self._patience.run(ask))

    # -- as it is

    @property
    def config_specs(self) -> list[Any]:
        return self._own.config_specs

    def get_next_version(self, current: Any, channel: None) -> Any:
        return self._own.get_next_version(current, channel)

    def with_allowlist(self, extra_allowlist: Any) -> Self:
        clone = copy.copy(self)
        clone._own = self._own.with_allowlist(extra_allowlist)
        return clone

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await self._own.aget_tuple(config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        async for found in self._own.alist(config, filter=filter, before=before, limit=limit):
            yield found

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return await self._own.aget_delta_channel_history(config=config, channels=channels)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return self._own.get_tuple(config)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        return self._own.list(config, filter=filter, before=before, limit=limit)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return self._own.get_delta_channel_history(config=config, channels=channels)

    # -- under the fence

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        await self._held()
        return await self._own.aput(config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        await self._held()
        await self._own.aput_writes(config, writes, task_id, task_path)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        self._home.block_on(self._held, instead=_BLOCKING)
        return self._own.put(config, checkpoint, metadata, new_versions)

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        self._home.block_on(self._held, instead=_BLOCKING)
        self._own.put_writes(config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        await self._can(self._own.adelete_thread(thread_id), "delete threads")

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await self._can(self._own.adelete_for_runs(run_ids), "take runs back")

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await self._can(self._own.acopy_thread(source_thread_id, target_thread_id), "copy threads")

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        await self._can(self._own.aprune(thread_ids, strategy=strategy), "prune threads")

    async def apatch_newest(self, thread_id: str, metadata: dict[str, Any]) -> None:
        """Raises `Refused`: no checkpointer has a method for this."""
        del thread_id, metadata
        raise Refused("The project's own checkpointer cannot change a checkpoint's metadata.")

    async def _can(self, work: Awaitable[None], what: str) -> None:
        await self._held()
        try:
            await work
        except NotImplementedError as error:
            raise Refused(f"The project's own checkpointer cannot {what}.") from error
