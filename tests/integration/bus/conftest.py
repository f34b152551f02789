from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bedplate.bus import topology
from bedplate.bus.broker import Bus
from bedplate.bus.serving import Route, Served
from bedplate.devstack.servers import Servers
from bedplate.ledger import Parcels, make_pool
from bedplate.sql import migrate, migrations_of


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """A private NATS with our streams, and a PostgreSQL for parcels."""
    with tempfile.TemporaryDirectory(prefix="bedplate-bus-") as folder:
        Path(folder).chmod(0o755)
        with Servers(Path(folder) / "data", env={"PATH": os.environ["PATH"]}) as running:
            asyncio.run(_prepare(running))
            yield running


async def _prepare(servers: Servers) -> None:
    await topology.declare(servers.endpoints.nats_url)
    connection = await asyncpg.connect(servers.endpoints.database_uri, timeout=10)
    try:
        await migrate(connection, migrations_of("ledger", "bedplate.ledger"))
    finally:
        await connection.close()


@pytest.fixture
async def parcels(servers: Servers) -> AsyncIterator[Parcels]:
    async with make_pool(servers.endpoints.database_uri, size_max=3, application="test") as pool:
        yield Parcels(pool)


@pytest.fixture
async def bus(servers: Servers, parcels: Parcels) -> AsyncIterator[Bus]:
    async with Bus(servers.endpoints.nats_url, client_name="asker", carrier=parcels) as opened:
        yield opened


Serve = Callable[..., Any]


@pytest.fixture
async def serve(servers: Servers, parcels: Parcels) -> AsyncIterator[Serve]:
    """`await serve(Order(…), …)`: a service with these routes, on a connection of its own."""
    async with AsyncExitStack() as stack:

        async def one(*routes: Route, service: str = "probe", **options: Any) -> Served:
            url = servers.endpoints.nats_url
            bus = await stack.enter_async_context(Bus(url, client_name=service, carrier=parcels))
            served = Served(bus, url, service=service, routes=routes, **options)
            return await stack.enter_async_context(served)

        yield one
