"""The executor's parts, put together: the keeper. Its workers put themselves together in
`worker`."""

from __future__ import annotations

from bedplate.bus.broker import Bus
from bedplate.bus.serving import Served
from bedplate.chassis.loop import Loop
from bedplate.chassis.metrics import Metrics
from bedplate.chassis.process import Service
from bedplate.chassis.reach import Reaching
from bedplate.chassis.tasks import Tasks
from bedplate.kernel.errors import Unavailable
from bedplate.ledger import NOT_THERE_YET, Ledger, Outbox, Outgoing, Parcels, make_pool

from .keeper import Keeper
from .reload import watch_project
from .routes import routes
from .settings import Settings

# Compose and Kubernetes start everything at once; the servers may take a while.
_START_S = 60.0


def build() -> Service:
    settings = Settings.from_env()
    pool = make_pool(settings.database_uri, size_max=4, application="bedplate-executor")
    bus = Bus(
        settings.nats_url,
        client_name="executor",
        prefix=settings.subject_prefix,
        carrier=Parcels(pool),
    )
    tasks = Tasks("keeper", drain_s=2.0)

    async def publish(message: Outgoing) -> None:
        await bus.publish(message.subject, message.body.encode(), msg_id=message.msg_id)

    outbox = Outbox(pool, publish, spawn=lambda work: tasks.start(work, "flush"))
    ledger = Ledger(pool, outbox, prefix=settings.subject_prefix)
    keeper = Keeper(settings, ledger, bus, tasks)
    served = Served(bus, settings.nats_url, service="executor", routes=routes(keeper))

    async def watch_files() -> None:
        await watch_project(settings.config.resolve().parent, keeper.crew.reload)

    register = Loop("register", keeper.register, period_s=60.0, retry_s_max=1.0)
    keeper.graphs_changed = register.poke
    metrics = Metrics()
    metrics.gauge(
        "runs.held", "Runs this executor holds a lease for.", read=lambda: len(keeper.crew.held())
    )
    metrics.gauge("slots.free", "Runs that may still be claimed.", read=keeper.crew.free_slots)
    metrics.gauge(
        "workers.open", "Workers that take runs.", read=lambda: len(keeper.crew.open_workers)
    )

    async def database_ready() -> str | None:
        await pool.execute("SELECT 1")
        return None

    return Service(
        name="executor",
        settings=settings,
        resources=[
            Reaching("PostgreSQL", lambda: pool, limit_s=_START_S, on=NOT_THERE_YET),
            Reaching("NATS", lambda: bus, limit_s=_START_S, on=(Unavailable,)),
            tasks,
            keeper,
            served,
        ],
        loops=[
            Loop(
                "leases",
                keeper.renew,
                period_s=settings.renew_s,
                limit_s=settings.lease_s,
                retry_s_max=1.0,
            ),
            Loop("watch", keeper.watch, period_s=0.5),
            register,
        ],
        works=[keeper.tickets.run, keeper.take_runs, *([watch_files] if settings.reload else [])],
        ready={"postgres": database_ready, "nats": bus.ready, "workers": keeper.ready},
        on_drain=keeper.drain,
        metrics=metrics,
    )
