"""Runs whose executor went silent: their leases ran out, so they wait for another attempt, or
end."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from bedplate.backbone import end_lost_run
from bedplate.bus.broker import Bus
from bedplate.ledger import Ledger

log = structlog.get_logger()

_BATCH = 200
# PostgreSQL was away for longer than this: the executors could not renew either.
_OUTAGE_S = 3.0
# So they get this long to renew before their leases count as run out.
_PATIENCE_S = 5.0


class Reaper:
    """A loop's tick. Any number of schedulers may run it at once."""

    def __init__(self, ledger: Ledger, bus: Bus, *, attempts_max: int) -> None:
        self._ledger = ledger
        self._bus = bus
        self._attempts_max = attempts_max
        self._answered_at: float | None = None
        self._patient_until = 0.0

    async def expire(self) -> dict[str, Any] | None:
        expired = await self._ledger.find_expired(limit=_BATCH)
        now = asyncio.get_running_loop().time()
        if self._answered_at is not None and now - self._answered_at > _OUTAGE_S:
            # A lease that ran out while PostgreSQL was away is still renewable: let them.
            self._patient_until = now + _PATIENCE_S
        self._answered_at = now
        if not expired or now < self._patient_until:
            return None
        lost = await self._ledger.lose(
            dict(expired), failures_max=self._attempts_max, expired_only=True
        )
        for run in lost:
            log.warning(
                "lease.expired", run_id=str(run.run_id), attempt=run.attempt, is_last=run.is_last
            )
            if run.is_last:
                await end_lost_run(self._bus, run)
        return {"expired": len(lost)}
