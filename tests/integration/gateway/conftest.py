"""A gateway's parts on private servers, without the other services: tests write the rows."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from bedplate.bus.broker import Bus
from bedplate.bus.event_log import EventLog
from bedplate.chassis.loop import Loop
from bedplate.devstack import schema
from bedplate.devstack.servers import Servers
from bedplate.ledger import Parcels, make_pool
from bedplate_gateway.assistants import Assistants
from bedplate_gateway.following import Followings
from bedplate_gateway.priorities import Priorities
from bedplate_gateway.rows import Rows
from bedplate_gateway.runs import Runs
from bedplate_gateway.stream import Streams
from bedplate_proto.subjects import RunAddress


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with tempfile.TemporaryDirectory(prefix="bedplate-gateway-") as folder:
        Path(folder).chmod(0o755)
        with Servers(Path(folder) / "data", env={"PATH": os.environ["PATH"]}) as running:
            asyncio.run(_prepare(running))
            yield running


async def _prepare(servers: Servers) -> None:
    await schema.migrate(servers.endpoints.database_uri)
    await schema.declare(servers.endpoints.nats_url, {})


@dataclass
class Parts:
    """What the gateway is made of, and hands to write what other services would."""

    pool: Any
    bus: Bus
    rows: Rows
    runs: Runs
    assistants: Assistants
    followings: Followings
    streams: Streams

    async def running(self, *, resumable: bool = False) -> RunAddress:
        """A run that seems to be running somewhere."""
        thread_id, run_id = uuid4(), uuid4()
        kwargs = f'{{"resumable": {str(resumable).lower()}}}'
        await self.pool.execute(
            "INSERT INTO threads (thread_id, tenant, status, runs_active, current_run)"
            " VALUES ($1, 'default', 'busy', 1, $2)",
            thread_id,
            run_id,
        )
        await self.pool.execute(
            "INSERT INTO runs (run_id, thread_id, tenant, assistant_id, graph_id, status,"
            " multitask_strategy, kwargs, attempt)"
            " VALUES ($1, $2, 'default', $3, 'g', 'running', 'enqueue', $4, 1)",
            run_id,
            thread_id,
            uuid4(),
            kwargs,
        )
        return RunAddress("default", thread_id, run_id)

    async def over(self, run: UUID, *, status: str, values: str | None, error: str | None) -> None:
        """The run ends in its row; nobody publishes anything."""
        await self.pool.execute(
            "UPDATE runs SET status = $2, error = $3, finished_at = now() WHERE run_id = $1",
            run,
            status,
            error,
        )
        await self.pool.execute(
            "UPDATE threads SET status = 'idle', \"values\" = $2, runs_active = 0"
            " WHERE thread_id = (SELECT thread_id FROM runs WHERE run_id = $1)",
            run,
            values,
        )


@pytest.fixture
async def parts(servers: Servers) -> AsyncIterator[Parts]:
    async with make_pool(servers.endpoints.database_uri, size_max=4, application="test") as pool:
        bus = Bus(servers.endpoints.nats_url, client_name="test", carrier=Parcels(pool))
        async with bus:
            rows = Rows(pool)
            assistants = Assistants(rows, bus, tenant="default")
            ranks = Priorities(rows, bus, is_configured=False)
            runs = Runs(rows, bus, assistants, ranks, tenant="default", user_key="user")
            followings = Followings(EventLog(bus), rows, heartbeat_s=0.2)
            streams = Streams(runs, followings)
            beat = Loop("beat", followings.beat, period_s=0.05)
            async with asyncio.TaskGroup() as group:
                group.create_task(beat.run())
                yield Parts(pool, bus, rows, runs, assistants, followings, streams)
                beat.stop()
