"""PostgreSQL, NATS and what stands on both: the same parts in every service, put together once.

A `Backbone` is made from settings without connecting; its `resources` are entered by the service in
their order, and wait for servers that are not there yet.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

from pydantic import Field

from bedplate.bus.broker import Bus
from bedplate.bus.event_writer import close_events, closing_of_failed_run
from bedplate.bus.serving import Route, Served
from bedplate.chassis.reach import Reaching
from bedplate.chassis.settings import Settings
from bedplate.chassis.tasks import Tasks
from bedplate.graphs import checkpoint_tables as hands
from bedplate.kernel.errors import Unavailable
from bedplate.ledger import (
    NOT_THERE_YET,
    Ledger,
    Lost,
    Messages,
    Outbox,
    Outgoing,
    Parcels,
    Threads,
    make_pool,
)
from bedplate.ledger.runs import EXHAUSTED_ERROR
from bedplate_proto import subjects
from bedplate_proto.runs import ThreadFreed
from bedplate_proto.streams import RUN_EVENTS
from bedplate_proto.subjects import RunAddress

# Compose and Kubernetes start everything at once; the servers may take a while.
_START_S = 60.0
# Best effort: a reader that misses them finds the end in the run's row.
_CLOSE_S_MAX = 2.0


class BackboneSettings(Settings):
    """Settings of a service that talks to PostgreSQL and NATS."""

    database_uri: str = Field(
        "postgresql://postgres@127.0.0.1:5432/postgres",
        description="PostgreSQL, 15 or newer.",
        json_schema_extra={
            "env": ["DATABASE_URI", "POSTGRES_URI", "POSTGRES_URI_CUSTOM"],
            "secret": True,
            "default_text": "this machine, port 5432",
        },
    )
    nats_url: str = Field(
        "nats://127.0.0.1:4222",
        description="NATS with JetStream, 2.12 or newer; several servers separated by commas.",
        json_schema_extra={
            "env": ["NATS_URL"],
            "secret": True,
            "default_text": "this machine, port 4222",
        },
    )
    subject_prefix: str = Field(
        "bedplate",
        pattern=r"^[a-z][a-z0-9_-]{0,31}$",
        description="First token of every subject.",
        json_schema_extra={"env": ["BEDPLATE_SUBJECT_PREFIX"]},
    )


class StreamSettings(Settings):
    """Settings of whoever declares the streams: `bedplate migrate`, and the run-scheduler after the
    broker has lost them. Give both the same, by the names without a service."""

    service: ClassVar[str] = "streams"

    events_s: float = Field(
        RUN_EVENTS.age_s_max,
        ge=60,
        le=30 * 86_400,
        description="Seconds the events of a run are kept for readers that come late or back.",
        json_schema_extra={"env": ["BEDPLATE_EVENTS_S", "RESUMABLE_STREAM_TTL_SECONDS"]},
    )
    stream_replicas: int = Field(
        1,
        ge=1,
        le=5,
        description="NATS servers that keep each stream; 3 in a cluster of three.",
        json_schema_extra={"env": ["BEDPLATE_STREAM_REPLICAS"]},
    )


class Backbone:
    """`ledger` and `threads` write the truth, `bus` moves messages, `outbox` ties both together."""

    def __init__(
        self,
        settings: BackboneSettings,
        *,
        name: str,
        connections_max: int,
        keeps_own: bool = False,
    ) -> None:
        """`keeps_own`: the project has a checkpointer of its own, which is not in PostgreSQL."""
        self.pool: Any = make_pool(
            settings.database_uri, size_max=connections_max, application=f"bedplate-{name}"
        )
        self._nats_url = settings.nats_url
        self.parcels = Parcels(self.pool)
        self.bus = Bus(
            settings.nats_url,
            client_name=name,
            prefix=settings.subject_prefix,
            carrier=self.parcels,
        )
        self.tasks = Tasks(name, drain_s=2.0)
        self.outbox = Outbox(
            self.pool, self._publish, spawn=lambda work: self.tasks.start(work, "flush")
        )
        self.messages = Messages(settings.subject_prefix)
        self.ledger = Ledger(self.pool, self.outbox, self.messages)
        self.threads = Threads(
            self.pool,
            forget=hands.leave_to_forget if keeps_own else hands.forget_threads,
            copy=hands.leave_uncopied if keeps_own else hands.copy_thread,
            prune=hands.leave_to_prune if keeps_own else hands.keep_latest,
        )

    @property
    def resources(self) -> list[AbstractAsyncContextManager[Any]]:
        """In the order they are entered. Connections first: the tasks' last flushes need them."""
        return [
            Reaching("PostgreSQL", lambda: self.pool, limit_s=_START_S, on=NOT_THERE_YET),
            Reaching("NATS", lambda: self.bus, limit_s=_START_S, on=(Unavailable,)),
            self.tasks,
        ]

    def served(self, service: str, routes: Sequence[Route]) -> Served:
        """The service's routes on the bus. A database that is away is no failure of an order."""
        return Served(
            self.bus, self._nats_url, service=service, routes=routes, transient=NOT_THERE_YET
        )

    @property
    def ready(self) -> dict[str, Callable[[], Awaitable[str | None]]]:
        """Readiness checks of the two servers."""
        return {"postgres": self._database_ready, "nats": self.bus.ready}

    async def _database_ready(self) -> str | None:
        await self.pool.execute("SELECT 1")
        return None

    async def _publish(self, message: Outgoing) -> None:
        await self.bus.publish(message.subject, message.body.encode(), msg_id=message.msg_id)


async def end_lost_run(bus: Bus, run: Lost) -> None:
    """Write the last events of a run whose attempts all died, for whoever reads along; it is its
    thread's next run's turn."""
    await bus.hint(subjects.THREAD_FREED, ThreadFreed(thread_id=run.thread_id))
    await close_events(
        bus,
        RunAddress(run.tenant, run.thread_id, run.run_id),
        attempt=run.attempt,
        base_n=run.events_n,
        closing=closing_of_failed_run(
            EXHAUSTED_ERROR.encode(), graph=run.graph_id, finished_at=run.finished_at
        ),
        limit_s=_CLOSE_S_MAX,
    )
