"""The executor's parts, put together: the keeper. Its workers put themselves together in
`worker`."""

from __future__ import annotations

import os

from bedplate.backbone import Backbone
from bedplate.chassis.loop import Loop
from bedplate.chassis.metrics import Metrics
from bedplate.chassis.process import Service
from bedplate.foreign import without_effect
from bedplate.graphs.config import notices_of

from .keeper import Keeper
from .reload import watch_project
from .routes import routes
from .settings import Settings


def build() -> Service:
    settings = Settings.from_env()
    backbone = Backbone(settings, name="executor", connections_max=4)
    keeper = Keeper(settings, backbone.ledger, backbone.bus, backbone.tasks)
    served = backbone.served("executor", routes(keeper))

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
    metrics.gauge(
        "workers.spare", "Processes that can become a worker at once.", read=keeper.crew.warm_spares
    )

    return Service(
        name="executor",
        settings=settings,
        notices=[*notices_of(settings.config, os.environ), *without_effect(os.environ)],
        resources=[*backbone.resources, keeper, served],
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
        ready={**backbone.ready, "workers": keeper.ready},
        on_drain=keeper.drain,
        metrics=metrics,
    )
