from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from bedplate.bus import topology
from bedplate.bus.broker import Bus
from bedplate.bus.event_line import Event
from bedplate.bus.event_log import EventLog, Follower
from bedplate.bus.event_writer import EventWriter
from bedplate.devstack.servers import Servers
from bedplate_proto.subjects import RunAddress

PATIENCE_S = 30.0


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """A private NATS with our streams."""
    with tempfile.TemporaryDirectory(prefix="bedplate-events-") as folder:
        Path(folder).chmod(0o755)
        with Servers(Path(folder) / "data", env={"PATH": os.environ["PATH"]}) as running:
            asyncio.run(topology.declare(running.endpoints.nats_url))
            yield running


@dataclass
class Events:
    """A run's events on a real broker: two connections, so that reader and writer are strangers."""

    bus: Bus
    far_bus: Bus
    log: EventLog

    def address(self) -> RunAddress:
        return RunAddress("default", uuid4(), uuid4())

    def writer(
        self, address: RunAddress, *, attempt: int = 1, base_n: int = 0, is_ours: bool = True
    ) -> EventWriter:
        async def still_ours() -> bool:
            return is_ours

        return EventWriter(
            self.far_bus, address, attempt=attempt, base_n=base_n, still_ours=still_ours
        )

    @asynccontextmanager
    async def writing(
        self,
        address: RunAddress,
        *,
        attempt: int = 1,
        base_n: int = 0,
        first: tuple[str, bytes] | None = None,
    ) -> AsyncGenerator[EventWriter]:
        """A writer that is pumped, and opened if there is a first event; drained at the end."""
        writer = self.writer(address, attempt=attempt, base_n=base_n)
        async with asyncio.TaskGroup() as group:
            pumping = group.create_task(writer.pump())
            if first is not None:
                await writer.open(continues=attempt > 1, first=first)
            yield writer
            async with asyncio.timeout(PATIENCE_S):
                await writer.drain()
            pumping.cancel()

    async def write(self, address: RunAddress, *events: tuple[str, bytes], **kind: Any) -> None:
        first, *others = events
        async with self.writing(address, first=first, **kind) as writer:
            for name, data in others:
                writer.put(name, data)

    async def read(self, address: RunAddress, **position: Any) -> list[Event]:
        """Everything up to the end."""
        async with self.log.follow(address, **position) as follower:
            return await all_of(follower)

    async def stored(self, address: RunAddress) -> list[Event]:
        """What the stream holds now."""
        return [event async for event in Follower(self.bus, address).stored()]

    async def put_raw(
        self, address: RunAddress, body: bytes, headers: dict[str, str] | None = None
    ) -> None:
        """What another writer, or one of before, has stored."""
        await self.far_bus.client.request(
            address.stored(self.far_bus.prefix), body, timeout=5, headers=headers
        )


async def all_of(follower: Follower) -> list[Event]:
    async with asyncio.timeout(PATIENCE_S):
        return [event async for event in follower.events()]


@pytest.fixture(name="all_of")
def all_of_fixture() -> Callable[..., Any]:
    return all_of


@pytest.fixture
async def events(servers: Servers) -> AsyncIterator[Events]:
    url = servers.endpoints.nats_url
    async with Bus(url, client_name="reader") as near, Bus(url, client_name="writer") as far:
        yield Events(near, far, EventLog(near))
