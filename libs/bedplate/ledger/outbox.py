"""Messages written with a change, flushed at once by whoever wrote them, and by the relay if that
one died.

A row's `msg_id` is the broker's message id, so a row that is flushed twice within the broker's
window counts once. Rows are deleted, never marked by a cursor: a cursor would lose rows whose
transaction commits late (facts, infra.md 3.6).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import structlog

from bedplate.kernel.errors import Unavailable
from bedplate.sql import Statements

log = structlog.get_logger()
_sql = Statements("bedplate.ledger")
# How long acknowledged rows are gathered. Well below the age at which the relay takes a row for
# forgotten (1 s).
_GATHER_S = 0.2
_NOT_DONE = (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


@dataclass(frozen=True)
class Outgoing:
    """A row of the outbox: where it goes, under which message id, and its JSON text."""

    outbox_id: int
    msg_id: str
    subject: str
    body: str


Publish = Callable[[Outgoing], Awaitable[None]]
"""Returns once the broker has stored the message; raises `Unavailable` if it cannot."""


Spawn = Callable[[Coroutine[Any, Any, None]], object]
"""Runs something to its end beside the caller, owned by the process (`chassis.tasks.Tasks`)."""


class Outbox:
    """Flushes rows. One per process; `flush` may be called by many tasks at once."""

    def __init__(self, pool: Any, publish: Publish, *, spawn: Spawn) -> None:
        self._pool = pool
        self._publish = publish
        self._spawn = spawn
        self._acknowledged: list[int] = []
        self._deleting = False

    def soon(self, rows: Sequence[Outgoing]) -> None:
        """Flush rows that were just committed, beside the caller: nobody waits for the broker to be
        answered."""
        if rows:
            self._spawn(self.flush(rows))

    async def flush(self, rows: Sequence[Outgoing]) -> None:
        """Publish rows that were just committed. What fails stays for the relay; never raises for
        the broker."""
        for row in rows:
            try:
                await self._publish(row)
            except Unavailable as error:
                log.warning("outbox.deferred", subject=row.subject, why=str(error))
                break
            self._acknowledged.append(row.outbox_id)
        if self._acknowledged and not self._deleting:
            self._deleting = True
            self._spawn(self._delete())

    async def relay(self, *, older_than_s: float, limit: int = 200) -> int:
        """Publish what a dead writer left behind; how many. At most one relay works on a row at a
        time."""
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(_sql["take_outbox"], older_than_s, limit)
            done: list[int] = []
            try:
                for row in rows:
                    await self._publish(Outgoing(**dict(row)))
                    done.append(row["outbox_id"])
            except Unavailable as error:
                log.warning("outbox.deferred", rows=len(rows) - len(done), why=str(error))
            if done:
                await connection.execute(_sql["delete_outbox"], done)
            return len(done)

    async def _delete(self) -> None:
        """Delete what was acknowledged, all in one statement; what arrives meanwhile goes with the
        next one. Nobody waits for it, so it keeps off the way of the commits somebody waits for."""
        try:
            while self._acknowledged:
                await asyncio.sleep(_GATHER_S)
                batch, self._acknowledged = self._acknowledged, []
                try:
                    await self._pool.execute(_sql["delete_outbox"], batch)
                except _NOT_DONE as error:
                    # The relay publishes them again under the same message id: the broker drops the
                    # double.
                    log.warning("outbox.not_deleted", rows=len(batch), why=str(error))
        finally:
            self._deleting = False
