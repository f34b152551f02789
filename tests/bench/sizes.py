"""What grows with use: store items, 100 000 threads, a thread of 500 checkpoints."""

from __future__ import annotations

import asyncio
import statistics
from itertools import count
from time import perf_counter
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import asyncpg
from http_client import Connection

from bedplate.devstack.stack import Stack

CONCURRENCY = 16
THREADS = 100_000
OWNERS = 1_000
CHECKPOINTS = 500
TEXT = "0123456789 " * 25  # 275 bytes
_LOOKS = 100
_FILL = """
INSERT INTO threads (thread_id, tenant, status, settled_status, metadata, "values", updated_at)
SELECT gen_random_uuid(), 'default', kind, kind,
       jsonb_build_object('graph_id', 'noop', 'owner', 'owner-' || n % $2::int, 'n', n),
       '{"topic": "refund"}', now() - n * interval '1 second'
  FROM generate_series(1, $1::int) AS n,
       LATERAL (SELECT (ARRAY['idle', 'idle', 'interrupted', 'error'])[1 + n % 4] AS kind) AS kinds
"""


async def store_rates(url: str, *, operations: int) -> dict[str, float]:
    """Items put, got and searched per second: 160 bytes each, 100 to a namespace."""
    root = str(uuid4())
    numbers = count()

    def place() -> tuple[list[str], str, int]:
        n = next(numbers) % operations
        return ["bench", root, str(n // 100)], str(n), n

    async def put(connection: Connection) -> None:
        namespace, key, n = place()
        body = {"namespace": namespace, "key": key, "value": {"n": n, "text": TEXT[:140]}}
        answer = await connection.send("PUT", "/store/items", body)
        assert answer.status == 204, answer.json()

    async def get(connection: Connection) -> None:
        namespace, key, _ = place()
        path = f"/store/items?namespace={quote('.'.join(namespace))}&key={key}"
        assert (await connection.send("GET", path)).json()["key"] == key

    async def search(connection: Connection) -> None:
        namespace, _, n = place()
        body = {"namespace_prefix": namespace, "filter": {"n": {"$gte": n // 100 * 100}}}
        assert len((await connection.post("/store/items/search", body)).json()["items"]) == 10

    return {
        f"store_{name}": await _rate(url, job, operations)
        for name, job in (("put", put), ("get", get), ("search", search))
    }


async def _rate(url: str, job: Any, operations: int) -> float:
    connections = [await Connection.to(url) for _ in range(CONCURRENCY)]
    left = iter(range(operations))

    async def work(connection: Connection) -> None:
        for _ in left:
            await job(connection)

    began = perf_counter()
    async with asyncio.TaskGroup() as group:
        for connection in connections:
            group.create_task(work(connection))
    took_s = perf_counter() - began
    for connection in connections:
        await connection.__aexit__()
    return operations / took_s


async def thread_search(stack: Stack) -> dict[str, float]:
    """Pages of ten of 100 000 threads: by what few have, and by what all have."""
    rows = await asyncpg.connect(stack.endpoints.database_uri, timeout=10)
    await rows.execute(_FILL, THREADS, OWNERS, timeout=120)
    # As autovacuum does within a minute.
    await rows.execute("VACUUM ANALYZE threads", timeout=120)
    await rows.close()
    wanted = [{"metadata": {"owner": f"owner-{n * 7}"}, "status": "idle"} for n in range(_LOOKS)]
    common = [
        {"metadata": {"graph_id": "noop"}, "status": status}
        for status in ("idle", "interrupted", "error") * (_LOOKS // 3)
    ]
    async with await Connection.to(stack.url) as connection:
        return {
            name: await _p50_ms(
                [lambda body=body: connection.post("/threads/search", body) for body in bodies]
            )
            for name, bodies in (("search_few", wanted), ("search_many", common))
        }


async def state_reads(stack: Stack) -> dict[str, float]:
    """State and history of ten, of a thread with 500 checkpoints."""
    async with await Connection.to(stack.url) as connection:
        thread = (await connection.post("/threads", {})).json()["thread_id"]
        given = {"assistant_id": "steps", "input": {"steps": CHECKPOINTS - 2}, "config":
                 {"recursion_limit": 2 * CHECKPOINTS}}  # fmt: skip
        (await connection.post(f"/threads/{thread}/runs/wait", given)).json()
        state = [lambda: connection.send("GET", f"/threads/{thread}/state")] * _LOOKS
        body = {"limit": 10}
        history = [lambda: connection.post(f"/threads/{thread}/history", body)] * _LOOKS
        return {"state": await _p50_ms(state), "history": await _p50_ms(history)}


async def _p50_ms(looks: list[Any]) -> float:
    took_ms: list[float] = []
    for look in [*looks[:10], *looks]:
        began = perf_counter()
        answer = await look()
        took_ms.append(1e3 * (perf_counter() - began))
        assert answer.status == 200, answer.json()
    return statistics.median(took_ms[10:])
