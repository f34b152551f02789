"""The run-scheduler's parts, put together."""

from __future__ import annotations

import os

from bedplate.backbone import Backbone
from bedplate.chassis.clock import SystemClock
from bedplate.chassis.loop import Loop
from bedplate.chassis.metrics import Metrics
from bedplate.chassis.process import Service
from bedplate.foreign import without_effect
from bedplate.graphs.persistence import Persistence, given_persistence
from bedplate.ledger import Admissions, Dispatch
from bedplate.ledger import Crons as KeptCrons

from .assistants import find_assistant
from .crons import Crons
from .lookout import Lookout
from .reaper import Reaper
from .relay import Relay
from .routes import routes
from .scheduler import Scheduler
from .settings import Settings
from .sharing import Sharing
from .sweeper import Sweeper

# A sweep works in small transactions; what it has not done within this time, the next one does.
_SWEEP_S_MAX = 600.0


def build() -> Service:
    settings = Settings.from_env()
    given = given_persistence(settings.config, os.environ)
    backbone = Backbone(
        settings,
        name="run-scheduler",
        connections_max=settings.connections_max,
        keeps_own=given.checkpointer.path is not None,
    )
    metrics = Metrics()
    dispatch = Dispatch(backbone.pool, backbone.outbox, backbone.messages, settings.limits)
    ttl = given.checkpointer.ttl
    admissions = Admissions(
        backbone.pool, backbone.outbox, backbone.messages, dispatch, thread_ttl=ttl.of_new()
    )
    sharing = Sharing(dispatch, metrics)
    scheduler = Scheduler(admissions, dispatch, backbone.threads, backbone.bus, sharing=sharing)
    crons = Crons(
        KeptCrons(backbone.pool, admissions, find_assistant=find_assistant),
        scheduler.tell,
        SystemClock(),
        metrics,
        late_s_max=settings.cron_late_s_max,
    )
    reaper = Reaper(backbone.ledger, backbone.bus, attempts_max=settings.attempts_max)
    relay = Relay(
        backbone,
        dispatch,
        sharing,
        lost_ticket_s=settings.lost_ticket_s,
        doomed_s=settings.doomed_s,
        streams=settings,
    )
    sweeper = Sweeper(backbone.pool, backbone.threads, ttl)
    served = backbone.served("run-scheduler", routes(scheduler, crons))
    fired = crons if settings.crons_enabled else None
    lookout = Lookout(dispatch, SystemClock(), relay, sharing, fired, period_s=settings.look_s)
    expiry = Loop("expiry", reaper.expire, period_s=settings.expiry_s)
    return Service(
        name="run-scheduler",
        settings=settings,
        notices=without_effect(os.environ),
        metrics=metrics,
        resources=[*backbone.resources, served],
        loops=[
            expiry,
            *lookout.loops,
            Loop("measure", sharing.measure, period_s=settings.measure_s),
            Loop("reissue", relay.reissue, period_s=max(2.0, settings.lost_ticket_s / 2)),
            Loop("sweep", relay.sweep, period_s=settings.sweep_s),
            *_sweeps(sweeper, given),
        ],
        ready={**backbone.ready, "streams": relay.ready, "expiry": expiry.ready},
    )


def _sweeps(sweeper: Sweeper, given: Persistence) -> list[Loop]:
    sweeps = {
        "sweep-items": (sweeper.sweep_items, given.store.ttl.sweep_interval_minutes),
        "sweep-threads": (sweeper.sweep_threads, given.checkpointer.ttl.sweep_interval_minutes),
    }
    return [
        Loop(name, sweep, period_s=60 * minutes, limit_s=_SWEEP_S_MAX)
        for name, (sweep, minutes) in sweeps.items()
    ]
