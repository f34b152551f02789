"""Which subject is whose verb. The paths of HTTP are in `http.site`."""

from __future__ import annotations

from bedplate.bus.serving import Hint, Order, Route
from bedplate_proto import subjects

from .assistants import Assistants
from .following import Followings


def routes(assistants: Assistants, followings: Followings) -> list[Route]:
    return [
        Order(subjects.REGISTER_GRAPHS, assistants.register),
        Hint(subjects.GATEWAY_POKE, assistants.on_poke),
        Hint(subjects.STATE_CHANGED, followings.on_state_changed),
    ]
