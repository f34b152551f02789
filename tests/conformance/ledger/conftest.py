from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from bedplate.chassis.tasks import Tasks
from bedplate.devstack import schema
from bedplate.devstack.servers import Servers
from bedplate.kernel.errors import Unavailable
from bedplate.kernel.fairness import Limits
from bedplate.kernel.run import Ending, Run
from bedplate.ledger import (
    Admissions,
    Dispatch,
    Finish,
    Ledger,
    Messages,
    Outbox,
    Outcome,
    Outgoing,
    Parcels,
    Threads,
    make_pool,
)
from bedplate.testing.eventually import eventually
from bedplate.testing.orders import ASSISTANT, TENANT, create_run
from bedplate_proto.runs import CreateRun
from bedplate_proto.subjects import DEFAULT_PREFIX
from bedplate_proto.vocabulary import RunStatus, ThreadStatus


@pytest.fixture(scope="session")
def database_uri() -> Iterator[str]:
    """A migrated database on a private PostgreSQL."""
    with tempfile.TemporaryDirectory(prefix="bedplate-ledger-") as folder:
        Path(folder).chmod(0o755)
        with Servers(Path(folder) / "data", env={"PATH": os.environ["PATH"]}) as servers:
            uri = servers.endpoints.database_uri
            # All of it: a claim tells whether a thread has a checkpoint.
            asyncio.run(schema.migrate(uri))
            yield uri


@dataclass
class Broker:
    """The `publish` port: keeps what it was given, or is down."""

    stored: list[Outgoing] = field(default_factory=list[Outgoing])
    is_up: bool = True

    async def publish(self, row: Outgoing) -> None:
        await asyncio.sleep(0)
        if not self.is_up:
            raise Unavailable("the broker is down")
        self.stored.append(row)


@dataclass
class Books:
    """The ledger's parts over one pool, and what a test wants to know about their tables."""

    pool: Any
    broker: Broker
    outbox: Outbox
    ledger: Ledger
    admissions: Admissions
    dispatch: Dispatch
    threads: Threads
    parcels: Parcels
    tasks: Tasks

    def order(self, thread_id: UUID | None = None, **changed: Any) -> CreateRun:
        return create_run(thread_id, **changed)

    async def create(self, thread_id: UUID | None = None, **changed: Any) -> CreateRun:
        order = self.order(thread_id, **changed)
        await self.admissions.create(order)
        return order

    async def claim(self, order: CreateRun, *, lease_s: float = 60.0) -> int:
        """The attempt that now runs."""
        (claimed,) = await self.ledger.claim([order.run_id], by="executor-1", lease_s=lease_s)
        return claimed.attempt

    async def running(self, **changed: Any) -> tuple[CreateRun, int]:
        """A run that executes, and nothing in the outbox."""
        order = await self.create(**changed)
        attempt = await self.claim(order)
        await self.flushed()
        self.broker.stored.clear()
        return order, attempt

    def about(self, order: CreateRun, attempt: int) -> Finish:
        return Finish(
            order.run_id, order.thread_id, order.tenant, ASSISTANT, order.graph_id, attempt, None
        )

    async def place(self, run: Run, *, others: int = 0) -> CreateRun:
        """A run in any state, current on a thread where `others` wait behind it."""
        order = self.order()
        active = others + (not run.status.is_terminal)
        await self.pool.execute(
            "INSERT INTO threads (thread_id, tenant, status, runs_active, current_run)"
            " VALUES ($1, $2, $3, $4, $5)",
            order.thread_id,
            TENANT,
            "busy" if active else "idle",
            active,
            None if run.status.is_terminal else order.run_id,
        )
        rows = [(order.run_id, run)] + [(uuid4(), Run()) for _ in range(others)]
        for run_id, each in rows:
            await self.pool.execute(
                "INSERT INTO runs (run_id, thread_id, tenant, assistant_id, graph_id, status,"
                " kwargs, multitask_strategy, attempt, failures, cancel_action, ticket)"
                " VALUES ($1, $2, $3, $4, 'agent', $5, '{}', 'enqueue', $6, $7, $8, $6)",
                run_id,
                order.thread_id,
                TENANT,
                ASSISTANT,
                each.status,
                each.attempt,
                each.failures,
                each.cancel,
            )
        return order

    async def run(self, run_id: UUID) -> dict[str, Any] | None:
        return _plain(await self.pool.fetchrow("SELECT * FROM runs WHERE run_id = $1", run_id))

    async def state(self, run_id: UUID) -> Run | None:
        row = await self.run(run_id)
        if row is None:
            return None
        return Run(RunStatus(row["status"]), row["attempt"], row["failures"], row["cancel_action"])

    async def thread(self, thread_id: UUID) -> dict[str, Any] | None:
        return _plain(
            await self.pool.fetchrow("SELECT * FROM threads WHERE thread_id = $1", thread_id)
        )

    async def waiting_messages(self) -> list[Outgoing]:
        """What stands in the outbox, oldest first."""
        rows = await self.pool.fetch(
            "SELECT outbox_id, msg_id, subject, body FROM outbox ORDER BY outbox_id"
        )
        return [Outgoing(**dict(row)) for row in rows]

    async def taken_messages(self) -> list[Outgoing]:
        """The same, and then it is empty."""
        rows = await self.pool.fetch(
            "WITH gone AS (DELETE FROM outbox RETURNING *)"
            " SELECT outbox_id, msg_id, subject, body FROM gone ORDER BY outbox_id"
        )
        return [Outgoing(**dict(row)) for row in rows]

    async def flushed(self) -> None:
        """Returns when nobody flushes any more."""
        await eventually(lambda: self.tasks.count, equals=0, within_s=20)

    async def assert_consistent(self, thread_id: UUID) -> None:
        """What a thread's row says about its runs is what the runs' rows say."""
        row = await self.pool.fetchrow(
            "SELECT threads.runs_active, threads.current_run, threads.status,"
            " (SELECT count(*) FROM runs WHERE runs.thread_id = threads.thread_id"
            "   AND runs.status IN ('pending', 'running')) AS active,"
            " (SELECT count(*) FROM runs WHERE runs.thread_id = threads.thread_id"
            "   AND runs.run_id = threads.current_run"
            "   AND runs.status IN ('pending', 'running')) AS current,"
            " (SELECT count(*) FROM runs WHERE runs.thread_id = threads.thread_id"
            "   AND runs.status = 'running' AND runs.run_id IS DISTINCT FROM threads.current_run"
            " ) AS strangers"
            " FROM threads WHERE thread_id = $1",
            thread_id,
        )
        assert row["runs_active"] == row["active"], dict(row)
        assert row["current"] == (0 if row["current_run"] is None else 1), dict(row)
        assert row["strangers"] == 0, dict(row)
        assert (row["status"] == "busy") == (row["active"] > 0), dict(row)


