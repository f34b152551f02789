"""What happens to store items besides being put and read. Functions of an asyncpg connection;
nothing here imports langgraph."""

from __future__ import annotations

from typing import Any

from bedplate.sql import Statements

_sql = Statements("bedplate.graphs")


async def sweep_items(connection: Any, *, limit: int) -> int:
    """Remove at most `limit` expired items, the longest expired first; how many there were. Any
    number of these may run at once."""
    return int(await connection.fetchval(_sql["sweep_items"], limit))
