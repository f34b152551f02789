"""A private PostgreSQL, a migrated database for each test, and what savers are made of."""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from bedplate.devstack.servers import Servers
from bedplate.graphs.committer import Committer
from bedplate.graphs.fence import AttemptFence, Fence
from bedplate.graphs.saver import PostgresSaver
from bedplate.sql import migrate, migrations_of

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server_uri() -> Iterator[str]:
    """A PostgreSQL with the database `template_of_tests`, migrated."""
    with tempfile.TemporaryDirectory(prefix="bedplate-graphs-") as folder:
        Path(folder).chmod(0o755)
        with Servers(Path(folder) / "data", env={"PATH": os.environ["PATH"]}) as servers:
            uri = servers.endpoints.database_uri
            asyncio.run(_make_template(uri))
            yield uri


def _named(uri: str, database: str) -> str:
    return uri.rsplit("/", 1)[0] + "/" + database


async def _make_template(uri: str) -> None:
    connection = await asyncpg.connect(uri, timeout=10)
    await connection.execute("CREATE DATABASE template_of_tests")
    await connection.close()
    connection = await asyncpg.connect(_named(uri, "template_of_tests"), timeout=10)
    await migrate(
        connection,
        [
            *migrations_of("ledger", "bedplate.ledger"),
            *migrations_of("graphs", "bedplate.graphs"),
        ],
    )
    await connection.close()


@pytest.fixture
async def uri(server_uri: str) -> str:
    name = f"test_{next(_numbers)}"
    connection = await asyncpg.connect(server_uri, timeout=10)
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE template_of_tests")
    await connection.close()
    return _named(server_uri, name)


@dataclass
class Tables:
    """The database of one test, and the ledger's rows that fences look at."""

    uri: str
    pool: Any
    committer: Committer
    saver: PostgresSaver

    async def thread(self, thread_id: UUID | None = None) -> UUID:
        thread_id = thread_id or uuid4()
        await self.pool.execute(
            "INSERT INTO threads (thread_id, tenant) VALUES ($1, 'default') ON CONFLICT DO NOTHING",
            thread_id,
        )
        return thread_id

    async def run(
        self, thread_id: UUID | None = None, *, status: str = "running", attempt: int = 1
    ) -> AttemptFence:
        """A run as the ledger would leave it; a running one before it on the thread is over."""
        thread_id = await self.thread(thread_id)
        fence = AttemptFence(uuid4(), attempt)
        if status == "running":
            await self.pool.execute(
                "UPDATE runs SET status = 'success' WHERE thread_id = $1 AND status = 'running'",
                thread_id,
            )
        await self.pool.execute(
            "INSERT INTO runs (run_id, thread_id, tenant, assistant_id, graph_id, status,"
            " multitask_strategy, kwargs, attempt)"
            " VALUES ($1, $2, 'default', $3, 'agent', $4, 'enqueue', '{}', $5)",
            fence.run_id,
            thread_id,
            uuid4(),
            status,
            attempt,
        )
        return fence

    async def supersede(self, fence: AttemptFence, *, connection: Any = None) -> AttemptFence:
        """Another attempt takes the run, as the ledger does it."""
        on = connection or self.pool
        await on.execute("SELECT 1 FROM runs WHERE run_id = $1 FOR UPDATE", fence.run_id)
        await on.execute(
            "UPDATE runs SET attempt = attempt + 1 WHERE run_id = $1 AND status = 'running'",
            fence.run_id,
        )
        return AttemptFence(fence.run_id, fence.attempt + 1)

    def fenced(self, fence: Fence | None) -> PostgresSaver:
        return self.saver.with_fence(fence)

    async def count(self, table: str, thread_id: str | UUID) -> int:
        return await self.pool.fetchval(
            f"SELECT count(*) FROM {table} WHERE thread_id = $1", str(thread_id)
        )


@pytest.fixture
async def tables(uri: str) -> AsyncIterator[Tables]:
    async with asyncpg.create_pool(
        uri, min_size=1, max_size=8, command_timeout=10, timeout=10
    ) as pool:
        committer = Committer(pool)
        yield Tables(uri, pool, committer, PostgresSaver(pool, committer))
        await committer.aclose()
