"""Items of the long-term store over HTTP: the same that agents see.

The gateway reads and writes them in PostgreSQL. What needs the project's code it asks an executor
for, because it never imports that: everything where the project has a store of its own, and with a
`store.index` whatever is embedded (an item that is put, a query).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bedplate.bus.broker import Bus
from bedplate.graphs.items import Items as KeptItems
from bedplate.graphs.persistence import StoreBlock
from bedplate.graphs.store import PostgresStore
from bedplate.kernel.errors import Refused
from bedplate_proto import subjects
from bedplate_proto.items import DeleteItem, GetItem, ListNamespaces, PutItem, SearchItems

from .errors import Unprocessable
from .item_forms import ItemKey, ItemPut, ItemSearch, NamespaceList
from .runs import EXECUTOR_S_MAX

# The graph library keeps this one for itself.
_RESERVED = "langgraph"


class Items:
    def __init__(self, pool: Any, bus: Bus, block: StoreBlock, *, tenant: str) -> None:
        self._kept = KeptItems(PostgresStore(pool, ttl=block.ttl.config()))
        self._bus = bus
        self._is_foreign = block.path is not None
        self._is_indexed = block.index is not None
        self._tenant = tenant

    async def put(self, form: ItemPut) -> None:
        ask = PutItem(
            tenant=self._tenant,
            namespace=_namespace(form.namespace),
            key=form.key,
            value=form.value,
            index=form.index,
            ttl=form.ttl,
            has_default_ttl="ttl" not in form.model_fields_set,
        )
        if self._is_foreign or self._is_indexed:
            await self._bus.order(subjects.PUT_ITEM, ask, limit_s=EXECUTOR_S_MAX)
        else:
            await self._kept.put_item(ask)

    async def get(self, labels: Sequence[str], key: str, *, refresh_ttl: bool | None) -> bytes:
        """The item, or null."""
        ask = GetItem(
            tenant=self._tenant, namespace=_namespace(labels), key=key, refresh_ttl=refresh_ttl
        )
        if self._is_foreign:
            return await self._bus.order(subjects.GET_ITEM, ask, limit_s=EXECUTOR_S_MAX)
        return await self._kept.get_item(ask)

    async def delete(self, form: ItemKey) -> None:
        """Also when there is none."""
        ask = DeleteItem(tenant=self._tenant, namespace=_namespace(form.namespace), key=form.key)
        if self._is_foreign:
            await self._bus.order(subjects.DELETE_ITEM, ask, limit_s=EXECUTOR_S_MAX)
        else:
            await self._kept.delete_item(ask)

    async def search(self, form: ItemSearch) -> bytes:
        ask = SearchItems(
            tenant=self._tenant,
            namespace_prefix=_labels(form.namespace_prefix),
            filter=form.filter,
            limit=form.limit,
            offset=form.offset,
            query=form.query,
            refresh_ttl=form.refresh_ttl,
        )
        if self._is_foreign or (self._is_indexed and form.query):
            return await self._bus.order(subjects.SEARCH_ITEMS, ask, limit_s=EXECUTOR_S_MAX)
        return await self._kept.search_items(ask)

    async def namespaces(self, form: NamespaceList) -> bytes:
        ask = ListNamespaces(
            tenant=self._tenant,
            prefix=_labels(form.prefix or ()),
            suffix=_labels(form.suffix or ()),
            max_depth=form.max_depth,
            limit=form.limit,
            offset=form.offset,
        )
        if self._is_foreign:
            return await self._bus.order(subjects.LIST_NAMESPACES, ask, limit_s=EXECUTOR_S_MAX)
        return await self._kept.list_namespaces(ask)


def _namespace(labels: Sequence[str]) -> list[str]:
    """Where an item may be. Raises `Refused`."""
    namespace = _labels(labels)
    if not namespace:
        raise Refused("namespace: must have at least one label")
    if namespace[0] == _RESERVED:
        raise Refused(f"namespace: the first label cannot be '{_RESERVED}'")
    return namespace


def _labels(labels: Sequence[str]) -> list[str]:
    for label in labels:
        if not label or "." in label:
            raise Unprocessable("namespace: labels must not be empty or contain periods")
    return list(labels)
