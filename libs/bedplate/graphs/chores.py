"""What others left to be done to the checkpoints of a project's own checkpointer."""

from __future__ import annotations

from typing import Any

import structlog

from bedplate.kernel.errors import Refused
from bedplate.sql import Statements

from .own_saver import OwnSaver

log = structlog.get_logger(__name__)

_sql = Statements("bedplate.graphs")
_BATCH = 20


class Chores:
    """`do` is a loop's tick; any number of workers may do them at once."""

    def __init__(self, saver: OwnSaver, pool: Any) -> None:
        self._saver = saver
        self._pool = pool

    async def do(self) -> dict[str, Any] | None:
        """At least once each: a chore is gone only when it is done."""
        done = 0
        while (count := await self._some()) > 0:
            done += count
        return {"done": done} if done else None

    async def _some(self) -> int:
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(_sql["take_chores"], _BATCH)
            for row in sorted(rows, key=lambda row: row["chore_id"]):
                await self._one(row["thread_id"], row["strategy"])
        return len(rows)

    async def _one(self, thread_id: str, strategy: str) -> None:
        try:
            if strategy == "delete":
                await self._saver.adelete_thread(thread_id)
            else:
                await self._saver.aprune([thread_id], strategy=strategy)
        except Refused as error:
            log.warning("chore.impossible", thread_id=thread_id, why=error.message)
