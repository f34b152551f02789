"""Ten thousand runs of one fairness group in the queue, and then comes somebody else.

Groups are named to the scheduler itself: this is about the queue, whoever names them.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import httpx
import pytest

from bedplate.bus.broker import Bus
from bedplate.devstack.stack import Stack
from bedplate.ledger import Parcels, make_pool
from bedplate.testing.eventually import eventually
from bedplate.testing.orders import create_run, work
from bedplate_proto import subjects
from bedplate_proto.runs import CreateRun

GRAPHS = Path(__file__).parents[1] / "graphs" / "langgraph.json"
CROWD = 10_000
# The scheduler's default: so many of the others' may lie in the executors' queue already.
TICKETS = 10
# Those that get theirs while the newcomer's run is being written.
MEANWHILE = 3
PATIENCE_S = 30.0
KWARGS = work({"value": 1})


class Floor:
    """A stack of its own, the scheduler's orders, and the rows."""

    def __init__(self, stack: Stack, bus: Bus, pool: Any, assistant_id: UUID) -> None:
        self.stack = stack
        self.bus = bus
        self.pool = pool
        self.assistant_id = assistant_id

    def run_of(self, group: str) -> CreateRun:
        return create_run(
            graph_id="noop",
            assistant_id=self.assistant_id,
            kwargs=KWARGS,
            fairness_group=group,
        )

    async def create(self, group: str) -> UUID:
        order = self.run_of(group)
        await self.bus.order(subjects.CREATE_RUN, order)
        return order.run_id

    async def crowd(self, count: int) -> None:
        """Runs as the scheduler writes them, but in one statement instead of a minute: each ready
        on a thread of its own."""
        await self.pool.execute(
            "WITH made AS ("
            " INSERT INTO threads (thread_id, tenant, status, runs_active, current_run,"
            "  priority, fairness_group)"
            " SELECT gen_random_uuid(), 'default', 'busy', 1, gen_random_uuid(), 0, 'crowd'"
            "   FROM generate_series(1, $1) RETURNING thread_id, current_run)"
            "INSERT INTO runs (run_id, thread_id, tenant, assistant_id, graph_id, kwargs,"
            " multitask_strategy, fairness_group, ready_at)"
            " SELECT current_run, thread_id, 'default', $2, 'noop', $3, 'enqueue', 'crowd', now()"
            "   FROM made",
            count,
            self.assistant_id,
            KWARGS,
        )

    async def overtaken_by(self, run_id: UUID) -> int:
        """How many others started between a run's creation and its own start."""

        async def is_started() -> bool:
            query = "SELECT started_at IS NOT NULL FROM runs WHERE run_id = $1"
            return await self.pool.fetchval(query, run_id)

        await eventually(is_started, within_s=PATIENCE_S)
        return await self.pool.fetchval(
            "SELECT count(*) FROM runs AS others JOIN runs AS mine ON mine.run_id = $1"
            " WHERE others.fairness_group = 'crowd'"
            " AND others.started_at > mine.created_at AND others.started_at < mine.started_at",
            run_id,
        )

    async def status(self, run_id: UUID) -> str:
        return await self.pool.fetchval("SELECT status FROM runs WHERE run_id = $1", run_id)

    async def at_work(self) -> int:
        """How many of the crowd have started."""
        return await self.pool.fetchval(
            "SELECT count(*) FROM runs WHERE fairness_group = 'crowd' AND started_at IS NOT NULL"
        )

    async def waiting(self) -> dict[str, tuple[int, float]]:
        """By group, from /metrics: how many runs wait, and for how long the first has."""
        async with httpx.AsyncClient() as http:
            text = (await http.get(f"{self.stack.ops_url('run-scheduler')}/metrics")).text
        runs, oldest = (
            {
                group: float(value)
                for group, value in re.findall(
                    rf'^bedplate_ready_{name}{{group="(\w+)",tenant="default"}} (\S+)$', text, re.M
                )
            }
            for name in ("runs", "oldest_seconds")
        )
        return {group: (int(count), oldest[group]) for group, count in runs.items()}


@pytest.fixture
def crowded(run_stack: Any) -> Iterator[Stack]:
    stack = run_stack(GRAPHS, env={"BEDPLATE_RUN_SCHEDULER_MEASURE_S": "0.5"})
    yield stack
    stack.stop()


@pytest.fixture
async def floor(crowded: Stack) -> AsyncIterator[Floor]:
    uri = crowded.endpoints.database_uri
    async with make_pool(uri, size_max=2, application="test") as pool:
        carrier = Parcels(pool)
        bus = Bus(crowded.endpoints.nats_url, client_name="test", carrier=carrier)
        async with bus:
            assistant_id = await pool.fetchval(
                "SELECT assistant_id FROM assistants WHERE graph_id = 'noop'"
            )
            yield Floor(crowded, bus, pool, assistant_id)


async def test_ten_thousand_queued_runs_of_one_group_delay_anothers_first_by_a_few(
    floor: Floor,
) -> None:
    await floor.crowd(CROWD)
    await eventually(floor.at_work, satisfies=lambda runs: runs > 2 * TICKETS, within_s=PATIENCE_S)
    for group in ("first", "second", "third"):
        run_id = await floor.create(group)
        assert await floor.overtaken_by(run_id) <= TICKETS + MEANWHILE
        await eventually(lambda run_id=run_id: floor.status(run_id), equals="success", within_s=10)
    told: Any = await eventually(
        floor.waiting, satisfies=lambda told: "crowd" in cast("Any", told), within_s=10
    )
    queued, oldest_s = told["crowd"]
    assert CROWD / 2 < queued < CROWD, "most of them still wait"
    assert oldest_s > 0.5, "and have for a while"
