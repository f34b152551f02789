"""Joining a run that streams: from the start, from an id, from now on (contract streaming.md 1)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from bedplate.devstack.stack import Stack
from bedplate.testing.eventually import eventually
from bedplate.testing.sse import Frame, frames_of


@pytest.fixture
async def thread(client: LangGraphClient) -> str:
    return (await client.threads.create())["thread_id"]


async def _resumable(http: httpx.AsyncClient, thread: str, **body: Any) -> tuple[str, list[Frame]]:
    given = {"assistant_id": "steps", "input": {"steps": 3}, "stream_mode": ["values", "updates"]}
    order = {**given, "stream_resumable": True, **body}
    answer = await http.post(f"/threads/{thread}/runs/stream", json=order)
    assert answer.status_code == 200, answer.text
    return answer.headers["location"], frames_of(answer.text)


@pytest.mark.parametrize("start", ["-1", "-", "0", "nonsense"])
async def test_a_replay_from_the_start_has_every_event(
    http: httpx.AsyncClient, thread: str, start: str
) -> None:
    path, frames = await _resumable(http, thread)
    replayed = await http.get(path, headers={"Last-Event-ID": start})
    assert frames_of(replayed.text) == frames


async def test_a_replay_goes_on_after_each_position(http: httpx.AsyncClient, thread: str) -> None:
    path, frames = await _resumable(http, thread)
    for at, frame in enumerate(frames):
        replayed = await http.get(path, headers={"Last-Event-ID": str(frame.id)})
        assert frames_of(replayed.text) == frames[at + 1 :]


async def test_a_replay_can_be_narrowed_but_keeps_metadata_and_error(
    http: httpx.AsyncClient, thread: str
) -> None:
    path, _ = await _resumable(http, thread)
    for params in (
        {"stream_mode": "updates"},
        {"stream_modes": "updates"},
        {"stream_mode": '["updates"]'},
    ):
        replayed = await http.get(path, params=params, headers={"Last-Event-ID": "-1"})
        assert {frame.name for frame in frames_of(replayed.text)} == {"metadata", "updates"}
    failed, _ = await _resumable(http, thread, assistant_id="raises", input={})
    replayed = await http.get(
        failed, params={"stream_mode": "updates"}, headers={"Last-Event-ID": "-1"}
    )
    assert frames_of(replayed.text)[-1].name == "error"
    refused = await http.get(path, params={"stream_mode": "songs"})
    assert refused.status_code == 422


async def test_a_finished_run_without_position_closes_at_once(
    http: httpx.AsyncClient, thread: str
) -> None:
    path, _ = await _resumable(http, thread)
    answer = await http.get(path)
    assert (answer.status_code, answer.content) == (200, b"")
    plain, _ = await _resumable(http, thread, stream_resumable=False)
    answer = await http.get(plain, headers={"Last-Event-ID": "-1"})
    assert (answer.status_code, answer.content) == (200, b"")


async def test_an_unknown_run_is_404(http: httpx.AsyncClient, thread: str) -> None:
    assert (await http.get(f"/threads/{thread}/runs/{uuid4()}/stream")).status_code == 404
    assert (await http.get(f"/runs/{uuid4()}/stream")).status_code == 404


async def _read_until(lines: AsyncIterator[str], wanted: str) -> None:
    async for line in lines:
        if wanted in line:
            return
    raise AssertionError(f"no {wanted} in the stream")


async def test_a_join_without_position_sees_what_comes_from_now_on(
    http: httpx.AsyncClient, client: LangGraphClient, thread: str, tmp_path: Any
) -> None:
    gate = tmp_path / "gate"
    run = await client.runs.create(
        thread, "steps", input={"steps": 4, "gate": str(gate), "gate_at": 3},
        stream_mode=["updates"],
    )  # fmt: skip

    async def steps_done() -> int:
        state: Any = await client.threads.get_state(thread)
        return state["values"].get("count", 0)

    await eventually(steps_done, equals=2, within_s=10)
    path = f"/threads/{thread}/runs/{run['run_id']}/stream"
    async with http.stream("GET", path) as answer:
        gate.touch()
        text = "".join([part async for part in answer.aiter_text()])
    counts = [frame.data["step"]["count"] for frame in frames_of(text)]
    assert counts == [3, 4]


async def test_readers_of_one_run_each_get_the_modes_they_ask_for(
    http: httpx.AsyncClient, client: LangGraphClient, thread: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    run = await client.runs.create(
        thread, "steps", input={"steps": 4, "gate": str(gate), "gate_at": 2},
        stream_mode=["values", "updates", "tasks"], stream_resumable=True,
    )  # fmt: skip
    path = f"/threads/{thread}/runs/{run['run_id']}/stream"
    wanted = [["values"], ["updates"], ["tasks", "updates"], []]

    async def read(modes: list[str]) -> list[Frame]:
        params = {"stream_mode": modes} if modes else {}
        answer = await http.get(path, params=params, headers={"Last-Event-ID": "-1"})
        return frames_of(answer.text)

    async with asyncio.TaskGroup() as group:
        readings = [group.create_task(read(modes)) for modes in wanted]
        gate.touch()
    *some, whole = (reading.result() for reading in readings)
    for modes, frames in zip(wanted, some, strict=False):
        assert frames == [frame for frame in whole if frame.name in {"metadata", *modes}]
        assert {frame.name for frame in frames} == {"metadata", *modes}


async def test_a_client_that_leaves_does_not_stop_its_run(
    http: httpx.AsyncClient, client: LangGraphClient, thread: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    body = {"assistant_id": "steps", "input": {"steps": 2, "gate": str(gate), "gate_at": 1}}
    async with http.stream("POST", f"/threads/{thread}/runs/stream", json=body) as answer:
        run_id = answer.headers["content-location"].rsplit("/", 1)[-1]
    gate.touch()
    assert (await client.runs.join(thread, run_id))["log"] == [1, 2]
    assert (await client.runs.get(thread, run_id))["status"] == "success"


async def test_a_dropped_stream_is_taken_up_without_a_hole(
    http: httpx.AsyncClient, thread: str
) -> None:
    body = {
        "assistant_id": "tokens", "input": {"n": 60, "pause_s": 0.01},
        "stream_mode": ["messages-tuple"], "stream_resumable": True,
    }  # fmt: skip
    text = ""
    async with http.stream("POST", f"/threads/{thread}/runs/stream", json=body) as answer:
        location = answer.headers["location"]
        async for part in answer.aiter_text():
            text += part
            if text.count("event: messages") >= 10:
                break
    whole = text[: text.rindex("\r\n\r\n") + 4]
    before = frames_of(whole)
    rest = await http.get(location, headers={"Last-Event-ID": str(before[-1].id)})
    tokens = [
        frame.data[0]["content"]
        for frame in [*before, *frames_of(rest.text)]
        if frame.name == "messages"
    ]
    assert tokens == [f"t{number} " for number in range(60)]


async def test_the_sdk_joins_with_a_position(client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(
        thread, "steps", input={"steps": 2}, stream_mode=["values"], stream_resumable=True
    )
    parts = [
        part async for part in client.runs.join_stream(thread, run["run_id"], last_event_id="-1")
    ]
    assert parts[0].event == "metadata"
    assert parts[-1].data["log"] == [1, 2]


async def test_a_joining_client_that_leaves_can_stop_the_run(
    http: httpx.AsyncClient, client: LangGraphClient, thread: str
) -> None:
    run = await client.runs.create(thread, "sleeps", input={})

    async def status() -> str:
        return (await client.runs.get(thread, run["run_id"]))["status"]

    await eventually(status, equals="running", within_s=10)
    path = f"/threads/{thread}/runs/{run['run_id']}/stream"
    async with http.stream("GET", path, params={"cancel_on_disconnect": "true"}):
        pass
    await eventually(status, equals="interrupted", within_s=10)


async def test_a_cancelled_stream_closes_without_an_error(
    http: httpx.AsyncClient, client: LangGraphClient, thread: str
) -> None:
    body = {"assistant_id": "sleeps", "input": {}}
    async with http.stream("POST", f"/threads/{thread}/runs/stream", json=body) as answer:
        lines = answer.aiter_lines()
        await _read_until(lines, "metadata")
        run_id = answer.headers["content-location"].rsplit("/", 1)[-1]
        await client.runs.cancel(thread, run_id)
        rest = [line async for line in lines]
    assert not any("event: error" in line for line in rest)


async def test_a_gateway_that_restarts_costs_its_clients_nothing(
    stack: Stack, client: LangGraphClient
) -> None:
    """The SDK takes up its stream by itself, without a hole and without a double; also when the run
    is over before the gateway is back."""

    async def restarted(thread_id: str) -> None:
        assert await asyncio.to_thread(stack.stop_service, "gateway", replica=2) == 0

        async def status() -> str:
            return (await client.runs.list(thread_id))[0]["status"]

        await eventually(status, equals="success", within_s=30)
        await asyncio.to_thread(stack.start_service, "gateway", replica=2)

    await asyncio.to_thread(stack.start_service, "gateway", replica=2)
    try:
        async with get_client(url=stack.url_of("gateway", replica=2)) as second:
            thread = (await second.threads.create())["thread_id"]
            tokens: list[str] = []
            restart: asyncio.Task[None] | None = None
            async for part in second.runs.stream(
                thread, "tokens", input={"n": 60, "pause_s": 0.02},
                stream_mode="messages-tuple", stream_resumable=True,
            ):  # fmt: skip
                if part.event == "messages":
                    tokens.append(part.data[0]["content"])
                if len(tokens) == 10 and restart is None:
                    restart = asyncio.create_task(restarted(thread))
            assert restart is not None
            await restart
            assert tokens == [f"t{number} " for number in range(60)]
    finally:
        await asyncio.to_thread(stack.stop_service, "gateway", replica=2)


async def test_two_gateways_show_the_same_event_under_the_same_id(
    stack: Stack, http: httpx.AsyncClient, thread: str
) -> None:
    path, frames = await _resumable(http, thread)
    await asyncio.to_thread(stack.start_service, "gateway", replica=2)
    try:
        base_url = stack.url_of("gateway", replica=2)
        async with httpx.AsyncClient(base_url=base_url) as other:
            replayed = await other.get(path, headers={"Last-Event-ID": str(frames[2].id)})
            assert frames_of(replayed.text) == frames[3:]
    finally:
        await asyncio.to_thread(stack.stop_service, "gateway", replica=2)


async def test_a_client_that_does_not_read_costs_little_and_loses_nothing(
    stack: Stack, client: LangGraphClient, http: httpx.AsyncClient, thread: str
) -> None:
    n = 100_000
    before_kib = _memory_kib(stack)
    run = await client.runs.create(
        thread, "custom", input={"n": n}, stream_mode=["custom"], stream_resumable=True
    )
    path = f"/threads/{thread}/runs/{run['run_id']}/stream"
    stalled = [await _unread(http.base_url, path) for _ in range(5)]
    await client.runs.join(thread, run["run_id"])
    # All of it is there, and nobody has read more than a socket holds.
    assert _memory_kib(stack) - before_kib < 80 * 1024
    reader, _ = stalled[0]
    text = (await reader.read()).decode()
    numbers = [int(part.split(",")[0]) for part in text.split('data: {"step":')[1:]]
    assert numbers == list(range(1, n + 1))
    for _, writer in stalled:
        writer.close()


def _memory_kib(stack: Stack) -> int:
    status = Path(f"/proc/{stack.pids('gateway')[0]}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


async def _unread(url: httpx.URL, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request for a whole stream, by somebody who does not read the answer yet."""
    reader, writer = await asyncio.open_connection(url.host, url.port, limit=2**16)
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nLast-Event-ID: -1\r\n\r\n"
    writer.write(head.encode())
    await writer.drain()
    return reader, writer
