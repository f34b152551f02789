"""The threads' verbs over PostgreSQL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from bedplate.kernel.errors import Conflict, NotFound, Refused
from bedplate.sql import Statements
from bedplate_proto.threads import FOR_EVER, CopyThread, ThreadTtl
from bedplate_proto.vocabulary import IfExists, ThreadStatus, TtlStrategy

_sql = Statements("bedplate.ledger")

Forget = Callable[[Any, Sequence[UUID]], Awaitable[None]]
"""Removes the checkpoints of threads on a given connection, in its transaction."""
Copy = Callable[[Any, UUID, UUID], Awaitable[None]]
"""Copies the checkpoints of a thread to another id, likewise."""
Prune = Callable[[Any, UUID], Awaitable[None]]
"""Removes all checkpoints of a thread but the newest, likewise."""


@dataclass(frozen=True, kw_only=True)
class NewThread:
    """`metadata` is JSON text; `ttl` none: as long as the server's default says."""

    tenant: str
    thread_id: UUID
    metadata: str
    if_exists: IfExists
    ttl: ThreadTtl | None = None


@dataclass(frozen=True, kw_only=True)
class ThreadChange:
    """`metadata`, JSON text, is merged key by key, shallow; `ttl` none: unchanged."""

    tenant: str
    thread_id: UUID
    metadata: str
    ttl: ThreadTtl | None = None


class Threads:
    """Threads in PostgreSQL. Checkpoints belong to `bedplate.graphs`; `forget`, `copy` and `prune`
    are its hands here."""

    def __init__(self, pool: Any, *, forget: Forget, copy: Copy, prune: Prune) -> None:
        self._pool = pool
        self._forget = forget
        self._copy = copy
        self._prune = prune

    async def create(self, order: NewThread, *, default_ttl: ThreadTtl = FOR_EVER) -> str:
        """The thread's row as JSON text. Raises `Conflict` when the id is taken, `Refused`."""
        ttl = order.ttl or default_ttl
        given = (order.thread_id, order.tenant, order.metadata, ttl.minutes, ttl.strategy)
        record = None
        # The second time sees what another creator committed while the first one waited for it.
        for _ in range(2):
            with _refusing():
                record = await self._pool.fetchrow(_sql["create_thread"], *given)
            if record is not None:
                break
        if record is None or not (record["is_new"] or order.if_exists is IfExists.DO_NOTHING):
            raise Conflict("Thread already exists.", thread_id=str(order.thread_id))
        return record["row"]

    async def update(self, order: ThreadChange) -> str:
        """The thread's row as JSON text. Raises `NotFound`, `Refused`."""
        ttl = order.ttl or FOR_EVER
        changes_ttl = order.ttl is not None
        with _refusing():
            row = await self._pool.fetchval(
                _sql["update_thread"],
                order.thread_id,
                order.tenant,
                order.metadata,
                changes_ttl,
                ttl.minutes,
                ttl.strategy,
            )
        if row is None:
            raise NotFound("Thread not found.", thread_id=str(order.thread_id))
        return row

    async def delete(self, thread_ids: Sequence[UUID], *, tenant: str) -> dict[UUID, UUID | None]:
        """Remove threads with everything that belongs to them; those there were, with the run they
        were at.

        A running run's row goes too, so whatever its executor still writes is refused.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(_sql["lock_threads"], list(thread_ids), tenant)
            found: dict[UUID, UUID | None] = {row["thread_id"]: row["current_run"] for row in rows}
            await self._delete(connection, list(found))
        return found

    async def _delete(self, connection: Any, thread_ids: list[UUID]) -> None:
        """Threads whose rows are locked."""
        if not thread_ids:
            return
        # Rows first: a checkpoint being written now holds its run's row, and is waited for here.
        await connection.execute(_sql["lock_runs_of_threads"], thread_ids)
        await connection.execute(_sql["delete_threads"], thread_ids)
        await self._forget(connection, thread_ids)

    async def copy(self, order: CopyThread) -> str:
        """The copy's row as JSON text. Raises `NotFound`, and `Conflict` when its id is taken."""
        async with self._pool.acquire() as connection, connection.transaction():
            try:
                row = await connection.fetchval(
                    _sql["copy_thread"],
                    order.thread_id,
                    order.copy_id,
                    order.tenant,
                    order.metadata,
                )
            except asyncpg.UniqueViolationError as error:
                raise Conflict("Thread already exists.", thread_id=str(order.copy_id)) from error
            if row is None:
                raise NotFound("Thread not found.", thread_id=str(order.thread_id))
            await self._copy(connection, order.thread_id, order.copy_id)
        return row

    async def record_state(
        self, thread_id: UUID, *, values: str, interrupts: str, status: ThreadStatus
    ) -> bool:
        """Show an edited state; False when a run is in flight, or the thread is gone."""
        found = await self._pool.fetchval(
            _sql["record_state"], thread_id, values, interrupts, status
        )
        return found is not None

    async def sweep_doomed(self, *, older_than_s: float, limit: int) -> int:
        """Remove temporary threads whose run ended a while ago; how many."""
        rows = await self._pool.fetch(_sql["find_doomed"], older_than_s, limit)
        for tenant in {row["tenant"] for row in rows}:
            ids = [row["thread_id"] for row in rows if row["tenant"] == tenant]
            await self.delete(ids, tenant=tenant)
        return len(rows)

    async def sweep_ended(self, *, strategy: TtlStrategy, limit: int) -> int:
        """Let at most `limit` threads go whose time to live is over, or their checkpoints but the
        newest; how many. One transaction; what others are at is left out, so any number of these
        may run at once."""
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(_sql["lock_ended_threads"], strategy, limit)
            thread_ids = [row["thread_id"] for row in rows]
            if strategy is TtlStrategy.DELETE:
                await self._delete(connection, thread_ids)
            elif thread_ids:
                for thread_id in thread_ids:
                    await self._prune(connection, thread_id)
                await connection.execute(_sql["note_pruned"], thread_ids)
        return len(thread_ids)


@contextmanager
def _refusing() -> Generator[None]:
    try:
        yield
    except asyncpg.DataError as error:
        raise Refused(f"metadata is JSON that cannot be stored: {error}") from error
