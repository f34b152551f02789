"""The gateway's parts, put together."""

from __future__ import annotations

from bedplate.bus.broker import Bus
from bedplate.bus.event_log import EventLog
from bedplate.bus.serving import Served
from bedplate.chassis.loop import Loop
from bedplate.chassis.metrics import Metrics
from bedplate.chassis.process import Service
from bedplate.chassis.reach import Reaching
from bedplate.chassis.tasks import Tasks
from bedplate.graphs.store import PostgresStore
from bedplate.kernel.errors import Unavailable
from bedplate.ledger import NOT_THERE_YET, Parcels, make_pool

from .assistants import Assistants
from .following import Followings
from .graphs import Graphs
from .http.assistants import AssistantPaths
from .http.items import ItemPaths
from .http.middleware import Answered
from .http.paths import Path
from .http.runs import RunPaths
from .http.server import HttpServer
from .http.site import site
from .http.system import SystemPaths
from .http.threads import ThreadPaths
from .items import Items
from .routes import routes
from .rows import Rows
from .runs import Runs
from .settings import Settings
from .state import States
from .stream import Streams
from .system import System
from .threads import Threads

# Compose and Kubernetes start everything at once; the servers may take a while.
_START_S = 60.0


async def build() -> Service:
    settings = Settings.from_env()
    metrics = Metrics()
    pool = make_pool(
        settings.database_uri, size_max=settings.connections_max, application="bedplate-gateway"
    )
    rows = Rows(pool)
    bus = Bus(
        settings.nats_url,
        client_name="gateway",
        prefix=settings.subject_prefix,
        carrier=Parcels(pool),
    )
    assistants = Assistants(rows, bus, tenant=settings.tenant)
    followings = Followings(EventLog(bus), rows, heartbeat_s=settings.heartbeat_s)
    abandoned = Tasks("abandoned-runs")
    answered = Answered(metrics)
    metrics.gauge("runs.followed", "Clients that follow a run.", read=lambda: followings.count)
    runs = Runs(rows, bus, assistants, tenant=settings.tenant)
    streams = Streams(runs, followings)
    paths = [
        *RunPaths(runs, streams, abandoned).table(),
        *_of_threads(rows, bus, assistants, tenant=settings.tenant),
        *ItemPaths(Items(PostgresStore(pool))).table(),
    ]
    system = SystemPaths(System(rows, bus, tenant=settings.tenant), metrics, answered, paths)
    app = site(
        [*system.table(), *paths],
        answered,
        cors_origins=settings.cors_origins,
        body_bytes_max=settings.body_bytes_max,
    )
    server = HttpServer(
        app, host=settings.host, port=settings.port, clients_max=settings.clients_max
    )
    served = Served(bus, settings.nats_url, service="gateway", routes=routes(assistants))

    async def drain() -> None:
        followings.close()
        await server.drain()

    return Service(
        name="gateway",
        settings=settings,
        resources=[
            server,
            Reaching("PostgreSQL", lambda: pool, limit_s=_START_S, on=NOT_THERE_YET),
            Reaching("NATS", lambda: bus, limit_s=_START_S, on=(Unavailable,)),
            abandoned,
            served,
        ],
        loops=[
            Loop("watch", followings.watch, period_s=settings.watch_s),
            Loop("beat", followings.beat, period_s=settings.heartbeat_s / 10),
        ],
        works=[server.serve],
        ready={"postgres": rows.ready, "nats": bus.ready, "http": server.ready},
        on_drain=drain,
        metrics=metrics,
    )


def _of_threads(rows: Rows, bus: Bus, assistants: Assistants, *, tenant: str) -> list[Path]:
    states = States(rows, bus, tenant=tenant)
    threads = Threads(rows, bus, states, tenant=tenant)
    graphs = Graphs(assistants, bus, tenant=tenant)
    return [*ThreadPaths(threads, states).table(), *AssistantPaths(assistants, graphs).table()]
