"""A checkpointer's methods for worker threads, where users' code calls graphs synchronously: each
blocks its thread until the saver's own loop has done the work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)

from .home_loop import HomeLoop


class BlockingSaver(BaseCheckpointSaver[str]):
    """The rest of a saver, whose asynchronous methods these are made of."""

    _home: HomeLoop

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return self._home.block_on(
            lambda: self.aget_tuple(config), instead="`await checkpointer.aget_tuple(…)`"
        )

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        pages = self.alist(config, filter=filter, before=before, limit=limit)

        async def step() -> CheckpointTuple | None:
            return await anext(pages, None)

        while found := self._home.block_on(step, instead="`checkpointer.alist(…)`"):
            yield found

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return self._home.block_on(
            lambda: self.aput(config, checkpoint, metadata, new_versions),
            instead="`await graph.ainvoke(…)`",
        )

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        self._home.block_on(
            lambda: self.aput_writes(config, writes, task_id, task_path),
            instead="`await graph.ainvoke(…)`",
        )

    def delete_thread(self, thread_id: str) -> None:
        self._home.block_on(lambda: self.adelete_thread(thread_id), instead="`adelete_thread`")

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        self._home.block_on(lambda: self.adelete_for_runs(run_ids), instead="`adelete_for_runs`")

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        self._home.block_on(
            lambda: self.acopy_thread(source_thread_id, target_thread_id), instead="`acopy_thread`"
        )

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        self._home.block_on(lambda: self.aprune(thread_ids, strategy=strategy), instead="`aprune`")

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        async def read() -> Mapping[str, DeltaChannelHistory]:
            return await self.aget_delta_channel_history(config=config, channels=channels)

        return self._home.block_on(read, instead="`await graph.ainvoke(…)`")
