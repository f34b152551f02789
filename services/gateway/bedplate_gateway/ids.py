"""Ids we make up: time-ordered ones for threads and runs, and the one a graph's own assistant has.

Source: RFC 9562, UUID version 7 (the standard library has it from Python 3.14 on).
"""

from __future__ import annotations

import os
import time
from uuid import UUID, uuid5

# Clients compute a graph's assistant id themselves; this namespace is part of the API contract.
_ASSISTANTS = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")


def uuid7() -> UUID:
    """A new id; ids made in different milliseconds sort by time."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def system_assistant_id(graph_id: str) -> UUID:
    """The id of the assistant that every graph has from the start."""
    return uuid5(_ASSISTANTS, graph_id)


def uuid_or_none(text: str) -> UUID | None:
    """`text` as an id, if it is one in the usual form with hyphens."""
    if len(text) != 36:
        return None
    try:
        return UUID(text)
    except ValueError:
        return None
