"""A project with a store and a checkpointer of its own (`store.path`, `checkpointer.path`): graphs
use them, and clients read through HTTP what graphs have kept there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import BadRequestError

from bedplate.devstack.stack import Stack
from bedplate.testing.eventually import eventually

PROJECT = Path(__file__).parents[1] / "graphs" / "own" / "langgraph.json"
CHORES_S = 20.0


@pytest.fixture(scope="module")
def own(run_stack: Any) -> Any:
    running = run_stack(PROJECT)
    yield running
    running.stop()


@pytest.fixture
async def owner(own: Stack) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=own.url, api_key=None) as opened:
        yield opened


@pytest.fixture
async def raw(own: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=own.url, timeout=30) as opened:
        yield opened


async def remembered(client: LangGraphClient, thread_id: str, place: list[str], **told: Any) -> Any:
    wait: Any = client.runs.wait
    given = {"namespace": place, "told": told}
    return (await wait(thread_id, "remember", input=given))["recalled"]


async def rows(own: Stack, *tables: str) -> list[int]:
    connection = await asyncpg.connect(own.endpoints.database_uri)
    try:
        return [await connection.fetchval(f"SELECT count(*) FROM {table}") for table in tables]
    finally:
        await connection.close()


async def test_items_are_the_same_for_graphs_and_clients(
    owner: LangGraphClient, own: Stack
) -> None:
    place = ["own", str(uuid4())]
    await owner.store.put_item(place, "http", {"n": 1})
    thread: Any = await owner.threads.create()
    recalled = await remembered(owner, thread["thread_id"], place, graph={"n": 2})
    assert {key for key, *_ in recalled} == {"http", "graph"}
    item: Any = await owner.store.get_item(place, "graph")
    assert item["value"] == {"n": 2}
    found = await owner.store.search_items(place, filter={"n": {"$gt": 1}})
    assert [each["key"] for each in found["items"]] == ["graph"]
    assert (await owner.store.list_namespaces(prefix=place))["namespaces"] == [place]
    await owner.store.delete_item(place, "http")
    assert await owner.store.get_item(place, "http") is None
    assert await rows(own, "store") == [0]


async def test_state_is_read_and_changed_where_graphs_keep_it(
    owner: LangGraphClient, raw: httpx.AsyncClient, own: Stack
) -> None:
    thread: Any = await owner.threads.create()
    thread_id = thread["thread_id"]
    await remembered(owner, thread_id, ["own", thread_id], a={"n": 1})
    state: Any = await owner.threads.get_state(thread_id)
    assert state["values"]["told"] == {"a": {"n": 1}}
    assert len(await owner.threads.get_history(thread_id, limit=10)) == 3
    await owner.threads.update_state(thread_id, {"query": "changed"})
    changed: Any = await owner.threads.get_state(thread_id)
    assert changed["values"]["query"] == "changed"
    assert (await owner.threads.get(thread_id))["values"]["query"] == "changed"
    assert await rows(own, "checkpoints", "checkpoint_blobs", "checkpoint_writes") == [0, 0, 0]

    told = await raw.get(f"/threads/{thread_id}/storage")
    assert told.status_code == 501 and "own" in told.json()["detail"]
    patched = await raw.patch(f"/threads/{thread_id}/state", json={"metadata": {"a": 1}})
    assert patched.status_code == 400 and "own checkpointer" in patched.json()["detail"]


async def test_a_deleted_threads_state_is_forgotten_there_too(owner: LangGraphClient) -> None:
    thread: Any = await owner.threads.create()
    thread_id = thread["thread_id"]
    await remembered(owner, thread_id, ["own", thread_id], a={"n": 1})
    await owner.threads.delete(thread_id)
    await owner.threads.create(thread_id=thread_id, metadata={"graph_id": "remember"})

    async def values() -> Any:
        return (await owner.threads.get_state(thread_id))["values"]

    await eventually(values, equals={}, within_s=CHORES_S)


async def test_what_it_cannot_do_is_refused_and_leaves_nothing(owner: LangGraphClient) -> None:
    thread: Any = await owner.threads.create(metadata={"mark": str(uuid4())})
    await remembered(owner, thread["thread_id"], ["own", "copy"], a={"n": 1})
    with pytest.raises(BadRequestError, match="cannot copy threads"):
        await owner.threads.copy(thread["thread_id"])
    mark = {"mark": thread["metadata"]["mark"]}
    assert len(await owner.threads.search(metadata=mark)) == 1
