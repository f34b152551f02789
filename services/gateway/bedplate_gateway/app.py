"""The gateway's parts, put together."""

from __future__ import annotations

import os

from bedplate.backbone import Backbone
from bedplate.bus.event_log import EventLog
from bedplate.chassis.loop import Loop
from bedplate.chassis.metrics import Metrics
from bedplate.chassis.process import Service
from bedplate.chassis.tasks import Tasks
from bedplate.foreign import without_effect
from bedplate.graphs.persistence import given_persistence

from .acting import ActingRuns
from .assistants import Assistants
from .crons import Crons
from .following import Followings
from .front import Front, guard_of
from .graphs import Graphs
from .http.assistants import AssistantPaths
from .http.crons import CronPaths
from .http.items import ItemPaths
from .http.protocol import ProtocolPaths
from .http.runs import RunPaths
from .http.server import HttpServer
from .http.thread_stream import ThreadStreamPaths
from .http.threads import ThreadPaths
from .http.webhooks import WebhookPaths
from .items import Items
from .priorities import Priorities, has_handler
from .protocol.commands import Commands
from .protocol.run_facts import KnownRuns
from .protocol.thread_events import ThreadEvents
from .routes import routes
from .rows import Rows
from .runs import Runs
from .settings import Settings
from .state import States
from .stream import Streams
from .system import System
from .thread_stream import ThreadStreams
from .threads import Threads
from .webhooks import Acceptance, Webhooks


async def build() -> Service:
    settings = Settings.from_env()
    given = given_persistence(settings.config, os.environ)
    user_key, tenant = settings.user_key, settings.tenant
    metrics = Metrics()
    backbone = Backbone(settings, name="gateway", connections_max=settings.connections_max)
    front = Front(settings)
    bus, rows = backbone.bus, Rows(backbone.pool, sealing=front.sealing)
    assistants = Assistants(rows, bus, tenant=tenant)
    followings = Followings(EventLog(bus), rows, heartbeat_s=settings.heartbeat_s)
    abandoned = Tasks("abandoned-runs")
    metrics.gauge("runs.followed", "Clients that follow.", read=lambda: followings.count)
    hooks = Acceptance.given(settings.config, os.environ)
    ranks = Priorities(rows, bus, is_configured=has_handler(settings.config, os.environ))
    runs = Runs(rows, bus, assistants, ranks, tenant=tenant, user_key=user_key, webhooks=hooks)
    states = States(rows, bus, tenant=tenant)
    acting = ActingRuns(rows, backbone.pool, tenant=tenant)
    keeps_own, ttl = given.checkpointer.path is not None, given.checkpointer.ttl.of_new()
    kept = backbone.threads
    threads = Threads(kept, rows, bus, states, tenant=tenant, ttl=ttl, keeps_own=keeps_own)
    known = KnownRuns(rows, tenant=tenant)
    events = ThreadEvents(followings, known, rows, tenant=tenant)
    thread_streams = ThreadStreams(followings, events, known, states)
    items = Items(backbone.pool, bus, given.store, tenant=tenant, sealing=front.sealing)
    commands = Commands(runs, followings, events, rows, tenant=tenant)
    limit, has_v2 = settings.subscriptions_max, settings.event_streaming_enabled
    protocol = ProtocolPaths(commands, events, abandoned, subscriptions_max=limit, is_served=has_v2)
    paths = [
        *ThreadPaths(threads, states).table(),
        *RunPaths(runs, Streams(runs, followings), abandoned, acting=acting).table(),
        *AssistantPaths(assistants, Graphs(assistants, bus, tenant=tenant)).table(),
        *ThreadStreamPaths(thread_streams, abandoned).table(),
        *protocol.table(),
        *ItemPaths(items).table(),
        *WebhookPaths(Webhooks(rows, bus, tenant=tenant)).table(),
    ]
    if settings.crons_enabled:
        paths += CronPaths(Crons(rows, bus, assistants, runs, tenant=tenant)).table()
    about = System(rows, bus, tenant=tenant, flags=front.flags())
    guard = guard_of(settings, front, rows, assistants, acting)
    around = front.surroundings(metrics, guard, acting)
    app = front.site(paths, protocol.sockets(), about=about, metrics=metrics, around=around)
    server = HttpServer(app, settings)
    served = backbone.served("gateway", routes(assistants, followings))

    async def drain() -> None:
        followings.close()
        await server.drain()

    return Service(
        name="gateway",
        settings=settings,
        notices=without_effect(os.environ),
        resources=[server, *backbone.resources, *front.resources, abandoned, served],
        loops=_loops(followings, settings),
        works=[server.serve],
        ready={**backbone.ready, "http": server.ready},
        on_drain=drain,
        metrics=metrics,
    )


def _loops(followings: Followings, settings: Settings) -> list[Loop]:
    return [
        Loop("watch", followings.watch, period_s=settings.watch_s),
        Loop("beat", followings.beat, period_s=settings.heartbeat_s / 10),
    ]
