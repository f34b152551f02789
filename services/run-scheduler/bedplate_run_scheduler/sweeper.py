"""What has lived as long as it may: store items.

Batches are small, so that nobody waits long for a sweep, and skip what somebody else is at: any
number of schedulers may sweep at once.
"""

from __future__ import annotations

from typing import Any

from bedplate.graphs.item_tables import sweep_items

_ITEMS_BATCH = 500
# A sweep has an end, also where items expire as fast as they are swept.
_ITEMS_MAX = 100_000


class Sweeper:
    """Ticks of the scheduler's loops."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def sweep_items(self) -> dict[str, Any] | None:
        swept = 0
        while swept < _ITEMS_MAX:
            count = await sweep_items(self._pool, limit=_ITEMS_BATCH)
            swept += count
            if count < _ITEMS_BATCH:
                break
        return {"swept": swept} if swept else None
