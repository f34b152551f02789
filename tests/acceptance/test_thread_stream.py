"""One stream over all runs of a thread (contract streaming.md 2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient

from bedplate.testing.sse import Frame, frames_from

PATIENCE_S = 20
FROM_START = {"Last-Event-ID": "-"}


@pytest.fixture
async def thread(client: LangGraphClient) -> str:
    return (await client.threads.create())["thread_id"]


def is_done(frame: Frame) -> bool:
    return frame.name == "metadata" and frame.data.get("status") == "run_done"


@asynccontextmanager
async def joined(
    http: httpx.AsyncClient, thread: str, headers: Any = None, **query: Any
) -> AsyncGenerator[AsyncIterator[Frame]]:
    path = f"/threads/{thread}/stream"
    async with http.stream("GET", path, params=query, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        yield frames_from(answer)


async def up_to_done(frames: AsyncIterator[Frame], *, runs: int = 1) -> list[Frame]:
    seen: list[Frame] = []
    async with asyncio.timeout(PATIENCE_S):
        async for frame in frames:
            seen.append(frame)
            runs -= is_done(frame)
            if runs == 0:
                return seen
    raise AssertionError("the stream ended")


async def run(client: LangGraphClient, thread: str, graph: str, **more: Any) -> str:
    more.setdefault("input", {})
    more.setdefault("stream_resumable", True)
    return (await client.runs.create(thread, graph, **more))["run_id"]


async def test_follow_ups_and_resumed_runs_come_in_one_stream(
    http: httpx.AsyncClient, client: LangGraphClient, thread: str
) -> None:
    async with joined(http, thread) as frames:
        first = await run(client, thread, "approval", stream_mode=["updates"])
        seen = await up_to_done(frames)
        second = await run(client, thread, "approval", command={"resume": "yes"}, input=None)
        third = await run(client, thread, "noop")
        seen += await up_to_done(frames, runs=2)
    starts = [frame.data for frame in seen if frame.name == "metadata" and not is_done(frame)]
    assert [start["run_id"] for start in starts] == [first, second, third]
    assert [frame.data["run_id"] for frame in seen if is_done(frame)] == [first, second, third]
    assert seen[1].name == "updates" and "__interrupt__" in seen[1].data
    assert any(frame.name == "values" and frame.data.get("answer") == "yes" for frame in seen)
    numbers = [int((frame.id or "").split("-")[0]) for frame in seen]
    assert numbers == sorted(set(numbers))


async def test_a_stream_begins_with_what_comes_and_replays_only_when_asked(
    http: httpx.AsyncClient, client: LangGraphClient, thread: str
) -> None:
    first = await run(client, thread, "noop")
    await client.runs.join(thread, first)
    not_kept = await run(client, thread, "noop", stream_resumable=False)
    await client.runs.join(thread, not_kept)
    async with joined(http, thread) as new, joined(http, thread, FROM_START) as all_:
        last = await run(client, thread, "noop", stream_resumable=False)
        assert {frame.data["run_id"] for frame in await up_to_done(new) if is_done(frame)} == {last}
        done = [frame for frame in await up_to_done(all_, runs=2) if is_done(frame)]
        assert [frame.data["run_id"] for frame in done] == [first, last]


async def test_a_client_that_reconnects_sees_every_event_once(
    http: httpx.AsyncClient, client: LangGraphClient, thread: str
) -> None:
    async with joined(http, thread) as frames:
        for _ in range(3):
            await run(client, thread, "custom", input={"n": 5}, stream_mode=["custom", "values"])
        whole = await up_to_done(frames, runs=3)
    seen: list[Frame] = []
    while len(seen) < len(whole):
        position = {"Last-Event-ID": seen[-1].id if seen else "-"}
        async with joined(http, thread, position) as frames, asyncio.timeout(PATIENCE_S):
            async for frame in frames:
                seen.append(frame)
                if len(seen) % 4 == 0 or len(seen) == len(whole):
                    break
    assert seen == whole


async def test_modes_choose_what_is_told(
    http: httpx.AsyncClient, client: LangGraphClient, thread: str
) -> None:
    async with (
        joined(http, thread, stream_mode="lifecycle") as lives,
        joined(http, thread, stream_modes="state_update") as states,
        joined(http, thread, stream_modes="run_modes,state_update") as both,
    ):
        made = await run(client, thread, "approval", input={"question": "a"})
        told = await up_to_done(lives)
        assert [frame.name for frame in told] == ["metadata", "metadata"]
        assert told[0].data == {"run_id": made, "attempt": 1}
        assert told[1].data == {"status": "run_done", "run_id": made}
        await up_to_done(both)
        await client.threads.update_state(thread, {"question": "b"})
        for frames in (states, both):
            async with asyncio.timeout(PATIENCE_S):
                frame = await anext(frames)
            assert frame.name == "state_update"
            assert frame.data["thread_id"] == thread
            assert frame.data["state"]["values"]["question"] == "b"


async def test_runs_of_the_protocol_show_their_root_values_here(
    http: httpx.AsyncClient, thread: str
) -> None:
    async with joined(http, thread) as frames:
        params = {"assistant_id": "noop", "input": {"value": 1}}
        body = {"id": 1, "method": "run.start", "params": params}
        assert (await http.post(f"/threads/{thread}/commands", json=body)).status_code == 200
        names = [frame.name for frame in await up_to_done(frames)]
    assert names[0] == names[-1] == "metadata" and set(names[1:-1]) == {"values"}


async def test_the_sdk_joins_a_thread(client: LangGraphClient, thread: str) -> None:
    parts: list[Any] = []

    async def read() -> None:
        stream = await client.threads.join_stream(
            thread, last_event_id="-", stream_mode="run_modes"
        )
        async for part in stream:
            parts.append(part)
            if part.event == "metadata" and part.data.get("status") == "run_done":
                return

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        group.create_task(read())
        made = await run(client, thread, "noop")
    assert parts[0].data["run_id"] == parts[-1].data["run_id"] == made


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ({"stream_modes": "nope"}, {}),
        ({"stream_mode": "run_modes,values"}, {}),
        ({}, {"Last-Event-ID": "nonsense"}),
        ({}, {"Last-Event-ID": "1-2-3"}),
    ],
)
async def test_what_is_wrong_is_422(
    http: httpx.AsyncClient, thread: str, query: Any, headers: Any
) -> None:
    answer = await http.get(f"/threads/{thread}/stream", params=query, headers=headers)
    assert answer.status_code == 422


async def test_a_thread_that_is_not_there_is_404(http: httpx.AsyncClient) -> None:
    assert (await http.get(f"/threads/{uuid4()}/stream")).status_code == 404
    assert (await http.get("/threads/x/stream")).status_code == 422


async def test_a_stream_ends_with_its_thread(
    http: httpx.AsyncClient, client: LangGraphClient, thread: str
) -> None:
    async with joined(http, thread) as frames:
        await client.threads.delete(thread)
        async with asyncio.timeout(PATIENCE_S):
            assert [frame async for frame in frames] == []


async def test_the_runs_of_a_cron_are_told_like_any_other(
    http: httpx.AsyncClient, client: LangGraphClient, thread: str
) -> None:
    async with joined(http, thread) as frames:
        cron: Any = await client.crons.create_for_thread(
            thread, "noop", schedule="* * * * * *", input={"value": 7}
        )
        try:
            seen = await up_to_done(frames, runs=2)
        finally:
            await client.crons.delete(cron["cron_id"])
    values = [frame.data for frame in seen if frame.name == "values"]
    assert len(values) >= 2 and all(each["value"] == 7 for each in values)
    told = {frame.data["run_id"] for frame in seen if is_done(frame)}
    runs: Any = await client.runs.list(thread)
    assert told <= {run["run_id"] for run in runs if run["metadata"]["cron_id"] == cron["cron_id"]}
    assert len(told) == 2
