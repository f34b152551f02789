"""How long threads live and what they take: TTLs, sweeps and the report of bytes (contract
endpoints.md 4, semantics.md 12). Time goes by in the rows, never in the test."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError

from bedplate.devstack.stack import Stack
from bedplate.testing.eventually import eventually

SWEEP_S = 20.0
TABLES = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")


@pytest.fixture
async def keeper(memory: Stack) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=memory.url, api_key=None) as opened:
        yield opened


@pytest.fixture
async def raw(memory: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=memory.url, timeout=30) as opened:
        yield opened


@pytest.fixture
async def truth(memory: Stack) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(memory.endpoints.database_uri)
    try:
        yield connection
    finally:
        await connection.close()


async def ttl(client: LangGraphClient, thread_id: str) -> Any:
    thread: Any = await client.threads.get(thread_id, include=["ttl"])
    return thread["ttl"]


async def passes(truth: Any, thread_id: str, *, minutes: int) -> None:
    await truth.execute(
        "UPDATE threads SET updated_at = updated_at - $2::int * interval '1 minute',"
        " pruned_at = pruned_at - $2::int * interval '1 minute' WHERE thread_id = $1",
        UUID(thread_id),
        minutes,
    )


async def rows(truth: Any, thread_id: str) -> dict[str, int]:
    return {
        table: await truth.fetchval(f"SELECT count(*) FROM {table} WHERE thread_id = $1", thread_id)
        for table in TABLES
    }


async def remembered(client: LangGraphClient, thread_id: str, times: int = 1) -> None:
    wait: Any = client.runs.wait
    for _ in range(times):
        await wait(thread_id, "remember", input={"namespace": ["forgetting", thread_id]})


def says(text: str) -> dict[str, Any]:
    script = json.dumps([{"text": f"heard {text}"}])
    return {"messages": [{"role": "user", "content": f"{text} ```stub {script}```"}]}


async def test_a_thread_lives_as_long_as_it_is_told(
    keeper: LangGraphClient, raw: httpx.AsyncClient
) -> None:
    by_default = await keeper.threads.create()
    shown = await ttl(keeper, by_default["thread_id"])
    assert (shown["strategy"], shown["ttl_minutes"]) == ("delete", 120)
    age = datetime.fromisoformat(shown["expires_at"]) - datetime.fromisoformat(
        by_default["updated_at"]
    )
    assert age == timedelta(minutes=120)

    given = await keeper.threads.create(ttl={"ttl": 30, "strategy": "keep_latest"})
    assert (await ttl(keeper, given["thread_id"]))["strategy"] == "keep_latest"
    await keeper.threads.update(given["thread_id"], metadata={"a": 1})
    assert (await ttl(keeper, given["thread_id"]))["ttl_minutes"] == 30
    await keeper.threads.update(given["thread_id"], metadata={}, ttl=45)
    changed = await ttl(keeper, given["thread_id"])
    assert (changed["strategy"], changed["ttl_minutes"]) == ("delete", 45)
    path = f"/threads/{given['thread_id']}"
    assert (await raw.patch(path, json={"ttl": None})).status_code == 200
    assert await ttl(keeper, given["thread_id"]) is None
    plain = (await raw.post("/threads", json={"ttl": 0.5})).json()
    assert (await ttl(keeper, plain["thread_id"]))["ttl_minutes"] == 0.5
    copied: Any = await keeper.threads.copy(plain["thread_id"])
    assert (await ttl(keeper, copied["thread_id"]))["ttl_minutes"] == 0.5


async def test_searches_show_it_when_asked(raw: httpx.AsyncClient) -> None:
    mark = str(uuid4())
    await raw.post("/threads", json={"metadata": {"mark": mark}, "ttl": 30})
    search = {"metadata": {"mark": mark}, "select": ["thread_id", "ttl"]}
    (found,) = (await raw.post("/threads/search", json=search)).json()
    assert set(found) == {"thread_id", "ttl"} and found["ttl"]["ttl_minutes"] == 30
    (whole,) = (await raw.post("/threads/search", json={"metadata": {"mark": mark}})).json()
    assert "ttl" not in whole


async def test_a_thread_that_is_over_goes_with_everything(
    keeper: LangGraphClient, truth: Any
) -> None:
    thread_id = str(uuid4())
    wait: Any = keeper.runs.wait
    given = {"namespace": ["forgetting", thread_id]}
    await wait(thread_id, "remember", input=given, if_not_exists="create")
    assert (await ttl(keeper, thread_id))["ttl_minutes"] == 120
    await passes(truth, thread_id, minutes=119)
    await remembered(keeper, thread_id)
    await passes(truth, thread_id, minutes=119)
    assert (await keeper.threads.get(thread_id))["status"] == "idle"

    await passes(truth, thread_id, minutes=2)

    async def is_gone() -> bool:
        try:
            await keeper.threads.get(thread_id)
        except NotFoundError:
            return True
        return False

    await eventually(is_gone, within_s=SWEEP_S)
    assert await rows(truth, thread_id) == dict.fromkeys(TABLES, 0)
    count = "SELECT count(*) FROM runs WHERE thread_id = $1"
    assert await truth.fetchval(count, UUID(thread_id)) == 0


async def test_a_deep_agents_thread_keeps_its_state_and_loses_its_past(
    keeper: LangGraphClient, truth: Any
) -> None:
    """Its messages are kept as deltas: what is folded away must still be read."""
    made: Any = await keeper.threads.create(ttl={"ttl": 60, "strategy": "keep_latest"})
    thread_id = made["thread_id"]
    wait: Any = keeper.runs.wait
    for text in ("one", "two", "three"):
        await wait(thread_id, "notes", input=says(text))
    before: Any = await keeper.threads.get_state(thread_id)
    assert len(await keeper.threads.get_history(thread_id, limit=100)) > 10

    await passes(truth, thread_id, minutes=61)

    async def history() -> int:
        return len(await keeper.threads.get_history(thread_id, limit=100))

    await eventually(history, equals=1, within_s=SWEEP_S)
    after: Any = await keeper.threads.get_state(thread_id)
    assert after["values"] == before["values"]
    assert after["checkpoint_id"] == before["checkpoint_id"]
    pruned = "SELECT pruned_at > updated_at FROM threads WHERE thread_id = $1"
    assert await truth.fetchval(pruned, UUID(thread_id))

    answer = await wait(thread_id, "notes", input=says("four"))
    assert [message["type"] for message in answer["messages"]] == ["human", "ai"] * 4
    assert answer["messages"][-1]["content"] == "heard four"
    assert answer["messages"][:-2] == before["values"]["messages"]


async def test_the_report_of_bytes_is_what_is_stored(
    keeper: LangGraphClient, raw: httpx.AsyncClient, truth: Any
) -> None:
    thread: Any = await keeper.threads.create()
    path = f"/threads/{thread['thread_id']}/storage"
    empty = (await raw.get(path)).json()
    assert (empty["total_bytes"], empty["checkpoints"]["count"]) == (0, 0)
    assert empty["channel_values"] == {"count": 0, "bytes": 0, "by_channel": {}}

    await remembered(keeper, thread["thread_id"], 2)
    shown = (await raw.get(path)).json()
    stored = await rows(truth, thread["thread_id"])
    assert shown["thread_id"] == thread["thread_id"]
    parts = ("checkpoints", "channel_values", "pending_writes")
    assert [shown[part]["count"] for part in parts] == list(stored.values())
    assert shown["total_bytes"] == sum(shown[part]["bytes"] for part in parts) > 500
    by_channel = shown["channel_values"]["by_channel"]
    assert sum(by_channel.values()) == shown["channel_values"]["bytes"]
    assert {"namespace", "recalled"} <= by_channel.keys()
    assert (await raw.get(f"/threads/{uuid4()}/storage")).status_code == 404


async def test_the_newest_checkpoints_metadata_can_be_patched(
    keeper: LangGraphClient, raw: httpx.AsyncClient
) -> None:
    thread: Any = await keeper.threads.create()
    path = f"/threads/{thread['thread_id']}/state"
    early = await raw.patch(path, json={"metadata": {"rating": 1}})
    assert early.status_code == 400 and "graph" in early.json()["detail"]
    await remembered(keeper, thread["thread_id"])
    before: Any = await keeper.threads.get_state(thread["thread_id"])

    answer = await raw.patch(path, json={"metadata": {"rating": 5, "run_id": "forged"}})
    assert (answer.status_code, answer.content) == (204, b"")
    after: Any = await keeper.threads.get_state(thread["thread_id"])
    assert after["metadata"] == {**before["metadata"], "rating": 5}
    rated = await keeper.threads.get_history(thread["thread_id"], metadata={"rating": 5})
    assert [state["checkpoint"] for state in rated] == [before["checkpoint"]]
    refused = await raw.patch(path, json={"metadata": {"step": 7}})
    assert refused.status_code == 422 and "step" in refused.json()["detail"]
