from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from bedplate.bus import topology
from bedplate.bus.broker import Bus
from bedplate.bus.event_line import Event, line_of
from bedplate.bus.event_log import EventLog
from bedplate.bus.thread_log import ThreadFollower
from bedplate.devstack.servers import Servers
from bedplate_proto.envelope import CONTINUES_HEADER
from bedplate_proto.subjects import RunAddress, ThreadAddress

PATIENCE_S = 30.0
LINE_CUT = 900_000


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """A private NATS with our streams."""
    with tempfile.TemporaryDirectory(prefix="bedplate-threads-") as folder:
        Path(folder).chmod(0o755)
        with Servers(Path(folder) / "data", env={"PATH": os.environ["PATH"]}) as running:
            asyncio.run(topology.declare(running.endpoints.nats_url))
            yield running


@dataclass
class Thread:
    """A thread whose runs' messages a test stores one by one, in whatever order it likes."""

    bus: Bus
    address: ThreadAddress
    runs: list[UUID] = field(default_factory=list)

    def run(self) -> UUID:
        self.runs.append(uuid4())
        return self.runs[-1]

    async def put(self, run_id: UUID, n: int, name: str = "e", data: bytes = b"{}") -> None:
        """One event, in as many messages as it needs."""
        line = line_of(n, 0 if n == 0 else 1, name, data)
        subject = RunAddress(self.address.tenant, self.address.thread_id, run_id).stored(
            self.bus.prefix
        )
        for at in range(0, len(line), LINE_CUT):
            headers = {CONTINUES_HEADER: "1"} if at else None
            body = line[at : at + LINE_CUT]
            await self.bus.client.request(subject, body, timeout=5, headers=headers)

    async def end(self, run_id: UUID, n: int) -> None:
        await self.put(run_id, n, "end", b'{"status":"success"}')


@dataclass
class Threads:
    """Two connections, so that readers and writers are strangers."""

    bus: Bus
    far_bus: Bus
    log: EventLog

    def new(self) -> Thread:
        return Thread(self.far_bus, ThreadAddress("default", uuid4()))

    async def stored(self, thread: Thread, **position: Any) -> list[Event]:
        follower = ThreadFollower(self.bus, thread.address, **position)
        return [event async for event in follower.stored()]


async def read(follower: ThreadFollower, count: int) -> list[Event]:
    """At least `count` events."""
    seen: list[Event] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(seen) < count:
            seen += await follower.more()
    return seen


@pytest.fixture(name="read")
def read_fixture() -> Any:
    return read


@pytest.fixture
async def threads(servers: Servers) -> AsyncIterator[Threads]:
    url = servers.endpoints.nats_url
    async with Bus(url, client_name="reader") as near, Bus(url, client_name="writer") as far:
        yield Threads(near, far, EventLog(near))
