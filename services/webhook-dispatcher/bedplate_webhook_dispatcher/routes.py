"""Which subject is whose verb."""

from __future__ import annotations

from bedplate.bus.serving import Listen, Order, Route
from bedplate_proto import streams, subjects

from .dispatcher import Dispatcher


def routes(dispatcher: Dispatcher) -> list[Route]:
    return [
        Order(subjects.REDELIVER, dispatcher.redeliver),
        Listen(
            subjects.RUN_FINISHED,
            streams.WEBHOOK_DISPATCHERS,
            dispatcher.on_run_finished,
            workers=64,
        ),
    ]
