"""How many transactions wrote something, and how many of them wrote checkpoints.

Counted by transaction ids, which only writing transactions get: exact at once, unlike the
statistics of the server, which its backends report with a delay. A row keeps the id of the
transaction that wrote it, so the different ids in the checkpoint tables are the commits of
whoever writes checkpoints, also when one commit holds those of several runs.
"""

from __future__ import annotations

from typing import Any, Self

import asyncpg

_NEXT = "SELECT pg_current_snapshot()::text"
_COMMITS = """
SELECT count(*) FROM (
    SELECT xmin::text AS id FROM checkpoints
     UNION
    SELECT xmin::text FROM checkpoint_writes
     UNION
    SELECT xmin::text FROM checkpoint_blobs
) AS writers
"""


class Transactions:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @classmethod
    async def of(cls, uri: str) -> Self:
        return cls(await asyncpg.connect(uri, timeout=10, command_timeout=30))

    async def close(self) -> None:
        await self._connection.close()

    async def counts(self) -> tuple[int, int]:
        """(commits of checkpoints that are there, writing transactions so far)."""
        commits = await self._connection.fetchval(_COMMITS)
        return commits, await self.next_id()

    async def clean_up(self) -> None:
        """What the server would do by itself within minutes, and then be counted as idle."""
        await self._connection.execute("VACUUM ANALYZE", timeout=120)

    async def next_id(self) -> int:
        """The number of writing transactions so far."""
        return int((await self._connection.fetchval(_NEXT)).split(":")[1])
