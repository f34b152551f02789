"""What deciding, waiting and stopping cost: runs that queue, and runs that are cancelled."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4

import asyncpg
from http_client import Connection
from transactions import Transactions

from bedplate.devstack.stack import Stack
from bedplate.kernel.fairness import Limits
from bedplate.ledger import Admissions, Dispatch, Messages, Outbox, Outgoing, make_pool
from bedplate.sql import migrate, migrations_of
from bedplate.testing.eventually import eventually
from bedplate.testing.orders import create_run, work
from bedplate_proto.subjects import DEFAULT_PREFIX

IN_LINE = 50
PENDING, PENDING_THREADS = 10_000, 1_000
# The stack's slots: as many sleepers leave none, so nothing else runs while creates are timed.
SLOTS = 10
_LOOK_S = 0.002
_BEGUN_S_MAX = 30.0


class Queueing:
    def __init__(self, stack: Stack, *, quick: bool) -> None:
        self._stack = stack
        self._uri = stack.endpoints.database_uri
        self._count = 30 if quick else 100

    async def figures(self) -> dict[str, float]:
        pool = await asyncpg.connect(self._uri, timeout=10, command_timeout=60)
        try:
            async with await Connection.to(self._stack.url) as connection:
                decisions = await self._decisions()
                return {
                    **decisions,
                    **await self._line(connection, pool),
                    **await self._cancels(connection),
                    **await self._crowd(connection, pool),
                }
        finally:
            await pool.close()

    async def _decisions(self) -> dict[str, float]:
        """The scheduler's verb by itself, on threads that are free, in a database of its own: its
        tickets are nobody's, and stay in the outbox."""
        uri = await _fresh_database(self._uri, "decisions")
        async with make_pool(uri, size_max=2, application="bench") as pool:
            outbox = Outbox(pool, _published, spawn=lambda flush: flush.close())
            messages = Messages(DEFAULT_PREFIX)
            dispatch = Dispatch(pool, outbox, messages, Limits(tickets=10**6))
            admissions = Admissions(pool, outbox, messages, dispatch)
            transactions = await Transactions.of(uri)
            orders = [create_run() for _ in range(20 + 3 * self._count)]
            for order in orders[:20]:
                await admissions.create(order)
            first = orders[20:]
            for order in first:
                await pool.execute(
                    "INSERT INTO threads (thread_id, tenant) VALUES ($1, $2)",
                    order.thread_id, order.tenant,
                )  # fmt: skip
            before = await transactions.next_id()
            took = [await _took(lambda order=order: admissions.create(order)) for order in first]
            after = await transactions.next_id()
            await transactions.close()
        return {
            "decide_p50_ms": 1e3 * statistics.median(took),
            "decide_transactions": (after - before) / len(first),
        }

    async def _line(self, connection: Connection, pool: Any) -> dict[str, float]:
        """No-op runs that are enqueued on one thread: from the first one's start to the last one's
        end, each; the best of three. Raises `RuntimeError` when one is lost or out of order."""
        each_ms: list[float] = []
        for _ in range(3):
            thread = (await connection.post("/threads", {})).json()["thread_id"]
            path, order = f"/threads/{thread}/runs", {"assistant_id": "noop", "input": {"value": 1}}
            runs = [(await connection.post(path, order)).json()["run_id"] for _ in range(IN_LINE)]
            await connection.post(f"{path}/wait", order)
            rows = await pool.fetch(
                "SELECT run_id::text, status, started_at, finished_at FROM runs"
                " WHERE thread_id = $1::text::uuid ORDER BY started_at",
                thread,
            )
            if [row["run_id"] for row in rows[:IN_LINE]] != runs:
                raise RuntimeError("runs of one thread were lost, or overtook another")
            if {row["status"] for row in rows} != {"success"}:
                raise RuntimeError("runs of one thread did not succeed")
            # The first half ran while the others were being created.
            half = rows[IN_LINE // 2 :]
            span = half[-1]["finished_at"] - half[0]["started_at"]
            each_ms.append(1e3 * span.total_seconds() / len(half))
        return {"line_ms": min(each_ms)}

    async def _cancels(self, connection: Connection) -> dict[str, float]:
        """From the request to the answer that it is over, of a node that awaits."""
        took: list[float] = []
        with tempfile.TemporaryDirectory() as folder:
            for number in range(self._count // 3):
                journal = Path(folder) / str(number)
                place = await _sleeper(connection, journal)
                cancel = f"{place}/cancel?wait=1"
                took.append(await _took(lambda cancel=cancel: connection.post(cancel, {})))
        return {"cancel_p50_ms": 1e3 * statistics.median(took)}

    async def _crowd(self, connection: Connection, pool: Any) -> dict[str, float]:
        """How long it takes to create a run, behind another one and on a new thread by turns: with
        many runs pending, and before and after that with none."""
        with tempfile.TemporaryDirectory() as folder:
            sleepers = [await _sleeper(connection, Path(folder) / str(n)) for n in range(SLOTS)]
            busy = [place.split("/")[2] for place in sleepers]
            before = await self._creates(connection, busy)
            await _remove_waiting(pool)
            crowd = await _write_crowd(pool)
            full = await self._creates(connection, crowd)
            await _remove_waiting(pool)
            after = await self._creates(connection, busy)
            await _remove_waiting(pool)
            for place in sleepers:
                await connection.post(f"{place}/cancel?wait=1", {})
        empty = statistics.median(before + after)
        return {
            "create_p50_ms": 1e3 * empty,
            "create_crowded_ratio": statistics.median(full) / empty,
        }

    async def _creates(self, connection: Connection, threads: list[str]) -> list[float]:
        order = {"assistant_id": "noop", "input": {"value": 1}, "if_not_exists": "create"}
        new: list[str] = []
        took: list[float] = []
        for number in range(2 * self._count):
            if number % 2:
                new.append(str(uuid4()))
            thread = new[-1] if number % 2 else threads[number % len(threads)]
            path = f"/threads/{thread}/runs"
            took.append(await _took(lambda path=path: connection.post(path, order)))
        return took


async def _published(_: Outgoing) -> None:
    await asyncio.sleep(0)


async def _took(act: Callable[[], Awaitable[Any]]) -> float:
    began = perf_counter()
    await act()
    return perf_counter() - began


async def _sleeper(connection: Connection, journal: Path) -> str:
    """The address of a run whose node awaits by now."""
    thread = (await connection.post("/threads", {})).json()["thread_id"]
    given = {"seconds": 600, "journal": str(journal)}
    order = {"assistant_id": "sleeps", "input": given}
    run = (await connection.post(f"/threads/{thread}/runs", order)).json()["run_id"]
    await eventually(journal.exists, within_s=_BEGUN_S_MAX, every_s=_LOOK_S)
    return f"/threads/{thread}/runs/{run}"


async def _write_crowd(pool: Any) -> list[str]:
    """Threads with a run that is ready and others behind it, as the scheduler writes them."""
    rows = await pool.fetch(
        "WITH made AS ("
        " INSERT INTO threads (thread_id, tenant, status, runs_active, current_run, priority,"
        "  fairness_group)"
        " SELECT gen_random_uuid(), 'default', 'busy', $2, gen_random_uuid(), 0, 'default'"
        "   FROM generate_series(1, $1) RETURNING thread_id, current_run"
        "), written AS ("
        " INSERT INTO runs (run_id, thread_id, tenant, assistant_id, graph_id, kwargs,"
        "  multitask_strategy, ready_at)"
        " SELECT CASE WHEN n = 1 THEN current_run ELSE gen_random_uuid() END, thread_id, 'default',"
        "  (SELECT assistant_id FROM assistants WHERE graph_id = 'noop' LIMIT 1), 'noop', $3,"
        "  'enqueue', CASE WHEN n = 1 THEN now() END"
        "   FROM made CROSS JOIN generate_series(1, $2) AS n)"
        "SELECT thread_id::text FROM made",
        PENDING_THREADS,
        PENDING // PENDING_THREADS,
        work({"value": 1}),
    )
    await pool.execute("VACUUM ANALYZE threads, runs")
    return [row["thread_id"] for row in rows]


async def _remove_waiting(pool: Any) -> None:
    """Every run that waits, and the threads that have no other."""
    await pool.execute(
        "DELETE FROM threads WHERE runs_active > 0 AND NOT EXISTS (SELECT FROM runs"
        " WHERE runs.thread_id = threads.thread_id AND runs.status = 'running')"
    )
    await pool.execute(
        "WITH gone AS (DELETE FROM runs WHERE status = 'pending' RETURNING thread_id)"
        "UPDATE threads SET runs_active = 1 WHERE thread_id IN (SELECT thread_id FROM gone)"
    )
    await pool.execute("VACUUM ANALYZE threads, runs")


async def _fresh_database(uri: str, name: str) -> str:
    connection = await asyncpg.connect(uri, timeout=10)
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {name}")
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    fresh = f"{uri.rsplit('/', 1)[0]}/{name}"
    connection = await asyncpg.connect(fresh, timeout=10)
    try:
        await migrate(connection, migrations_of("ledger", "bedplate.ledger"))
    finally:
        await connection.close()
    return fresh
