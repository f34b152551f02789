"""Run streams, frame by frame and with the unmodified SDK (contract streaming.md 1)."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient

from bedplate.testing.eventually import eventually
from bedplate.testing.sse import Frame, frames_of


async def _stream(
    http: httpx.AsyncClient, path: str, **body: Any
) -> tuple[httpx.Response, list[Frame]]:
    answer = await http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer, frames_of(answer.text)


@pytest.fixture
async def thread(client: LangGraphClient) -> str:
    return (await client.threads.create())["thread_id"]


async def test_a_stream_has_its_headers_its_order_and_just_closes(
    http: httpx.AsyncClient, thread: str
) -> None:
    answer, frames = await _stream(
        http, f"/threads/{thread}/runs/stream", assistant_id="steps", input={"steps": 2},
        stream_mode=["updates", "values"],
    )  # fmt: skip
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    run_id = frames[0].data["run_id"]
    place = f"/threads/{thread}/runs/{run_id}"
    assert answer.headers["content-location"] == place
    assert answer.headers["location"] == f"{place}/stream"
    assert frames[0] == Frame("metadata", {"run_id": run_id, "attempt": 1}, None)
    names = [frame.name for frame in frames[1:]]
    assert names == ["values", "updates", "values", "updates", "values"]
    assert all(frame.id is None for frame in frames)
    assert answer.text.endswith("\r\n\r\n") and "event: end" not in answer.text
    assert (await http.get(place)).json()["status"] == "success"


async def test_ids_are_only_on_resumable_runs_and_grow(
    http: httpx.AsyncClient, thread: str
) -> None:
    _, first = await _stream(
        http, f"/threads/{thread}/runs/stream", assistant_id="steps", input={"steps": 2},
        stream_resumable=True,
    )  # fmt: skip
    _, second = await _stream(
        http, f"/threads/{thread}/runs/stream", assistant_id="noop", input={},
        stream_resumable=True,
    )  # fmt: skip
    numbers = [int(str(frame.id).split("-")[0]) for frame in [*first, *second]]
    assert numbers == sorted(set(numbers)) and None not in numbers


MODES: dict[str, list[str]] = {
    "values": ["values"],
    "updates": ["updates"],
    "custom": ["custom"],
    "debug": ["debug"],
    "tasks": ["tasks"],
    "checkpoints": ["checkpoints"],
    "messages": ["messages/complete", "messages/metadata", "messages/partial"],
    "messages-tuple": ["messages"],
    "events": ["events"],
}


@pytest.mark.parametrize("mode", MODES)
async def test_each_mode_has_its_event_names(
    http: httpx.AsyncClient, thread: str, mode: str
) -> None:
    graph = {"custom": "custom", "messages": "tokens", "messages-tuple": "tokens"}.get(mode, "noop")
    given = {"n": 3} if graph in ("custom", "tokens") else {"value": 1}
    _, frames = await _stream(
        http, f"/threads/{thread}/runs/stream", assistant_id=graph, input=given, stream_mode=mode,
    )  # fmt: skip
    assert frames[0].name == "metadata"
    names = {frame.name for frame in frames[1:]}
    assert names and names <= set(MODES[mode])


async def test_several_modes_interleave(client: LangGraphClient, thread: str) -> None:
    modes: Any = ["values", "updates", "messages-tuple", "custom", "debug", "tasks", "checkpoints"]
    counted = Counter(
        [
            part.event
            async for part in client.runs.stream(
                thread, "tokens", input={"n": 5}, stream_mode=modes
            )
        ]
    )
    assert counted["messages"] == 5
    assert counted["metadata"] == 1 and counted["updates"] == 1 and counted["values"] == 2
    assert counted["debug"] and counted["tasks"] == 2 and counted["checkpoints"]


@pytest.mark.parametrize("mode", [None, []])
async def test_no_mode_means_values(http: httpx.AsyncClient, thread: str, mode: Any) -> None:
    _, frames = await _stream(
        http, f"/threads/{thread}/runs/stream", assistant_id="noop", input={"value": 1},
        stream_mode=mode,
    )  # fmt: skip
    assert {frame.name for frame in frames} == {"metadata", "values"}


async def test_subgraphs_are_named_when_asked_for(http: httpx.AsyncClient, thread: str) -> None:
    body = {"assistant_id": "subgraphs", "input": {"visited": []}, "stream_mode": ["updates"]}
    _, flat = await _stream(http, f"/threads/{thread}/runs/stream", **body)
    assert {frame.name for frame in flat} == {"metadata", "updates"}
    _, nested = await _stream(http, f"/threads/{thread}/runs/stream", **body, stream_subgraphs=True)
    inner = {frame.name for frame in nested} - {"metadata", "updates"}
    assert len(inner) == 1 and inner.pop().startswith("updates|child:")


async def test_an_error_is_the_last_event(http: httpx.AsyncClient, thread: str) -> None:
    _, frames = await _stream(
        http, f"/threads/{thread}/runs/stream", assistant_id="raises", input={"message": "boom"},
        stream_mode="updates",
    )  # fmt: skip
    assert frames[-1] == Frame("error", {"error": "ValueError", "message": "boom"}, None)


async def test_an_interrupt_is_an_update(http: httpx.AsyncClient, thread: str) -> None:
    _, frames = await _stream(
        http, f"/threads/{thread}/runs/stream", assistant_id="approval", input={"question": "q"},
        stream_mode=["updates", "values"],
    )  # fmt: skip
    (interrupt,) = next(
        frame.data["__interrupt__"] for frame in frames if "__interrupt__" in frame.data
    )
    assert interrupt["value"] == {"question": "q"} and interrupt["id"]


async def test_arguments_are_refused_before_the_stream_begins(
    http: httpx.AsyncClient, thread: str
) -> None:
    path = f"/threads/{thread}/runs/stream"
    answer = await http.post(path, json={"assistant_id": "noop", "stream_mode": "lifecycle"})
    assert answer.status_code == 422 and "stream_mode" in answer.json()["detail"]
    missing = await http.post(f"/threads/{uuid4()}/runs/stream", json={"assistant_id": "noop"})
    assert missing.status_code == 404


async def test_silence_is_filled_with_heartbeats(
    http: httpx.AsyncClient, client: LangGraphClient, thread: str
) -> None:
    async with http.stream(
        "POST",
        f"/threads/{thread}/runs/stream",
        json={"assistant_id": "sleeps", "input": {}, "on_disconnect": "cancel"},
    ) as answer:
        seen = ""
        async for text in answer.aiter_text():
            seen += text
            if ": heartbeat\r\n\r\n" in seen:
                break
    assert seen.startswith("event: metadata\r\n")

    async def status() -> str:
        return (await client.runs.list(thread))[0]["status"]

    # Also: the client that asked for it took its run along.
    await eventually(status, equals="interrupted", within_s=10)


async def test_a_stateless_run_streams_and_is_rejoined_where_it_says(
    http: httpx.AsyncClient, client: LangGraphClient
) -> None:
    parts = [part async for part in client.runs.stream(None, "noop", input={"value": 1})]
    assert [part.event for part in parts] == ["metadata", "values"]
    answer, frames = await _stream(
        http, "/runs/stream", assistant_id="noop", input={"value": 1}, stream_resumable=True,
        on_completion="keep",
    )  # fmt: skip
    run_id = frames[0].data["run_id"]
    assert answer.headers["location"] == f"/runs/{run_id}/stream"
    replayed = await http.get(answer.headers["location"], headers={"Last-Event-ID": "-1"})
    assert frames_of(replayed.text) == frames
