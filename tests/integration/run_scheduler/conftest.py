"""The run-scheduler's parts on private servers, without executors: tests take the tickets."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import orjson
import pytest
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from bedplate.backbone import Backbone
from bedplate.devstack import schema
from bedplate.devstack.servers import Servers
from bedplate.kernel.fairness import Limits
from bedplate.ledger import Admissions, Dispatch
from bedplate.testing.eventually import eventually
from bedplate.testing.orders import create_run
from bedplate_run_scheduler.settings import Settings

QUEUE = "RUN_DISPATCH"
PATIENCE_S = 10.0
TICKETS_MAX = 1000


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with tempfile.TemporaryDirectory(prefix="bedplate-scheduler-") as folder:
        Path(folder).chmod(0o755)
        with Servers(Path(folder) / "data", env={"PATH": os.environ["PATH"]}) as running:
            asyncio.run(_prepare(running))
            yield running


async def _prepare(servers: Servers) -> None:
    await schema.migrate(servers.endpoints.database_uri)
    await schema.declare(servers.endpoints.nats_url, {})


@dataclass
class Desk:
    """The ledger with its queue, and hands to lose what is in it."""

    backbone: Backbone
    streams: JetStreamContext

    @property
    def dispatch(self) -> Dispatch:
        backbone = self.backbone
        return Dispatch(
            backbone.pool, backbone.outbox, backbone.messages, Limits(tickets=TICKETS_MAX)
        )

    async def create(self) -> UUID:
        """A run on a thread of its own whose ticket is in the queue."""
        order = create_run()
        backbone = self.backbone
        admissions = Admissions(backbone.pool, backbone.outbox, backbone.messages, self.dispatch)
        await admissions.create(order)
        await self.is_queued(order.run_id, ticket=1)
        return order.run_id

    async def is_queued(self, run_id: UUID, *, ticket: int) -> None:
        """Returns when it is."""

        async def is_there() -> bool:
            return (run_id, ticket) in (await self.queued()).values()

        await eventually(is_there, within_s=PATIENCE_S)

    async def queued(self) -> dict[int, tuple[UUID, int]]:
        """The queue's sequences: whose ticket, and which one."""
        state = (await self.streams.stream_info(QUEUE)).state
        found: dict[int, tuple[UUID, int]] = {}
        if state.messages:
            for sequence in range(state.first_seq, state.last_seq + 1):
                try:
                    message = await self.streams.get_msg(QUEUE, sequence)
                except NotFoundError:
                    continue  # a hole
                body = orjson.loads(message.data or b"")
                found[sequence] = (UUID(body["run_id"]), body["ticket"])
        return found

    async def lose_ticket(self, run_id: UUID) -> None:
        """The broker has it no more; nobody took it."""
        for sequence, (owner, _) in (await self.queued()).items():
            if owner == run_id:
                await self.streams.delete_msg(QUEUE, sequence)

    async def age_ticket(self, run_id: UUID, *, by_s: float) -> None:
        """As if it had been issued that much earlier."""
        await self.backbone.pool.execute(
            "UPDATE runs SET ticketed_at = ticketed_at - $2::float8 * interval '1 second'"
            " WHERE run_id = $1",
            run_id,
            by_s,
        )


@pytest.fixture
async def desk(servers: Servers) -> AsyncIterator[Desk]:
    """An empty queue, and no run that waits for a ticket."""
    endpoints = servers.endpoints
    settings = Settings.from_env(
        {"DATABASE_URI": endpoints.database_uri, "NATS_URL": endpoints.nats_url}
    )
    backbone = Backbone(settings, name="test", connections_max=4)
    async with AsyncExitStack() as stack:
        for resource in backbone.resources:
            await stack.enter_async_context(resource)
        streams = backbone.bus.client.jetstream()
        await streams.purge_stream(QUEUE)
        await backbone.pool.execute(
            "TRUNCATE runs, threads, crons, assistant_versions, assistants, outbox"
        )
        yield Desk(backbone, streams)
