"""Store items as clients see them, of any store: in the gateway on ours, in executors on the
project's own."""

from __future__ import annotations

from typing import Any

from langgraph.store.base import BaseStore, Item

from bedplate.graphs.store import store_under
from bedplate.graphs.wire import dumps
from bedplate_proto.items import DeleteItem, GetItem, ListNamespaces, PutItem, SearchItems


class Items:
    """One method per question; the answers are JSON."""

    def __init__(self, store: BaseStore) -> None:
        self._store = store

    async def put_item(self, ask: PutItem) -> bytes:
        # Without a time to live the store's default counts; None means never.
        limits: dict[str, Any] = {} if ask.has_default_ttl else {"ttl": ask.ttl}
        store = store_under(self._store, ask.encryption_context)
        await store.aput(tuple(ask.namespace), ask.key, ask.value, index=ask.index, **limits)
        return b"{}"

    async def get_item(self, ask: GetItem) -> bytes:
        """The item, or null."""
        found = await self._store.aget(tuple(ask.namespace), ask.key, refresh_ttl=ask.refresh_ttl)
        return dumps(None if found is None else _shown(found))

    async def delete_item(self, ask: DeleteItem) -> bytes:
        """Also when there is none."""
        await self._store.adelete(tuple(ask.namespace), ask.key)
        return b"{}"

    async def search_items(self, ask: SearchItems) -> bytes:
        found = await self._store.asearch(
            tuple(ask.namespace_prefix),
            query=ask.query,
            filter=ask.filter,
            limit=ask.limit,
            offset=ask.offset,
            refresh_ttl=ask.refresh_ttl,
        )
        return dumps({"items": [{**_shown(item), "score": item.score} for item in found]})

    async def list_namespaces(self, ask: ListNamespaces) -> bytes:
        found = await self._store.alist_namespaces(
            prefix=tuple(ask.prefix) or None,
            suffix=tuple(ask.suffix) or None,
            max_depth=ask.max_depth,
            limit=ask.limit,
            offset=ask.offset,
        )
        return dumps({"namespaces": found})


def _shown(item: Item) -> dict[str, Any]:
    return {
        "namespace": item.namespace,
        "key": item.key,
        "value": item.value,
        "created_at": item.created_at,
        "updated_at": item.updated_at,
    }
