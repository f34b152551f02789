"""Crons with the unmodified SDK (contract endpoints.md 6, semantics.md 10)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import BadRequestError, NotFoundError, UnprocessableEntityError

from bedplate.testing.eventually import eventually

EVERY_SECOND = "* * * * * *"
NIGHTLY = "0 3 * * *"
FIELDS = {
    "cron_id", "assistant_id", "thread_id", "on_run_completed", "end_time", "schedule", "timezone",
    "created_at", "updated_at", "payload", "user_id", "next_run_date", "metadata", "enabled",
}  # fmt: skip


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def threads_of(client: LangGraphClient, cron_id: str) -> list[Any]:
    return await client.threads.search(metadata={"cron_id": cron_id}, limit=1000)


async def test_a_cron_is_made_with_all_its_fields(client: LangGraphClient) -> None:
    noop = await client.assistants.get("noop")
    cron = await client.crons.create(
        "noop", schedule=NIGHTLY, timezone="America/New_York", input={"value": 1},
        metadata={"a": 1}, config={"tags": ["t"]}, end_time=datetime(2050, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    assert set(cron) == FIELDS
    assert cron["assistant_id"] == noop["assistant_id"]
    assert (cron["thread_id"], cron["on_run_completed"], cron["enabled"]) == (None, "delete", True)
    assert (cron["schedule"], cron["timezone"]) == (NIGHTLY, "America/New_York")
    assert cron["metadata"] == {"a": 1}
    assert cron["payload"]["input"] == {"value": 1}
    assert cron["cron_id"][14] == "7"
    assert at(cron["end_time"]) == datetime(2050, 1, 1, tzinfo=UTC)
    assert at(cron["next_run_date"]).hour in (7, 8)
    assert at(cron["next_run_date"]).utcoffset() == timedelta()
    (found,) = await client.crons.search(metadata={"a": 1}, limit=1)
    assert found == cron
    await client.crons.delete(cron["cron_id"])


async def test_a_stateless_cron_fires_within_a_second_and_leaves_its_threads_if_told(
    client: LangGraphClient,
) -> None:
    cron = await client.crons.create(
        "noop", schedule="* * * * * */5", input={"value": {"by": "cron"}},
        on_run_completed="keep", metadata={"team": "night"},
    )  # fmt: skip
    try:
        await eventually(lambda: _count(client, cron["cron_id"]), equals=2, within_s=20)
    finally:
        await client.crons.delete(cron["cron_id"])
    threads = await threads_of(client, cron["cron_id"])
    late_s = [at(thread["created_at"]).timestamp() % 5 for thread in threads]
    # A machine that is busy may hold up one of them.
    assert min(late_s) < 1, late_s
    for thread in threads:
        assert thread["metadata"]["graph_id"] == "noop"
        assert thread["metadata"]["assistant_id"] == cron["assistant_id"]
        assert thread["metadata"]["team"] == "night"
        (run,) = await client.runs.list(thread["thread_id"])
        assert run["metadata"]["cron_id"] == cron["cron_id"]
        assert run["kwargs"]["config"]["configurable"]["cron_id"] == cron["cron_id"]
        await client.runs.join(thread["thread_id"], run["run_id"])
        state = await client.threads.get_state(thread["thread_id"])
        assert state["values"] == {"value": {"by": "cron"}}


async def _count(client: LangGraphClient, cron_id: str) -> int:
    return min(2, len(await threads_of(client, cron_id)))


async def test_a_cron_on_a_thread_runs_there_and_marks_only_its_own_runs(
    client: LangGraphClient,
) -> None:
    thread = await client.threads.create()
    cron = await client.crons.create_for_thread(
        thread["thread_id"], "noop", schedule=EVERY_SECOND, input={"value": 1},
        metadata={"team": "night"}, multitask_strategy="enqueue",
    )  # fmt: skip
    assert (cron["thread_id"], cron["on_run_completed"]) == (thread["thread_id"], None)

    async def runs() -> int:
        return min(2, len(await client.runs.list(thread["thread_id"])))

    await eventually(runs, equals=2, within_s=10)
    await client.crons.update(cron["cron_id"], enabled=False)
    assert thread["thread_id"] in {
        found["thread_id"] for found in await threads_of(client, cron["cron_id"])
    }
    by_hand = await client.runs.create(thread["thread_id"], "noop", input={"value": 2})
    assert "cron_id" not in by_hand["metadata"]
    for run in await client.runs.list(thread["thread_id"]):
        if run["run_id"] != by_hand["run_id"]:
            assert run["metadata"]["cron_id"] == cron["cron_id"]
            assert run["metadata"]["team"] == "night"
    await client.threads.delete(thread["thread_id"])
    with pytest.raises(NotFoundError):
        await client.crons.delete(cron["cron_id"])


async def test_a_run_that_fails_leaves_its_cron_going(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    cron = await client.crons.create_for_thread(
        thread["thread_id"], "raises", schedule=EVERY_SECOND, input={}
    )

    async def failed() -> bool:
        found = await client.runs.list(thread["thread_id"], status="error")
        return len(found) >= 2

    await eventually(failed, within_s=10)
    await client.crons.delete(cron["cron_id"])


async def test_an_update_changes_what_it_names_and_when_it_is_due(
    client: LangGraphClient, http: httpx.AsyncClient
) -> None:
    cron = await client.crons.create(
        "noop", schedule=NIGHTLY, input={"value": 1}, metadata={"a": 1, "b": 1},
        end_time=datetime(2050, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    cron_id = cron["cron_id"]
    changed = await client.crons.update(
        cron_id, schedule="0 4 * * *", metadata={"b": 2, "c": 3}, timezone="Asia/Tokyo"
    )
    assert changed["metadata"] == {"a": 1, "b": 2, "c": 3}
    assert changed["payload"]["metadata"] == {"a": 1, "b": 2, "c": 3}
    assert changed["payload"]["input"] == {"value": 1}
    assert (changed["schedule"], changed["timezone"]) == ("0 4 * * *", "Asia/Tokyo")
    assert at(changed["next_run_date"]).hour == 19
    assert at(changed["updated_at"]) > at(cron["updated_at"])
    assert changed["created_at"] == cron["created_at"]
    assert changed["end_time"] == cron["end_time"]

    off = await client.crons.update(cron_id, enabled=False)
    assert (off["enabled"], off["next_run_date"]) == (False, None)
    on = await client.crons.update(cron_id, enabled=True, end_time=None)
    assert at(on["next_run_date"]) > datetime.now(UTC)
    assert on["end_time"] is None

    assert (await http.get(f"/runs/crons/{cron_id}")).json() == on
    empty = await http.patch(f"/runs/crons/{cron_id}", json={})
    assert (empty.status_code, empty.json()["detail"]) == (400, "Request body cannot be empty")
    await client.crons.delete(cron_id)


async def test_concurrent_updates_all_count(
    client: LangGraphClient, http: httpx.AsyncClient
) -> None:
    cron = await client.crons.create("noop", schedule=NIGHTLY)
    await asyncio.gather(
        *(client.crons.update(cron["cron_id"], metadata={str(n): n}) for n in range(3))
    )
    found = (await http.get(f"/runs/crons/{cron['cron_id']}")).json()
    assert found["metadata"] == {"0": 0, "1": 1, "2": 2}
    await client.crons.delete(cron["cron_id"])


async def test_search_and_count_filter_sort_page_and_select(
    client: LangGraphClient, http: httpx.AsyncClient
) -> None:
    mark = str(uuid4())
    thread = await client.threads.create()
    mine = await client.assistants.create("noop")
    first = await client.crons.create("noop", schedule="0 5 * * *", metadata={"mark": mark})
    second = await client.crons.create(
        mine["assistant_id"], schedule="0 4 * * *", metadata={"mark": mark}, enabled=False
    )
    third = await client.crons.create_for_thread(
        thread["thread_id"], "noop", schedule="0 6 1 1 *", metadata={"mark": mark, "deep": {"a": 1}}
    )
    ids = [cron["cron_id"] for cron in (first, second, third)]

    async def found(**asked: Any) -> list[int]:
        asked = {"metadata": {"mark": mark}, **asked}
        return [ids.index(row["cron_id"]) for row in await client.crons.search(**asked)]

    assert await found() == [2, 1, 0]
    assert await found(sort_by="created_at", sort_order="asc") == [0, 1, 2]
    assert (await found(sort_by="next_run_date", sort_order="asc"))[2] == 1
    assert (await found(sort_by="next_run_date", sort_order="desc"))[0] == 2
    assert await found(sort_by="thread_id")  # rows without one come last
    assert (await found(sort_by="thread_id"))[0] == 2
    assert await found(enabled=False) == [1]
    assert await found(assistant_id=mine["assistant_id"]) == [1]
    assert await found(thread_id=thread["thread_id"]) == [2]
    assert await found(metadata={"mark": mark, "deep": {"a": 1}}) == [2]
    assert await found(metadata={"mark": mark, "deep": {"a": 2}}) == []
    assert await client.crons.count(metadata={"mark": mark}) == 3
    assert await client.crons.count(assistant_id=mine["assistant_id"]) == 1
    assert await client.crons.count(thread_id=thread["thread_id"]) == 1

    body: dict[str, Any] = {"metadata": {"mark": mark}, "limit": 2}
    page = await http.post("/runs/crons/search", json=body)
    assert [ids.index(row["cron_id"]) for row in page.json()] == [2, 1]
    assert page.headers["X-Pagination-Next"] == "2"
    assert page.headers["X-Pagination-Total"] == "3"
    last = await http.post("/runs/crons/search", json={**body, "offset": 2})
    assert "X-Pagination-Next" not in last.headers
    assert last.headers["X-Pagination-Total"] == "3"
    (row,) = await client.crons.search(
        metadata={"mark": mark}, limit=1, select=["cron_id", "schedule", "now"]
    )
    assert set(row) == {"cron_id", "schedule", "now"}

    # A cron goes with its assistant.
    await client.assistants.delete(mine["assistant_id"])
    assert await found() == [2, 0]
    await client.threads.delete(thread["thread_id"])
    assert await found() == [0]
    await client.crons.delete(first["cron_id"])


async def test_what_is_not_there_is_404(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    unknown = str(uuid4())
    for asked in (
        client.crons.create(unknown, schedule=NIGHTLY),
        client.crons.create_for_thread(unknown, "noop", schedule=NIGHTLY),
        client.crons.update(unknown, enabled=False),
        client.crons.delete(unknown),
    ):
        with pytest.raises(NotFoundError):
            await asked
    assert (await http.get(f"/runs/crons/{unknown}")).status_code == 404
    assert (await http.get("/runs/crons/seven")).status_code == 422


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("assistant_id", None), ("assistant_id", "nobody"), ("schedule", None), ("schedule", ""),
        ("schedule", "* * * *"), ("schedule", "61 * * * *"), ("schedule", "0 0 30 2 *"),
        ("schedule", 5), ("timezone", "Mars/Olympus"), ("timezone", 1), ("end_time", "soon"),
        ("end_time", 1700000000), ("end_time", "0001-01-01T00:00:00+14:00"), ("enabled", "yes"),
        ("enabled", None), ("on_run_completed", "explode"), ("stream_mode", "songs"),
        ("multitask_strategy", "ignore"), ("webhook", "ftp://example.com"), ("durability", "x"),
        ("metadata", "text"), ("config", []), ("command", {"resume": 1}),
        ("checkpoint_id", str(uuid4())), ("checkpoint", {}), ("after_seconds", 5),
    ],
)  # fmt: skip
async def test_a_wrong_field_is_422_and_named(
    client: LangGraphClient, http: httpx.AsyncClient, field: str, value: Any
) -> None:
    body = {"assistant_id": "noop", "schedule": NIGHTLY, field: value}
    answer = await http.post("/runs/crons", json=body)
    assert answer.status_code == 422, answer.text
    assert field.removesuffix("_id") in answer.json()["detail"]
    cron = await client.crons.create("noop", schedule=NIGHTLY)
    answer = await http.patch(f"/runs/crons/{cron['cron_id']}", json={field: value})
    assert answer.status_code == 422, answer.text
    await client.crons.delete(cron["cron_id"])


async def test_a_field_that_is_missing_is_422_and_named(http: httpx.AsyncClient) -> None:
    for body, field in (({"assistant_id": "noop"}, "schedule"), ({"schedule": NIGHTLY}, "assist")):
        answer = await http.post("/runs/crons", json=body)
        assert answer.status_code == 422
        assert field in answer.json()["detail"]


async def test_configurable_and_context_together_are_400(client: LangGraphClient) -> None:
    with pytest.raises(BadRequestError):
        await client.crons.create(
            "noop", schedule=NIGHTLY, config={"configurable": {"a": 1}}, context={"b": 1}
        )
    with pytest.raises(UnprocessableEntityError):
        await client.crons.search(sort_by="user_id")  # type: ignore[arg-type]


async def test_a_cron_calls_its_webhook_like_any_run(client: LangGraphClient) -> None:
    cron = await client.crons.create(
        "noop", schedule=EVERY_SECOND, input={}, webhook="https://example.invalid/hook",
        on_run_completed="keep",
    )  # fmt: skip
    await eventually(lambda: _has_run(client, cron["cron_id"]), within_s=10)
    await client.crons.delete(cron["cron_id"])
    thread = (await threads_of(client, cron["cron_id"]))[0]
    (run,) = await client.runs.list(thread["thread_id"])
    assert run["kwargs"]["webhook"] == "https://example.invalid/hook"


async def _has_run(client: LangGraphClient, cron_id: str) -> bool:
    return len(await threads_of(client, cron_id)) > 0
