"""LangGraph's checkpointer over asyncpg: fenced by attempt, group-committed, in the stock format.

Cast: one `PostgresSaver` per process holds the pool, the committer and the serializer;
`with_fence` makes the copy that one attempt (or one edit of a state) writes through.

Promises: what `aput` and `aput_writes` store is committed when they return (a `deferring` saver's:
when `settled` returns), and was accepted by the fence in the same transaction (`Fenced` otherwise).
A saver's reads see its own writes. Whatever is removed or copied leaves every checkpoint that
remains readable, DeltaChannels included.

Not promised: that two savers without a fence may write to one thread at the same time.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from random import random
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_id,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from bedplate.sql import Statements

from . import checkpoint_tables
from .backlog import Backlog
from .blocking_saver import BlockingSaver
from .checkpoint_rows import (
    Stored,
    add_sends,
    config_of,
    decode,
    encode_checkpoint,
    encode_writes,
    json_text,
    reads_sends_from_parent,
    stored_from_record,
)
from .committer import Committer, Entry
from .delta_history import histories
from .encryption import is_encrypting
from .fence import AttemptFence, Fence, hold
from .home_loop import HomeLoop
from .newest import Newest
from .patience import Patience
from .sealing import Sealing
from .seals import Seals
from .serde import strict_serde
from .snapshots import Snapshots

T = TypeVar("T")

_sql = Statements("bedplate.graphs")

# A page of `alist`: a reader that stops early has not paid for the whole thread.
_PAGE_ROWS = 50
_STRATEGIES = ("keep_latest", "delete")


class PostgresSaver(BlockingSaver):
    """Construct it on the loop of `pool`. The ledger's tables have to be there as well as ours."""

    def __init__(
        self,
        pool: Any,
        committer: Committer,
        *,
        serde: SerializerProtocol | None = None,
        fence: Fence | None = None,
        seals: Seals | None = None,
        sealing: Sealing | None = None,
    ) -> None:
        """`seals` hide values, `sealing` hides metadata."""
        super().__init__(serde=serde or strict_serde())
        self._seals = seals
        self._sealing = sealing
        self._context: Mapping[str, Any] | None = None
        self._home = HomeLoop()
        self._patience = Patience(pool)
        self._committer = committer
        self._guard(fence)

    def with_fence(self, fence: Fence | None, *, is_blank: bool = False) -> PostgresSaver:
        """A copy for one attempt or one edit. Cheap; shares pool and committer. `is_blank`: the
        attempt's thread has no checkpoint, so there is nothing to be read but what it writes."""
        clone = copy.copy(self)
        clone._guard(fence, is_blank=is_blank)
        return clone

    def under(self, context: Mapping[str, Any] | None) -> PostgresSaver:
        """A copy that encrypts in this context."""
        if self._seals is None and self._sealing is None:
            return self
        clone = copy.copy(self)
        clone._context = context
        clone._seals = None if self._seals is None else self._seals.under(context)
        return clone

    def deferring(self) -> PostgresSaver:
        """A copy for the same attempt that does not wait for its commits; `settled` does."""
        clone = copy.copy(self)
        clone._backlog = Backlog(self._committer, self._newest, defers=True)
        return clone

    async def settled(self) -> None:
        """Returns when all that was put is committed. Raises `Fenced`, `Refused`, `Unavailable`."""
        await self._home.run(self._settled())

    async def _settled(self) -> None:
        await self._backlog.settled()
        await self._snapshots.thin(self._patience)

    def _guard(self, fence: Fence | None, *, is_blank: bool = False) -> None:
        self._fence = fence
        is_attempt = isinstance(fence, AttemptFence)
        self._newest = Newest(is_blank=is_blank) if is_attempt else None
        self._backlog = Backlog(self._committer, self._newest)
        self._run_id = str(fence.run_id) if is_attempt else None
        self._snapshots = Snapshots()
        # Checkpoints that other runs made: what this run writes onto them can be taken back.
        self._foreign: set[tuple[str, str, str]] = set()

    # -- reading

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint of `config`, or the newest of its thread and namespace."""
        return await self._home.run(self._get_tuple(config))

    async def _get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        configurable = config.get("configurable") or {}
        key = (str(configurable["thread_id"]), configurable.get("checkpoint_ns", ""))
        checkpoint_id = get_checkpoint_id(config)
        newest = self._newest
        await self._backlog.decided()
        if newest is None:
            stored = await self._read(key, checkpoint_id)
        elif newest.knows_nothing_in(key):
            newest.read(key, None, since=newest.changes)
            return None
        elif (stored := newest.find(key, checkpoint_id)) is None:
            if newest.is_unsettled:
                await self._committer.settle()
                newest.is_unsettled = False
            since = newest.changes
            stored = await self._read(key, checkpoint_id)
            if checkpoint_id is None:
                newest.read(key, stored, since=since)
        if stored is None:
            return None
        found = await self._decoded(stored)
        await self._complete([found])
        return found

    async def _decoded(self, stored: Stored) -> CheckpointTuple:
        if self._seals is not None:
            stored = await self._seals.opened_checkpoint(stored)
        if self._sealing is not None:
            metadata = await self._sealing.opened_text(stored.metadata)
            stored = replace(stored, metadata=metadata)
        return decode(stored, self.serde)

    async def _read(self, key: tuple[str, str], checkpoint_id: str | None) -> Stored | None:
        record = await self._patience.run(
            lambda c: c.fetchrow(_sql["read_checkpoint"], *key, checkpoint_id)
        )
        return None if record is None else stored_from_record(record)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Checkpoints, newest first. Each key of `filter` is in their metadata with an equal
        value."""
        wanted = None if filter is None else json_text(filter, "the filter")
        earlier_than = None if before is None else get_checkpoint_id(before)
        if config is None:
            arguments = (wanted, earlier_than, limit)
            for found in await self._home.run(self._page("list_all_checkpoints", *arguments)):
                yield found
            return
        configurable = config.get("configurable") or {}
        thread_id, checkpoint_ns = str(configurable["thread_id"]), configurable.get("checkpoint_ns")
        fixed = (thread_id, checkpoint_ns, get_checkpoint_id(config), wanted, earlier_than)
        last: tuple[str | None, str | None] = (None, None)
        remaining = limit
        while remaining is None or remaining > 0:
            size = _PAGE_ROWS if remaining is None else min(_PAGE_ROWS, remaining)
            page = await self._home.run(self._page("list_checkpoints", *fixed, *last, size))
            for found in page:
                yield found
            if len(page) < size:
                return
            _, last_ns, last_id = _place(page[-1].config)
            last = (last_id, last_ns)
            remaining = None if remaining is None else remaining - len(page)

    async def _page(self, statement: str, *arguments: Any) -> list[CheckpointTuple]:
        records = await self._fetch(statement, *arguments)
        page = [await self._decoded(stored_from_record(record)) for record in records]
        await self._complete(page)
        return page

    async def _complete(self, page: Sequence[CheckpointTuple]) -> None:
        """Note which of them other runs made, and bring old formats to today's."""
        if self._run_id is not None:
            self._foreign.update(
                _place(found.config)
                for found in page
                if found.metadata.get("run_id") != self._run_id
            )
        olds = [found for found in page if reads_sends_from_parent(found)]
        sends: defaultdict[tuple[str, str, str], list[Any]] = defaultdict(list)
        for thread_id in {_place(old.config)[0] for old in olds}:
            parents = [_place(old.parent_config)[2] for old in olds if old.parent_config]
            for row in await self._fetch("read_sends", thread_id, parents):
                place = (thread_id, row["checkpoint_ns"], row["checkpoint_id"])
                sends[place].append(self.serde.loads_typed((row["type"], row["blob"])))
        for old in olds:
            if old.parent_config and (values := sends.get(_place(old.parent_config))):
                add_sends(old, values, self.get_next_version(None, None))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """For each channel the nearest stored value above the checkpoint, and the writes since."""
        if not channels:
            return {}
        configurable = config.get("configurable") or {}
        records = await self._home.run(
            self._fetch(
                "read_delta_history",
                str(configurable["thread_id"]),
                configurable.get("checkpoint_ns", ""),
                get_checkpoint_id(config),
                list(channels),
            )
        )
        if self._seals is not None:
            records = await self._home.run(self._seals.opened_records(records))
        return histories(records, channels, self.serde)

    async def has_written_before(self, run_id: str) -> bool:
        """Whether this run has written onto a checkpoint that another run made: the answers to its
        questions, or results of its tasks."""
        return bool(await self._home.run(self._fetch("find_undo", run_id)))

    # -- writing

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint. Raises `Unserialisable`, `Fenced`."""
        hides = self._seals is not None or is_encrypting(self.serde)
        row, blobs, blob_channels = encode_checkpoint(
            self.serde, config, checkpoint, metadata, new_versions, hides_values=hides
        )
        if self._seals is not None:
            blobs = await self._home.run(self._seals.sealed(blobs))
        if self._sealing is not None:
            row = row._replace(metadata=await self._home.run(self._sealed(row.metadata)))
        entry = Entry(self._fence, checkpoint=row, blobs=blobs)
        versions = dict(checkpoint["channel_versions"])
        await self._home.run(self._backlog.store(entry, versions, blob_channels))
        self._snapshots.saw(config, checkpoint)
        return config_of(row.thread_id, row.checkpoint_ns, row.checkpoint_id)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store writes pending on a checkpoint. Raises `Unserialisable`, `Fenced`."""
        undo_run = self._run_id if _place(config) in self._foreign else None
        rows = encode_writes(self.serde, config, writes, task_id, task_path, undo_run)
        if rows:
            if self._seals is not None:
                rows = await self._home.run(self._seals.sealed(rows))
            entry = Entry(self._fence, writes=rows)
            await self._home.run(self._backlog.store(entry, None, set()))

    # -- removing and copying

    async def adelete_thread(self, thread_id: str) -> None:
        """Remove everything of a thread."""
        await self._change(lambda c: checkpoint_tables.forget_threads(c, [thread_id]))

    async def adelete_for_runs(
        self, run_ids: Sequence[str], *, thread_ids: Sequence[str] | None = None
    ) -> None:
        """Take runs back as if they had never been, as far as nothing later stands on them.

        Without `thread_ids` on the thread that the ledger says; a run that the ledger does not know
        is searched for in the whole table.
        """
        if run_ids:
            await self._change(
                lambda c: checkpoint_tables.forget_runs(c, run_ids, thread_ids=thread_ids)
            )

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread with all its checkpoints; idempotent."""
        await self._change(
            lambda c: checkpoint_tables.copy_thread(c, source_thread_id, target_thread_id)
        )

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """`keep_latest`: only the newest checkpoint of each namespace. `delete`: nothing at all."""
        if isinstance(thread_ids, str):
            raise TypeError("thread_ids must be a sequence of thread ids, not a text")
        if strategy not in _STRATEGIES:
            raise ValueError(f"unknown prune strategy {strategy!r}: one of {_STRATEGIES}")
        if not thread_ids:
            return
        if strategy == "delete":
            await self._change(lambda c: checkpoint_tables.forget_threads(c, thread_ids))
            return
        for thread_id in thread_ids:
            await self._change(lambda c, t=thread_id: checkpoint_tables.keep_latest(c, t))

    async def apatch_newest(self, thread_id: str, metadata: dict[str, Any]) -> None:
        """Merge `metadata` into that of the thread's newest checkpoint. Raises `Refused`."""
        text = await self._home.run(self._sealed(json_text(metadata, "metadata")))
        await self._change(lambda c: checkpoint_tables.patch_newest(c, thread_id, text))

    async def _sealed(self, metadata: str) -> str:
        if self._sealing is None:
            return metadata
        return await self._sealing.sealed_text(
            metadata, model="checkpoint", field="metadata", context=self._context
        )

    async def _change(self, work: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
        """`work` in one transaction under the fence, after everything that was put before."""
        await self._home.run(self._change_at_home(work))

    async def _change_at_home(self, work: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
        await self._committer.settle()
        if self._newest is not None:
            self._newest.forget()

        async def transaction(connection: Any) -> None:
            async with connection.transaction():
                await hold(connection, self._fence)
                await work(connection)

        await self._patience.run(transaction)

    # -- the rest

    def get_next_version(self, current: Any, channel: None) -> str:
        """As in the stock saver: counts up, and two that count from the same differ."""
        before = int(str(current).partition(".")[0]) if current is not None else 0
        return f"{before + 1:032}.{random():016}"

    async def _fetch(self, statement: str, *arguments: Any) -> Sequence[Any]:
        await self._backlog.decided()
        return await self._patience.run(lambda c: c.fetch(_sql[statement], *arguments))


def _place(config: RunnableConfig) -> tuple[str, str, str]:
    configurable = config.get("configurable") or {}
    return (
        str(configurable["thread_id"]),
        configurable.get("checkpoint_ns", ""),
        configurable["checkpoint_id"],
    )
