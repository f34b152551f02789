"""Reads from PostgreSQL: JSON text made by the server, passed on without being parsed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from bedplate.kernel.errors import Unavailable
from bedplate.ledger import NOT_THERE_YET
from bedplate.sql import Statements


class Rows:
    """The pool with this service's statements by name. Raises `Unavailable` while PostgreSQL is
    away."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._sql = Statements("bedplate_gateway")

    async def all(self, statement: str, *given: Any, **parts: str) -> list[Any]:
        """Rows of a statement; `parts` fill its `{…}` and must come from a fixed list."""
        text = self._sql[statement]
        async with patience():
            return await self._pool.fetch(text.format(**parts) if parts else text, *given)

    async def page(self, statement: str, *given: Any, **parts: str) -> list[Any]:
        """As `all`, planned for what is given: a filter that few rows meet takes another index than
        one that most do, and the plan that serves every filter serves neither
        (`make bench ARGS=threads`)."""
        text = self._sql[statement].format(**parts)
        async with patience(), self._pool.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
            return await connection.fetch(text, *given)

    async def one(self, statement: str, *given: Any) -> Any:
        async with patience():
            return await self._pool.fetchrow(self._sql[statement], *given)

    async def value(self, statement: str, *given: Any, **parts: str) -> Any:
        text = self._sql[statement]
        async with patience():
            return await self._pool.fetchval(text.format(**parts) if parts else text, *given)

    async def ready(self) -> str | None:
        """A readiness check."""
        async with patience():
            await self._pool.execute("SELECT 1")
        return None


@asynccontextmanager
async def patience() -> AsyncGenerator[None]:
    """Raises `Unavailable` while PostgreSQL is away."""
    try:
        yield
    except NOT_THERE_YET as error:
        why = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise Unavailable(f"PostgreSQL cannot be asked: {why}", retry_s=1.0) from error
