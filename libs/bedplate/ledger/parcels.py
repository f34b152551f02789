"""Bodies of orders and replies that are too large for one message travel by reference."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from bedplate.kernel.errors import NotFound
from bedplate.sql import Statements

_sql = Statements("bedplate.ledger")


class Parcels:
    """Puts a body down and picks it up again; swept by the scheduler after ten minutes."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def put(self, body: bytes) -> UUID:
        parcel_id = uuid4()
        await self._pool.execute(_sql["put_parcel"], parcel_id, body)
        return parcel_id

    async def get(self, parcel_id: UUID) -> bytes:
        """Raises `NotFound` when it was swept."""
        body = await self._pool.fetchval(_sql["get_parcel"], parcel_id)
        if body is None:
            raise NotFound("the message's parcel is gone", parcel_id=str(parcel_id))
        return body

    async def sweep(self, *, older_than_s: float) -> None:
        await self._pool.execute(_sql["sweep_parcels"], older_than_s)
