"""Reads from PostgreSQL: JSON text made by the server, passed on without being parsed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from bedplate.graphs.sealing import MARK, Sealing
from bedplate.kernel.errors import Unavailable
from bedplate.ledger import NOT_THERE_YET
from bedplate.sql import Statements

# Rows of a page that are with the project's handlers at a time.
_AT_ONCE_MAX = 8


class Rows:
    """The pool with this service's statements by name. Raises `Unavailable` while PostgreSQL is
    away.

    What is encrypted in them is opened here, so nobody who reads has to know of it.
    """

    def __init__(self, pool: Any, *, sealing: Sealing | None = None) -> None:
        self._pool = pool
        self.sealing = sealing
        self._sql = Statements("bedplate_gateway")

    async def all(self, statement: str, *given: Any, **parts: str) -> list[Any]:
        """Rows of a statement; `parts` fill its `{…}` and must come from a fixed list."""
        text = self._sql[statement]
        async with patience():
            found = await self._pool.fetch(text.format(**parts) if parts else text, *given)
        return await self._opened_all(found)

    async def page(self, statement: str, *given: Any, **parts: str) -> list[Any]:
        """As `all`, planned for what is given: a filter that few rows meet takes another index than
        one that most do, and the plan that serves every filter serves neither
        (`make bench ARGS=threads`)."""
        text = self._sql[statement].format(**parts)
        async with patience(), self._pool.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
            found = await connection.fetch(text, *given)
        return await self._opened_all(found)

    async def one(self, statement: str, *given: Any) -> Any:
        async with patience():
            found = await self._pool.fetchrow(self._sql[statement], *given)
        if self.sealing is None or found is None:
            return found
        return await self._opened(found, self.sealing)

    async def value(self, statement: str, *given: Any, **parts: str) -> Any:
        text = self._sql[statement]
        async with patience():
            found = await self._pool.fetchval(text.format(**parts) if parts else text, *given)
        if self.sealing is None or not isinstance(found, str):
            return found
        return await self.sealing.opened_text(found)

    async def sealed_value(self, statement: str, *given: Any) -> Any:
        """As `value`, with what is encrypted as it is: for whoever looks at what is plain, and has
        to be able to without the key."""
        async with patience():
            return await self._pool.fetchval(self._sql[statement], *given)

    async def ready(self) -> str | None:
        """A readiness check."""
        async with patience():
            await self._pool.execute("SELECT 1")
        return None

    async def _opened_all(self, rows: list[Any]) -> list[Any]:
        if (sealing := self.sealing) is None:
            return rows
        opened: list[Any] = []
        for at in range(0, len(rows), _AT_ONCE_MAX):
            some = rows[at : at + _AT_ONCE_MAX]
            opened += await asyncio.gather(*(self._opened(row, sealing) for row in some))
        return opened

    async def _opened(self, row: Any, sealing: Sealing) -> Any:
        sealed = [name for name, part in row.items() if isinstance(part, str) and MARK in part]
        if not sealed:
            return row
        return {**row, **{name: await sealing.opened_text(row[name]) for name in sealed}}


@asynccontextmanager
async def patience() -> AsyncGenerator[None]:
    """Raises `Unavailable` while PostgreSQL is away."""
    try:
        yield
    except NOT_THERE_YET as error:
        why = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise Unavailable(f"PostgreSQL cannot be asked: {why}", retry_s=1.0) from error
