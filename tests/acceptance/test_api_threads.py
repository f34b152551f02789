"""Threads with the unmodified SDK (contract endpoints.md 4)."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError


async def test_a_thread_is_made_with_all_its_fields(client: LangGraphClient) -> None:
    made = await client.threads.create(metadata={"a": {"b": 1}})
    assert set(made) == {
        "thread_id", "created_at", "updated_at", "state_updated_at", "metadata", "status",
        "config", "values", "interrupts", "error",
    }  # fmt: skip
    assert made["status"] == "idle"
    assert made["metadata"] == {"a": {"b": 1}}
    assert (made["interrupts"], made["error"], made["values"]) == ({}, None, None)
    at = datetime.fromisoformat(made["created_at"])
    assert at.tzinfo is not None
    assert made["thread_id"][14] == "7"
    assert await client.threads.get(made["thread_id"]) == made


async def test_an_id_can_be_brought_along_once(client: LangGraphClient) -> None:
    thread_id = str(uuid4())
    first = await client.threads.create(thread_id=thread_id, metadata={"a": 1})
    with pytest.raises(ConflictError):
        await client.threads.create(thread_id=thread_id)
    again = await client.threads.create(
        thread_id=thread_id, metadata={"b": 2}, if_exists="do_nothing"
    )
    assert again == first


async def test_an_unknown_thread_is_404(client: LangGraphClient) -> None:
    unknown = str(uuid4())
    for asked in (
        client.threads.get(unknown),
        client.threads.update(unknown, metadata={}),
        client.threads.delete(unknown),
        client.threads.copy(unknown),
        client.threads.get_state(unknown),
        client.threads.get_history(unknown),
        client.threads.update_state(unknown, {}),
        client.runs.list(unknown),
        client.runs.create(unknown, "noop"),
    ):
        with pytest.raises(NotFoundError):
            await asked


async def test_metadata_is_merged_key_by_key(client: LangGraphClient) -> None:
    thread = await client.threads.create(metadata={"a": {"x": 1}, "b": 1})
    changed = await client.threads.update(thread["thread_id"], metadata={"a": {"y": 2}, "c": None})
    assert changed["metadata"] == {"a": {"y": 2}, "b": 1, "c": None}


async def test_a_minimal_answer_is_empty(http: httpx.AsyncClient) -> None:
    thread = (await http.post("/threads", json={})).json()
    answer = await http.patch(
        f"/threads/{thread['thread_id']}",
        json={"metadata": {"a": 1}},
        headers={"Prefer": "return=minimal"},
    )
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await http.get(f"/threads/{thread['thread_id']}")).json()["metadata"] == {"a": 1}


async def test_a_deleted_thread_is_gone_with_its_runs(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    run = await client.runs.create(thread["thread_id"], "noop", input={})
    await client.runs.join(thread["thread_id"], run["run_id"])
    await client.threads.delete(thread["thread_id"])
    with pytest.raises(NotFoundError):
        await client.threads.get(thread["thread_id"])
    with pytest.raises(NotFoundError):
        await client.runs.get(thread["thread_id"], run["run_id"])


async def test_search_filters_by_metadata_values_status_and_ids(client: LangGraphClient) -> None:
    mark = str(uuid4())
    empty = await client.threads.create(metadata={"mark": mark})
    full = await client.threads.create(metadata={"mark": mark, "deep": {"a": 1, "b": 2}})
    waiting = await client.threads.create(metadata={"mark": mark})
    await client.runs.wait(full["thread_id"], "noop", input={"value": {"x": 1, "y": 2}})
    await client.runs.wait(waiting["thread_id"], "approval", input={"question": "q"})

    async def found(**asked: object) -> set[str]:
        asked = {"metadata": {"mark": mark}, **asked}
        rows = await client.threads.search(**asked)
        count = {key: asked[key] for key in ("metadata", "values", "status") if key in asked}
        assert await client.threads.count(**count) == len(rows)
        return {row["thread_id"] for row in rows}

    every = {empty["thread_id"], full["thread_id"], waiting["thread_id"]}
    assert await found() == every
    assert await found(values={}) == every
    assert await found(metadata={"mark": mark, "deep": {"a": 1}}) == {full["thread_id"]}
    assert await found(metadata={"mark": mark, "deep": {"a": 2}}) == set()
    assert await found(values={"value": {"x": 1}}) == {full["thread_id"]}
    assert await found(status="interrupted") == {waiting["thread_id"]}
    by_id = await client.threads.search(ids=[empty["thread_id"], str(uuid4())])
    assert [row["thread_id"] for row in by_id] == [empty["thread_id"]]


async def test_search_sorts_pages_selects_and_extracts(
    client: LangGraphClient, http: httpx.AsyncClient
) -> None:
    mark = str(uuid4())
    made = [await client.threads.create(metadata={"mark": mark, "n": n}) for n in range(3)]
    await client.runs.wait(made[0]["thread_id"], "noop", input={"value": [{"x": 1}, {"x": 2}]})
    newest = await client.threads.search(metadata={"mark": mark})
    assert [row["metadata"]["n"] for row in newest] == [0, 2, 1]
    oldest = await client.threads.search(
        metadata={"mark": mark}, sort_by="created_at", sort_order="asc", limit=2
    )
    assert [row["metadata"]["n"] for row in oldest] == [0, 1]
    answer = await http.post(
        "/threads/search",
        json={
            "metadata": {"mark": mark},
            "sort_by": "created_at",
            "sort_order": "asc",
            "limit": 2,
            "select": ["thread_id"],
            "extract": {
                "last": "values.value[-1].x",
                "first": "values.value[0]",
                "n": "metadata.n",
            },
        },
    )
    assert answer.headers["x-pagination-next"] == "2"
    assert answer.headers["x-pagination-total"] == "3"
    assert answer.json() == [
        {"thread_id": made[0]["thread_id"], "extracted": {"last": 2, "first": {"x": 1}, "n": 0}},
        {"thread_id": made[1]["thread_id"], "extracted": {"last": None, "first": None, "n": 1}},
    ]


@pytest.mark.parametrize(
    "extract",
    [
        {"a": "secrets.x"},
        {"a": "values..x"},
        {"a": "values[x]"},
        {"a": ""},
        {"values": "values.x"},
        {f"a{n}": "values.x" for n in range(11)},
    ],
)
async def test_a_senseless_extraction_is_422(
    http: httpx.AsyncClient, extract: dict[str, str]
) -> None:
    answer = await http.post("/threads/search", json={"extract": extract})
    assert answer.status_code == 422 and "extract" in answer.json()["detail"]


async def test_a_copy_has_state_and_metadata_but_no_runs(client: LangGraphClient) -> None:
    thread = await client.threads.create(metadata={"a": 1})
    await client.runs.wait(thread["thread_id"], "approval", input={"question": "q"})
    source = await client.threads.get(thread["thread_id"])
    copied = await client.threads.copy(thread["thread_id"])
    assert copied is not None
    copy = await client.threads.get(copied["thread_id"])
    assert copy["thread_id"] != thread["thread_id"]
    for part in ("metadata", "status", "values", "interrupts"):
        assert copy[part] == source[part]
    assert await client.runs.list(copy["thread_id"]) == []
    states = await client.threads.get_history(copy["thread_id"], limit=20)
    originals = await client.threads.get_history(thread["thread_id"], limit=20)
    assert [state["values"] for state in states] == [state["values"] for state in originals]
    answered = await client.runs.wait(copy["thread_id"], "approval", command={"resume": "yes"})
    assert answered["answer"] == "yes"
    assert (await client.threads.get(thread["thread_id"]))["status"] == "interrupted"


async def test_prune_deletes_or_keeps_the_latest(client: LangGraphClient) -> None:
    kept, gone = await client.threads.create(), await client.threads.create()
    await client.runs.wait(kept["thread_id"], "steps", input={"steps": 3})
    assert len(await client.threads.get_history(kept["thread_id"], limit=20)) > 1
    before = await client.threads.get_state(kept["thread_id"])
    pruned = await client.threads.prune([kept["thread_id"], str(uuid4())], strategy="keep_latest")
    assert pruned == {"pruned_count": 1}
    assert len(await client.threads.get_history(kept["thread_id"], limit=20)) == 1
    assert (await client.threads.get_state(kept["thread_id"]))["values"] == before["values"]
    pruned = await client.threads.prune([gone["thread_id"], str(uuid4())])
    assert pruned == {"pruned_count": 1}
    with pytest.raises(NotFoundError):
        await client.threads.get(gone["thread_id"])
    assert await client.threads.prune([]) == {"pruned_count": 0}


async def test_what_expires_is_told_only_for_threads_that_do(http: httpx.AsyncClient) -> None:
    thread = (await http.post("/threads", json={})).json()
    shown = await http.get(f"/threads/{thread['thread_id']}", params={"include": "ttl"})
    assert shown.json()["ttl"] is None
