"""Items of the long-term store over HTTP: the same rows that agents see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bedplate.graphs.store import PostgresStore
from bedplate.kernel.errors import Refused

from .errors import Unprocessable
from .forms import Object
from .item_forms import ItemKey, ItemPut, ItemSearch, NamespaceList
from .json_text import dumped

# The graph library keeps this one for itself.
_RESERVED = "langgraph"


class Items:
    def __init__(self, store: PostgresStore) -> None:
        self._store = store

    async def put(self, form: ItemPut) -> None:
        namespace = _namespace(form.namespace)
        # Without a time to live the store's default counts; null means never.
        limits: Object = {"ttl": form.ttl} if "ttl" in form.model_fields_set else {}
        await self._store.aput(namespace, form.key, form.value, index=form.index, **limits)

    async def get(self, labels: Sequence[str], key: str, *, refresh_ttl: bool | None) -> bytes:
        """The item, or null."""
        found = await self._store.aget(_namespace(labels), key, refresh_ttl=refresh_ttl)
        return dumped(None if found is None else _shown(found)).encode()

    async def delete(self, form: ItemKey) -> None:
        """Also when there is none."""
        await self._store.adelete(_namespace(form.namespace), form.key)

    async def search(self, form: ItemSearch) -> bytes:
        found = await self._store.asearch(
            _labels(form.namespace_prefix),
            query=form.query,
            filter=form.filter,
            limit=form.limit,
            offset=form.offset,
            refresh_ttl=form.refresh_ttl,
        )
        items = [{**_shown(item), "score": item.score} for item in found]
        return dumped({"items": items}).encode()

    async def namespaces(self, form: NamespaceList) -> bytes:
        found = await self._store.alist_namespaces(
            prefix=_labels(form.prefix or ()) or None,
            suffix=_labels(form.suffix or ()) or None,
            max_depth=form.max_depth,
            limit=form.limit,
            offset=form.offset,
        )
        return dumped({"namespaces": found}).encode()


def _namespace(labels: Sequence[str]) -> tuple[str, ...]:
    """Where an item may be. Raises `Refused`."""
    namespace = _labels(labels)
    if not namespace:
        raise Refused("namespace: must have at least one label")
    if namespace[0] == _RESERVED:
        raise Refused(f"namespace: the first label cannot be '{_RESERVED}'")
    return namespace


def _labels(labels: Sequence[str]) -> tuple[str, ...]:
    for label in labels:
        if not label or "." in label:
            raise Unprocessable("namespace: labels must not be empty or contain periods")
    return tuple(labels)


def _shown(item: Any) -> Object:
    return {
        "namespace": item.namespace,
        "key": item.key,
        "value": item.value,
        "created_at": item.created_at,
        "updated_at": item.updated_at,
    }
