"""The webhook-dispatcher's parts, put together."""

from __future__ import annotations

import os
import socket

from bedplate.backbone import Backbone
from bedplate.chassis.clock import SystemClock
from bedplate.chassis.loop import Loop, Report
from bedplate.chassis.metrics import Metrics
from bedplate.chassis.process import Service
from bedplate.chassis.tasks import Tasks
from bedplate.foreign import without_effect
from bedplate.graphs.config import given_blocks
from bedplate.graphs.sealing import AES_KEY, Sealing
from bedplate.ledger.deliveries import Deliveries
from bedplate.webhooks.block import given_block

from .courier import Courier
from .dispatcher import Dispatcher, Limits, Wording
from .routes import routes
from .settings import Settings
from .signing import key_of
from .tally import Tally
from .verdict import Patience

_NAME = "webhook-dispatcher"
_MEASURE_S = 10.0


def build() -> Service:
    settings = Settings.from_env()
    given = given_block(settings.config, os.environ)
    wording = Wording(
        given.block.filled_headers(given.environment),
        [key_of(secret) for secret in settings.secrets],
        given.block.allowed_fields,
    )
    metrics = Metrics()
    backbone = Backbone(settings, name=_NAME, connections_max=settings.connections_max)
    tasks = Tasks("deliveries", drain_s=0.0)
    courier = Courier(
        given.block.url,
        connect_s=settings.connect_s,
        whole_s=settings.deliver_s,
        app_url=settings.app_url,
    )
    dispatcher = Dispatcher(
        Deliveries(backbone.pool),
        courier,
        tasks,
        wording=wording,
        limits=Limits(
            settings.tries_at_once_max, settings.tries_per_destination_max, settings.deliver_s
        ),
        patience=Patience(settings.retry_window_s, settings.retry_base_s, settings.retry_s_max),
        tally=Tally(metrics),
        clock=SystemClock(),
        sealing=_sealing(settings),
        by=f"{socket.gethostname()}:{os.getpid()}",
    )
    return _service(settings, backbone, dispatcher, courier, tasks, metrics)


def _sealing(settings: Settings) -> Sealing | None:
    """None where the project encrypts nothing. Raises `Refused` for what cannot be had."""
    blocks = given_blocks(settings.config, os.environ)
    if not blocks.encryption and not blocks.env.get(AES_KEY):
        return None
    # Not at the top: it brings libraries that only such projects need here.
    from bedplate.graphs.encryption import own_handlers, sealing_of
    from bedplate.graphs.project import Project

    return sealing_of(own_handlers(Project(settings.config, blocks)), blocks.env)


def _service(
    settings: Settings,
    backbone: Backbone,
    dispatcher: Dispatcher,
    courier: Courier,
    tasks: Tasks,
    metrics: Metrics,
) -> Service:
    async def sweep() -> Report | None:
        return await dispatcher.sweep(
            delivered_s=settings.keep_delivered_s, dead_s=settings.keep_dead_s
        )

    # Many tries that end together make one look.
    deliver = Loop("deliver", dispatcher.deliver, period_s=settings.look_s, gap_s=0.01)
    dispatcher.poke = deliver.poke
    for name, meaning, read in (
        ("webhook.pending", "Deliveries to be tried.", lambda: dispatcher.backlog.pending),
        ("webhook.due", "Those of them whose time has come.", lambda: dispatcher.backlog.due),
        ("webhook.dead", "Deliveries that were given up.", lambda: dispatcher.backlog.dead),
        ("webhook.under_way", "Tries under way here.", lambda: dispatcher.under_way),
    ):
        metrics.gauge(name, meaning, read=read)
    served = backbone.served(_NAME, routes(dispatcher))
    return Service(
        name=_NAME,
        settings=settings,
        notices=without_effect(os.environ),
        resources=[*backbone.resources, courier, tasks, served],
        loops=[
            deliver,
            Loop("sweep", sweep, period_s=settings.sweep_s),
            Loop("measure", dispatcher.measure, period_s=_MEASURE_S),
        ],
        ready={**backbone.ready, "deliver": deliver.ready},
        on_drain=dispatcher.drain,
        metrics=metrics,
    )