def _plain(row: Any) -> dict[str, Any] | None:
    return None if row is None else dict(row)


def outcome(ending: Ending = Ending.SUCCESS, **changed: Any) -> Outcome:
    known: dict[str, Any] = {
        "ending": ending,
        "values": '{"n": 1}',
        "interrupts": "{}",
        "error": None,
        "thread_status": ThreadStatus.IDLE,
        "events_n": 0,
    }
    return Outcome(**(known | changed))


@pytest.fixture(name="outcome")
def outcome_fixture() -> Callable[..., Outcome]:
    return outcome


@pytest.fixture
async def books(database_uri: str) -> AsyncIterator[Books]:
    """The ledger on empty tables."""
    async with (
        make_pool(database_uri, size_max=12, application="test") as pool,
        Tasks("t") as tasks,
    ):
        await pool.execute("TRUNCATE threads, runs, crons, outbox, parcels")

        def spawn(work: Coroutine[Any, Any, None]) -> object:
            return tasks.start(work, "outbox")

        async def nothing_to_forget(connection: Any, thread_ids: Any) -> None:
            del connection, thread_ids

        async def nothing_to_copy(connection: Any, source: UUID, copy: UUID) -> None:
            del connection, source, copy

        async def nothing_to_prune(connection: Any, thread_id: UUID) -> None:
            del connection, thread_id

        broker = Broker()
        outbox = Outbox(pool, broker.publish, spawn=spawn)
        messages = Messages(DEFAULT_PREFIX)
        dispatch = Dispatch(pool, outbox, messages, Limits(tickets=1000))
        yield Books(
            pool=pool,
            broker=broker,
            outbox=outbox,
            ledger=Ledger(pool, outbox, messages),
            admissions=Admissions(pool, outbox, messages, dispatch),
            dispatch=dispatch,
            threads=Threads(
                pool,
                forget=nothing_to_forget,
                copy=nothing_to_copy,
                prune=nothing_to_prune,
            ),
            parcels=Parcels(pool),
            tasks=tasks,
        )


def body_of(message: Outgoing) -> dict[str, Any]:
    return json.loads(message.body)
