"""What has lived as long as it may: store items, threads, and all checkpoints of a thread but the
newest.

Batches are small, so that nobody waits long for a sweep, and skip what somebody else is at: any
number of schedulers may sweep at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from bedplate.graphs.item_tables import sweep_items
from bedplate.graphs.persistence import ThreadTtl
from bedplate.ledger import Threads
from bedplate_proto.vocabulary import TtlStrategy

_ITEMS_BATCH = 500
# A sweep has an end, also where items expire as fast as they are swept.
_ITEMS_MAX = 100_000
# One thread may have thousands of checkpoints.
_BATCHES = {TtlStrategy.DELETE: 50, TtlStrategy.KEEP_LATEST: 1}


class Sweeper:
    """Ticks of the scheduler's loops."""

    def __init__(self, pool: Any, threads: Threads, ttl: ThreadTtl) -> None:
        self._pool = pool
        self._threads = threads
        self._ttl = ttl

    async def sweep_items(self) -> dict[str, Any] | None:
        async def sweep(limit: int) -> int:
            return await sweep_items(self._pool, limit=limit)

        swept = await _in_batches(sweep, batch=_ITEMS_BATCH, limit=_ITEMS_MAX)
        return {"swept": swept} if swept else None

    async def sweep_threads(self) -> dict[str, Any] | None:
        swept: dict[str, int] = {}
        for strategy, batch in _BATCHES.items():

            async def sweep(limit: int, strategy: TtlStrategy = strategy) -> int:
                return await self._threads.sweep_ended(strategy=strategy, limit=limit)

            count = await _in_batches(sweep, batch=batch, limit=self._ttl.limit(strategy))
            if count:
                swept[strategy] = count
        return swept or None


async def _in_batches(sweep: Callable[[int], Awaitable[int]], *, batch: int, limit: int) -> int:
    """Until nothing is left, or `limit` is reached."""
    swept = 0
    while (size := min(batch, limit - swept)) > 0:
        count = await sweep(size)
        swept += count
        if count < size:
            break
    return swept
