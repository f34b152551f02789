"""Questions about store items, from gateways that have neither the embedding function nor the
project's own store."""

from __future__ import annotations

from bedplate.graphs.items import Items
from bedplate.graphs.vectors import EmbeddingFailed
from bedplate.kernel.errors import Unavailable
from bedplate_proto.items import PutItem, SearchItems


class ItemQuestions(Items):
    """One public method per question; the names are those of the orders."""

    async def put_item(self, ask: PutItem) -> bytes:
        """Raises `Unavailable` when the embedding function fails: it asks somebody else's server,
        and may do better the next time."""
        try:
            return await super().put_item(ask)
        except EmbeddingFailed as error:
            raise Unavailable(error.message) from error

    async def search_items(self, ask: SearchItems) -> bytes:
        """Raises `Unavailable`, as `put_item` does."""
        try:
            return await super().search_items(ask)
        except EmbeddingFailed as error:
            raise Unavailable(error.message) from error
