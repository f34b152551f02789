"""The run-scheduler's parts, put together."""

from __future__ import annotations

from bedplate.bus.broker import Bus
from bedplate.bus.serving import Served
from bedplate.chassis.loop import Loop
from bedplate.chassis.process import Service
from bedplate.chassis.reach import Reaching
from bedplate.chassis.tasks import Tasks
from bedplate.graphs import checkpoint_tables
from bedplate.kernel.errors import Unavailable
from bedplate.ledger import (
    NOT_THERE_YET,
    Ledger,
    Outbox,
    Outgoing,
    Parcels,
    Threads,
    make_pool,
)

from .reaper import Reaper
from .relay import Relay
from .routes import routes
from .scheduler import Scheduler
from .settings import Settings

# Compose and Kubernetes start everything at once; the servers may take a while.
_START_S = 60.0


def build() -> Service:
    settings = Settings.from_env()
    pool = make_pool(
        settings.database_uri,
        size_max=settings.connections_max,
        application="bedplate-run-scheduler",
    )
    parcels = Parcels(pool)
    bus = Bus(
        settings.nats_url,
        client_name="run-scheduler",
        prefix=settings.subject_prefix,
        carrier=parcels,
    )
    flushes = Tasks("outbox")

    async def publish(message: Outgoing) -> None:
        await bus.publish(message.subject, message.body.encode(), msg_id=message.msg_id)

    outbox = Outbox(pool, publish, spawn=lambda work: flushes.start(work, "flush"))
    ledger = Ledger(pool, outbox, prefix=settings.subject_prefix)
    threads = Threads(
        pool, forget=checkpoint_tables.forget_threads, copy=checkpoint_tables.copy_thread
    )
    scheduler = Scheduler(ledger, threads, bus)
    reaper = Reaper(ledger, bus, attempts_max=settings.attempts_max)
    relay = Relay(
        ledger,
        threads,
        outbox,
        parcels,
        bus,
        lost_ticket_s=settings.lost_ticket_s,
        doomed_s=settings.doomed_s,
    )
    served = Served(bus, settings.nats_url, service="run-scheduler", routes=routes(scheduler))
    expiry = Loop("expiry", reaper.expire, period_s=settings.expiry_s)

    async def database_ready() -> str | None:
        await pool.execute("SELECT 1")
        return None

    return Service(
        name="run-scheduler",
        settings=settings,
        resources=[
            Reaching("PostgreSQL", lambda: pool, limit_s=_START_S, on=NOT_THERE_YET),
            Reaching("NATS", lambda: bus, limit_s=_START_S, on=(Unavailable,)),
            flushes,
            served,
        ],
        loops=[
            expiry,
            Loop("relay", relay.flush, period_s=settings.relay_s),
            Loop("dispatch", relay.dispatch, period_s=settings.relay_s),
            Loop("reissue", relay.reissue, period_s=max(2.0, settings.lost_ticket_s / 2)),
            Loop("sweep", relay.sweep, period_s=settings.sweep_s),
        ],
        ready={
            "postgres": database_ready,
            "nats": bus.ready,
            "streams": relay.ready,
            "expiry": expiry.ready,
        },
    )
