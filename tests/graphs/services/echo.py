from __future__ import annotations

from libs.words import joined
from proto.ticket import Ticket


def answer(ticket: Ticket) -> str:
    return joined("echo:", ticket.text)
