"""What agents remember and clients read: one store over HTTP, in graphs and under deep agents,
found by meaning and forgotten in time (contract endpoints.md 7, semantics.md 11)."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from bedplate.devstack.stack import Stack
from bedplate.testing.eventually import eventually

SWEEP_S = 20.0


@pytest.fixture
async def minds(memory: Stack) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=memory.url, api_key=None) as opened:
        yield opened


@pytest.fixture
async def truth(memory: Stack) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(memory.endpoints.database_uri)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
def place() -> list[str]:
    return ["minds", str(uuid4())]


async def told(client: LangGraphClient, place: list[str], **given: Any) -> list[list[Any]]:
    """What the graph recalls after it was told."""
    wait: Any = client.runs.wait
    return (await wait(None, "remember", input={"namespace": place, **given}))["recalled"]


def summary(found: Any) -> list[tuple[str, float | None]]:
    return [(item["key"], item["score"]) for item in found["items"]]


async def test_clients_and_graphs_find_the_same_by_meaning(
    minds: LangGraphClient, place: list[str]
) -> None:
    await minds.store.put_item(place, "http", {"text": "a cat and a dog"})
    recalled = await told(minds, place, told={"graph": {"text": "bread"}}, query="my dog")
    assert [entry[0] for entry in recalled] == ["http", "graph"]

    found = await minds.store.search_items(place, query="bread")
    assert summary(found) == [("graph", pytest.approx(1.0)), ("http", pytest.approx(0.0))]
    assert [score for _, score in summary(await minds.store.search_items(place))] == [None, None]
    filtered = await minds.store.search_items(
        place, query="bread", filter={"text": {"$ne": "bread"}}
    )
    assert [key for key, _ in summary(filtered)] == ["http"]


async def test_an_item_says_what_of_it_is_found(minds: LangGraphClient, place: list[str]) -> None:
    await minds.store.put_item(place, "own", {"text": "cat", "aside": "violin"}, index=["aside"])
    await minds.store.put_item(place, "none", {"text": "violin"}, index=False)
    assert summary(await minds.store.search_items(place, query="violin")) == [
        ("own", pytest.approx(1.0))
    ]


async def test_a_deep_agents_files_are_items(minds: LangGraphClient) -> None:
    name = f"/{uuid4()}.md"
    script = [
        {
            "tool_calls": [
                {"name": "write_file", "args": {"file_path": name, "content": "a python"}}
            ]
        },
        {"text": "written"},
    ]
    ask = {"role": "user", "content": f"write ```stub {json.dumps(script)}```"}
    wait: Any = minds.runs.wait
    await wait(None, "notes", input={"messages": [ask]})

    found = await minds.store.search_items(["notes"], query="python")
    assert name in [key for key, score in summary(found) if score == pytest.approx(1.0)]
    item: Any = await minds.store.get_item(["notes"], name)
    assert re.search("a python", json.dumps(item["value"]))


async def test_an_embedding_that_fails_says_so_and_stores_nothing(
    minds: LangGraphClient, memory: Stack, place: list[str]
) -> None:
    async with httpx.AsyncClient(base_url=memory.url, timeout=30) as http:
        body = {"namespace": place, "key": "k", "value": {"text": "unspeakable"}}
        answer = await http.put("/store/items", json=body)
        assert answer.status_code == 503
        assert "there are no words for this" in answer.json()["detail"]
        search = {"namespace_prefix": place, "query": "unspeakable"}
        assert (await http.post("/store/items/search", json=search)).status_code == 503
    assert await minds.store.get_item(place, "k") is None


async def test_an_item_lives_as_long_as_it_is_told_and_read(
    minds: LangGraphClient, truth: Any, place: list[str]
) -> None:
    """By default an hour; null for ever; reading begins it anew, unless asked not to."""
    async with httpx.AsyncClient(base_url=minds.http.client.base_url) as http:
        body = {"namespace": place, "key": "ever", "value": {"text": "cat"}, "ttl": None}
        assert (await http.put("/store/items", json=body)).status_code == 204
    await minds.store.put_item(place, "short", {"text": "cat"}, ttl=10)
    await minds.store.put_item(place, "default", {"text": "cat"})
    await told(minds, place, told={"graph": {"text": "dog"}})
    assert await lives(truth, place) == {"default": 60, "ever": None, "graph": 60, "short": 10}

    await passes(truth, place, minutes=50)
    assert await minds.store.get_item(place, "short") is None
    await minds.store.get_item(place, "default", refresh_ttl=False)
    assert await lives(truth, place) == {"default": 10, "ever": None, "graph": 10}
    await minds.store.get_item(place, "default")
    assert await lives(truth, place) == {"default": 60, "ever": None, "graph": 10}
    await minds.store.search_items(place, query="dog")
    assert await lives(truth, place) == {"default": 60, "ever": None, "graph": 60}


async def test_what_has_expired_is_swept_with_its_vectors(
    minds: LangGraphClient, truth: Any, place: list[str]
) -> None:
    await minds.store.put_item(place, "k", {"text": "cat"})
    await passes(truth, place, minutes=61)
    assert await minds.store.get_item(place, "k") is None
    for table in ("store", "store_vectors"):
        count = f"SELECT count(*) FROM {table} WHERE prefix = $1"
        await eventually(
            lambda count=count: truth.fetchval(count, ".".join(place)), equals=0, within_s=SWEEP_S
        )


async def lives(truth: Any, place: list[str]) -> dict[str, int | None]:
    """Minutes that are left to each item that has not expired."""
    rows = await truth.fetch(
        "SELECT key, extract(epoch FROM expires_at - now()) / 60 AS minutes FROM store"
        " WHERE prefix = $1 AND coalesce(expires_at > now(), true)",
        ".".join(place),
    )
    return {
        row["key"]: None if row["minutes"] is None else round(float(row["minutes"])) for row in rows
    }


async def passes(truth: Any, place: list[str], *, minutes: int) -> None:
    """Time goes by for what is kept at `place`."""
    await truth.execute(
        "UPDATE store SET expires_at = expires_at - $2::int * interval '1 minute'"
        " WHERE prefix = $1",
        ".".join(place),
        minutes,
    )
