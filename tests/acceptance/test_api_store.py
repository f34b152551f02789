"""The store with the unmodified SDK (contract endpoints.md 7)."""

from __future__ import annotations

from uuid import uuid4

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient


async def test_put_get_and_delete(client: LangGraphClient) -> None:
    namespace = ["tests", str(uuid4())]
    assert await client.store.get_item(namespace, "k") is None
    await client.store.put_item(namespace, "k", {"a": {"b": [1, 2]}})
    first = await client.store.get_item(namespace, "k")
    assert (first["namespace"], first["key"]) == (namespace, "k")
    assert first["value"] == {"a": {"b": [1, 2]}}
    await client.store.put_item(namespace, "k", {"a": 2})
    second = await client.store.get_item(namespace, "k")
    assert second["value"] == {"a": 2}
    assert second["created_at"] == first["created_at"]
    await client.store.delete_item(namespace, "k")
    await client.store.delete_item(namespace, "k")
    assert await client.store.get_item(namespace, "k") is None


async def test_search_filters_and_pages(client: LangGraphClient) -> None:
    root = str(uuid4())
    for n in range(3):
        await client.store.put_item([root, f"sub{n}"], f"k{n}", {"n": n, "kind": "x"})
    found = await client.store.search_items([root])
    assert {item["key"] for item in found["items"]} == {"k0", "k1", "k2"}
    assert all(item["score"] is None for item in found["items"])
    some = await client.store.search_items([root], filter={"n": {"$gte": 1}, "kind": "x"})
    assert {item["value"]["n"] for item in some["items"]} == {1, 2}
    none = await client.store.search_items([root], filter={"missing": {"$gt": 1}})
    assert none["items"] == []
    assert len((await client.store.search_items([root], limit=2))["items"]) == 2


async def test_namespaces_are_listed(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    root = str(uuid4())
    for path in ([root, "a", "x"], [root, "b", "x"], [root, "b", "y"]):
        await client.store.put_item(path, "k", {})
    listed = await client.store.list_namespaces(prefix=[root], max_depth=2)
    assert sorted(listed["namespaces"]) == [[root, "a"], [root, "b"]]
    ending = await client.store.list_namespaces(prefix=[root, "*"], suffix=["x"])
    assert len(ending["namespaces"]) == 2
    assert (await http.post("/store/items/search", json={})).status_code == 200


@pytest.mark.parametrize(
    ("namespace", "status"),
    [([], 400), (["langgraph", "x"], 400), (["a", ""], 422), (["a.b"], 422)],
)
async def test_a_namespace_that_cannot_be_is_refused(
    http: httpx.AsyncClient, namespace: list[str], status: int
) -> None:
    answer = await http.put("/store/items", json={"namespace": namespace, "key": "k", "value": {}})
    assert answer.status_code == status and "namespace" in answer.json()["detail"]


async def test_an_item_needs_a_key(http: httpx.AsyncClient) -> None:
    assert (await http.get("/store/items", params={"namespace": "a"})).status_code == 400
