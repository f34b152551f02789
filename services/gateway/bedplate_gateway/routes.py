"""Which subject is whose verb. The paths of HTTP are in `http.site`."""

from __future__ import annotations

from bedplate.bus.serving import Hint, Order, Route
from bedplate_proto import subjects

from .assistants import Assistants


def routes(assistants: Assistants) -> list[Route]:
    return [
        Order(subjects.REGISTER_GRAPHS, assistants.register),
        Hint(subjects.GATEWAY_POKE, assistants.on_poke),
    ]
