"""What a long conversation costs: a run on a thread of 500 messages against one on a new thread,
and the bytes that such a thread takes. Measured of the product, and of the bare library."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any
from uuid import uuid4

import asyncpg
import orjson
from http_client import Connection
from processes import Group, spent

from bedplate.devstack.stack import Stack

MESSAGES = 500
RUNS, QUICK_RUNS = 60, 20
_TEXT = "0123456789 " * 25  # 275 bytes; the agent's answers are as long, and prose
# What is stored, per so much of messages as clients see them.
_UNIT_BYTES, _MB = 140_000, 1_000_000
# Eight tools in a run: as many messages as a deep agent's runs have.
_TOOLS = 8
# Reading what all processes have used takes longer than a run: it is done once for so many.
_TURN = 10
# The header of a row, and the pointer to it.
_ROW_BYTES = 28
_COLUMNS = """
SELECT column_name FROM information_schema.columns
 WHERE table_schema = 'public' AND table_name = $1
"""

Talk = Callable[[str, str], Awaitable[list[Any]]]
"""Say something on a thread; all its messages then."""

_SAVER_TABLES = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
_PRODUCT_TABLES = (*_SAVER_TABLES, "checkpoint_undo", "threads", "runs")


class Conversation:
    """`talk` on threads of `database`; `group` are the processes that have to do with it."""

    def __init__(
        self,
        talk: Talk,
        new: Callable[[], Awaitable[str]],
        group: Group,
        database: str,
        *,
        tables: Sequence[str],
    ) -> None:
        self._talk = talk
        self._new = new
        self._group = group
        self._database = database
        self._tables = tables
        self._numbers = count()

    async def figures(self, *, runs: int) -> dict[str, float]:
        long = await self._new()
        messages: list[Any] = []
        while len(messages) < MESSAGES:
            messages = await self._say(long, tools=_TOOLS)
        stored = await self._stored(long)
        size = len(orjson.dumps(messages, _dumped))
        fresh = [await self._new() for _ in range(runs + _TURN)]
        for thread in fresh[runs:]:  # connections, plans and code are warm
            await self._say(thread)
        cpu_s = {"fresh": 0.0, "long": 0.0}
        for begin in range(0, runs, _TURN):  # by turns: the machine's other work falls on both
            for name, threads in (
                ("fresh", fresh[begin : begin + _TURN]),
                ("long", [long] * _TURN),
            ):
                before = self._group.cpu_s()
                for thread in threads:
                    await self._say(thread)
                cpu_s[name] += sum(spent(before, self._group.cpu_s()).values())
        return {
            "growth_cpu": cpu_s["long"] / cpu_s["fresh"],
            "growth_fresh_ms": 1e3 * cpu_s["fresh"] / runs,
            "growth_long_ms": 1e3 * cpu_s["long"] / runs,
            "growth_more_ms": 1e3 * (cpu_s["long"] - cpu_s["fresh"]) / runs,
            "growth_bytes": stored / size * _UNIT_BYTES / _MB,
        }

    async def _say(self, thread: str, *, tools: int = 0) -> list[Any]:
        return await self._talk(thread, f"{tools} {next(self._numbers)} {_TEXT}")

    async def _stored(self, thread: str) -> int:
        """Whole rows, as they are stored: compressed, with their keys and headers, without
        indexes."""
        connection = await asyncpg.connect(self._database, timeout=10)
        try:
            sizes: list[int] = []
            for table in self._tables:
                columns = [row["column_name"] for row in await connection.fetch(_COLUMNS, table)]
                row = " + ".join(f'coalesce(pg_column_size("{name}"), 0)' for name in columns)
                total = f"SELECT coalesce(sum({row} + {_ROW_BYTES}), 0) FROM {table}"
                sizes.append(
                    await connection.fetchval(f"{total} WHERE thread_id::text = $1", thread)
                )
        finally:
            await connection.close()
        return sum(sizes)


async def of_product(stack: Stack, group: Group, *, runs: int) -> dict[str, float]:
    async with await Connection.to(stack.url) as connection:

        async def talk(thread: str, text: str) -> list[Any]:
            given = {"messages": [{"role": "user", "content": text}]}
            order = {"assistant_id": "talk", "input": given}
            answer = await connection.post(f"/threads/{thread}/runs/wait", order)
            return answer.json()["messages"]

        async def new() -> str:
            return (await connection.post("/threads", {})).json()["thread_id"]

        database = stack.endpoints.database_uri
        spoken = Conversation(talk, new, group, database, tables=_PRODUCT_TABLES)
        return await spoken.figures(runs=runs)


async def of_library(graph: Any, group: Group, database: str, *, runs: int) -> dict[str, float]:
    """The same agent in this process, with its own checkpointer."""

    async def talk(thread: str, text: str) -> list[Any]:
        given = {"messages": [{"role": "user", "content": text}]}
        config = {"configurable": {"thread_id": thread}}
        return (await graph.ainvoke(given, config, durability="async"))["messages"]

    async def new() -> str:
        return str(uuid4())

    spoken = Conversation(talk, new, group, database, tables=_SAVER_TABLES)
    return await spoken.figures(runs=runs)


def _dumped(value: Any) -> Any:
    return value.model_dump()
