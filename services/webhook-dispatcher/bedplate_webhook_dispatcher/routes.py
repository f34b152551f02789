"""Which subject is whose verb."""

from __future__ import annotations

from bedplate.bus.serving import Hint, Order, Route
from bedplate_proto import subjects

from .dispatcher import Dispatcher


def routes(dispatcher: Dispatcher) -> list[Route]:
    return [
        Order(subjects.REDELIVER, dispatcher.redeliver),
        Hint(subjects.WEBHOOK_POKE, dispatcher.on_poke),
    ]
