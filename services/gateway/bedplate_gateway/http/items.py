"""The store over HTTP (contract endpoints.md 7)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from bedplate.kernel.errors import Refused

from .. import shapes
from ..access import rules
from ..item_forms import ItemKey, ItemPut, ItemSearch, NamespaceList
from ..items import Items
from .answers import json_answer, nothing
from .body import flag_of, form_of
from .door import access_of
from .paths import Path, Query

TAG = "Store"


class ItemPaths:
    """One method per path."""

    def __init__(self, items: Items) -> None:
        self._items = items

    async def put(self, request: Request) -> Response:
        await self._items.put(await form_of(request, ItemPut), by=access_of(request))
        return nothing()

    async def get(self, request: Request) -> Response:
        query = request.query_params
        if not query.get("key"):
            raise Refused("key: must be given")
        labels = [label for text in query.getlist("namespace") for label in text.split(".")]
        refresh = flag_of(request, "refresh_ttl") if "refresh_ttl" in query else None
        found = await self._items.get(
            ItemKey(
                namespace=[label for label in labels if label or len(labels) > 1],
                key=query["key"],
            ),
            refresh_ttl=refresh,
            by=access_of(request),
        )
        return json_answer(found)

    async def delete(self, request: Request) -> Response:
        await self._items.delete(await form_of(request, ItemKey), by=access_of(request))
        return nothing()

    async def search(self, request: Request) -> Response:
        return json_answer(
            await self._items.search(await form_of(request, ItemSearch), by=access_of(request))
        )

    async def namespaces(self, request: Request) -> Response:
        return json_answer(
            await self._items.namespaces(
                await form_of(request, NamespaceList), by=access_of(request)
            )
        )

    def table(self) -> list[Path]:
        errors = (400, 413, 422, 503)
        return [
            Path("PUT", "/store/items", self.put, "Write an item.", TAG,
                 rule=rules.STORE_PUT.with_body, status=204, body=ItemPut,
                 errors=errors),
            Path("GET", "/store/items", self.get, "An item, or null.", TAG,
                 rule=rules.STORE_GET.with_body,
                 answer={"anyOf": [{"$ref": "#/components/schemas/Item"}, {"type": "null"}]},
                 errors=(400, 422, 503), query=(
                     Query("namespace", {"type": "string"}, "Labels joined by periods.",
                           is_required=True),
                     Query("key", {"type": "string"}, "Its key.", is_required=True),
                     Query("refresh_ttl", {"type": "boolean"}, "Whether reading prolongs it."))),
            Path("DELETE", "/store/items", self.delete, "Remove an item, if there is one.", TAG,
                 rule=rules.STORE_DELETE.with_body,
                 status=204, body=ItemKey, errors=errors),
            Path("POST", "/store/items/search", self.search, "Items below a namespace.", TAG,
                 rule=rules.STORE_SEARCH.with_body,
                 answer=shapes.FoundItems, body=ItemSearch, errors=errors),
            Path("POST", "/store/namespaces", self.namespaces, "Namespaces that have items.", TAG,
                 rule=rules.STORE_LIST_NAMESPACES.with_body,
                 answer=shapes.Namespaces, body=NamespaceList, errors=errors),
        ]  # fmt: skip
