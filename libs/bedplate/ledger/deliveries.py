"""Deliveries of webhooks: claimed, settled, asked for again.

A trigger on `runs` writes the row in the transaction that ends a run (migration 0002), so there is
one for every run that asked for it, also when its own row is gone. From then on the dispatchers own
it: `tries` grows with every claim and is the fence; a claim is a lease in database time, and one
that ran out is due again. So a delivery is tried at least once, by any number of dispatchers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from bedplate.kernel.errors import Conflict, NotFound
from bedplate.sql import Statements

_sql = Statements("bedplate.ledger")


@dataclass(frozen=True)
class Due:
    """A delivery that is ours to try. `run` and `values` are JSON text as it was stored.

    `tries` counts this try; `tries_of_round` the same since the last redelivery was asked for, and
    `age_s` is how long that is ago.
    """

    delivery_id: UUID
    tenant: str
    run_id: UUID
    url: str
    destination: str
    tries: int
    tries_of_round: int
    age_s: float
    run: str
    run_started_at: datetime | None
    run_ended_at: datetime
    values: str | None
    error: str | None


@dataclass(frozen=True)
class Verdict:
    """How a try went. `retry_s` only when it is `pending` again."""

    status: Literal["delivered", "pending", "dead"]
    retry_s: float | None = None
    status_code: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class Backlog:
    """`due` are the pending ones whose time has come."""

    pending: int
    due: int
    dead: int


class Deliveries:
    """The deliveries' verbs over PostgreSQL."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def claim(
        self, *, limit: int, room: int, rooms: Mapping[str, int], by: str, lease_s: float
    ) -> list[Due]:
        """Due deliveries, oldest first, for `lease_s`: at most `limit`, and of one destination
        `room`, or what `rooms` says."""
        rows = await self._pool.fetch(
            _sql["claim_deliveries"], limit, room, list(rooms), list(rooms.values()), by, lease_s
        )
        return [Due(**dict(row)) for row in rows]

    async def settle(self, due: Due, verdict: Verdict) -> bool:
        """False: the claim ran out meanwhile, and the verdict counts for nothing."""
        found = await self._pool.fetchval(
            _sql["settle_delivery"], due.delivery_id, due.tries, verdict.status, verdict.retry_s,
            verdict.status_code, verdict.error,
        )  # fmt: skip
        return found is not None

    async def redeliver(self, delivery_id: UUID, *, tenant: str) -> str:
        """Due now, whatever became of it before: its row as JSON text.

        Raises `NotFound`, and `Conflict` while a try is under way.
        """
        record = await self._pool.fetchrow(_sql["redeliver_delivery"], delivery_id, tenant)
        if record is None:
            raise NotFound("Delivery not found.", delivery_id=str(delivery_id))
        if record["is_under_way"]:
            raise Conflict("The delivery is being tried right now.", delivery_id=str(delivery_id))
        return record["row"]

    async def sweep(self, *, delivered_s: float, dead_s: float, limit: int) -> int:
        """Remove what was settled that long ago; how many."""
        done = await self._pool.execute(_sql["sweep_deliveries"], delivered_s, dead_s, limit)
        return int(done.rsplit(" ", 1)[-1])

    async def measure(self) -> Backlog:
        return Backlog(**dict(await self._pool.fetchrow(_sql["measure_deliveries"])))
