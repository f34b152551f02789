"""Ids of clients, and the one that a graph's own assistant has."""

from __future__ import annotations

from functools import lru_cache
from uuid import UUID, uuid5

# Clients compute a graph's assistant id themselves; this namespace is part of the API contract.
_ASSISTANTS = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")


@lru_cache(maxsize=1024)
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
