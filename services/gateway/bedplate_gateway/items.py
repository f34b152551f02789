"""Items of the long-term store over HTTP: the same that agents see.

The gateway reads and writes them in PostgreSQL. What needs the project's code it asks an executor
for, because it never imports that: everything where the project has a store of its own, and with a
`store.index` whatever is embedded (an item that is put, a query).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from bedplate.bus.broker import Bus
from bedplate.graphs.items import Items as KeptItems
from bedplate.graphs.persistence import StoreBlock
from bedplate.graphs.sealing import Sealing
from bedplate.graphs.store import PostgresStore
from bedplate.kernel.errors import Refused
from bedplate_proto import subjects
from bedplate_proto.items import DeleteItem, GetItem, ListNamespaces, PutItem, SearchItems

from .access import rules
from .access.access import Access
from .access.rules import Rule
from .errors import Unprocessable
from .forms import Form, Object
from .item_forms import ItemKey, ItemPut, ItemSearch, NamespaceList
from .runs import EXECUTOR_S_MAX

F = TypeVar("F", bound=Form)

# The graph library keeps this one for itself.
_RESERVED = "langgraph"


class Items:
    def __init__(
        self,
        pool: Any,
        bus: Bus,
        block: StoreBlock,
        *,
        tenant: str,
        sealing: Sealing | None,
    ) -> None:
        self._kept = KeptItems(PostgresStore(pool, ttl=block.ttl.config(), sealing=sealing))
        self._bus = bus
        self._is_foreign = block.path is not None
        self._is_indexed = block.index is not None
        self._tenant = tenant

    async def put(self, form: ItemPut, *, by: Access) -> None:
        is_limited = "ttl" in form.model_fields_set
        form = await _asked(rules.STORE_PUT, form, by)
        ask = PutItem(
            tenant=self._tenant,
            namespace=_namespace(form.namespace),
            key=form.key,
            value=form.value,
            index=form.index,
            ttl=form.ttl,
            has_default_ttl=not is_limited,
            encryption_context=by.encryption_context,
        )
        if self._is_foreign or self._is_indexed:
            await self._bus.order(subjects.PUT_ITEM, ask, limit_s=EXECUTOR_S_MAX)
        else:
            await self._kept.put_item(ask)

    async def get(self, form: ItemKey, *, refresh_ttl: bool | None, by: Access) -> bytes:
        """The item, or null."""
        form = await _asked(rules.STORE_GET, form, by)
        ask = GetItem(
            tenant=self._tenant,
            namespace=_namespace(form.namespace),
            key=form.key,
            refresh_ttl=refresh_ttl,
        )
        if self._is_foreign:
            return await self._bus.order(subjects.GET_ITEM, ask, limit_s=EXECUTOR_S_MAX)
        return await self._kept.get_item(ask)

    async def delete(self, form: ItemKey, *, by: Access) -> None:
        """Also when there is none."""
        form = await _asked(rules.STORE_DELETE, form, by)
        ask = DeleteItem(tenant=self._tenant, namespace=_namespace(form.namespace), key=form.key)
        if self._is_foreign:
            await self._bus.order(subjects.DELETE_ITEM, ask, limit_s=EXECUTOR_S_MAX)
        else:
            await self._kept.delete_item(ask)

    async def search(self, form: ItemSearch, *, by: Access) -> bytes:
        form = await _asked(rules.STORE_SEARCH, form, by, field="namespace_prefix")
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

    async def namespaces(self, form: NamespaceList, *, by: Access) -> bytes:
        form = await _asked(rules.STORE_LIST_NAMESPACES, form, by, field="prefix")
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


async def _asked(rule: Rule, form: F, by: Access, *, field: str = "namespace") -> F:
    """The form as the project's handler leaves it, which knows the namespace (in `field`) as a
    tuple of that name."""
    if by.is_free:
        return form
    given = getattr(form, field)
    value: Object = {name: part for name, part in form if name != field}
    value["namespace"] = None if given is None else tuple(given)
    await by.to(rule, value)
    left = value.pop("namespace", None)
    changed = {name: value[name] for name in type(form).model_fields if name in value}
    return form.model_copy(update={**changed, field: None if left is None else list(left)})


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
