"""A run that waits for an answer costs no executor anything."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
from langgraph_sdk.client import LangGraphClient

from bedplate.devstack.stack import Stack

PATIENCE_S = 30
WAITING = 40
# Pools may still have grown a little; a connection for each would be as many as there wait.
CONNECTIONS_MORE_MAX = WAITING // 2
MEMORY_MORE_BYTES_MAX = 48 * 1024 * 1024


async def test_waiting_runs_hold_nothing_of_an_executor(
    stack: Stack, client: LangGraphClient, rows: Any
) -> None:
    """More of them than there are slots; then others run."""

    async def ask() -> str:
        thread_id = str(uuid4())
        asked: Any = await client.runs.wait(
            thread_id, "approval", input={"question": "q"}, if_not_exists="create"
        )
        assert asked["__interrupt__"]
        return thread_id

    workers = stack.pids("executor")
    await asyncio.gather(*(ask() for _ in range(10)))
    before, connections = _memory_bytes(workers), await _connections(rows)
    threads = [
        thread_id
        for _ in range(WAITING // 10)
        for thread_id in await asyncio.gather(*(ask() for _ in range(10)))
    ]
    held = await rows.fetchval(
        "SELECT count(*) FROM runs JOIN threads USING (thread_id)"
        " WHERE thread_id = ANY($1::uuid[])"
        "   AND (runs.status <> 'success' OR lease_until IS NOT NULL OR current_run IS NOT NULL"
        "        OR runs_active > 0)",
        [UUID(thread_id) for thread_id in threads],
    )
    assert held == 0
    assert await _connections(rows) - connections <= CONNECTIONS_MORE_MAX
    assert _memory_bytes(workers) - before <= MEMORY_MORE_BYTES_MAX
    queue = (await _metrics(stack))["workers"]
    assert queue["active"] == 0
    async with asyncio.timeout(PATIENCE_S):
        done: Any = await asyncio.gather(
            *(client.runs.wait(None, "steps", input={"steps": 2}) for _ in range(12))
        )
    assert all(each["log"] == [1, 2] for each in done)
    answers: Any = await asyncio.gather(
        *(client.runs.wait(each, "approval", command={"resume": 1}) for each in threads[:12])
    )
    assert all(each["answer"] == 1 for each in answers)


async def _connections(rows: Any) -> int:
    return await rows.fetchval("SELECT count(*) FROM pg_stat_activity WHERE datname IS NOT NULL")


async def _metrics(stack: Stack) -> Any:
    async with httpx.AsyncClient(base_url=stack.url) as http:
        return (await http.get("/metrics", params={"format": "json"})).json()


def _memory_bytes(pids: list[int]) -> int:
    def resident(pid: int) -> int:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        line = next((one for one in lines if one.startswith("VmRSS")), "VmRSS: 0 kB")
        return int(line.split()[1]) * 1024

    return sum(resident(pid) for pid in pids)
