"""What readers are told of a thread whose events are no longer kept."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from websockets.asyncio.client import connect

from bedplate.bus.broker import Bus
from bedplate.devstack.stack import Stack
from bedplate.testing import protocol
from bedplate.testing.eventually import eventually
from bedplate.testing.sse import frames_of
from bedplate_proto.subjects import RunAddress

# -- runs


@pytest.fixture
async def thread(http: httpx.AsyncClient) -> str:
    return (await http.post("/threads", json={})).json()["thread_id"]


async def finished(http: httpx.AsyncClient, thread: str, graph: str, given: Any) -> tuple[str, str]:
    """The path of a resumable run that is over, and the id of its last event."""
    order = {"assistant_id": graph, "input": given, "stream_resumable": True}
    answer = await http.post(f"/threads/{thread}/runs/stream", json=order)
    return answer.headers["content-location"], str(frames_of(answer.text)[-1][2])


@pytest.mark.parametrize("start_at", ["-1", "-", "0"])
async def test_a_join_from_the_start_gets_the_final_values_and_ends(
    http: httpx.AsyncClient, stack: Stack, thread: str, start_at: str
) -> None:
    path, _ = await finished(http, thread, "steps", {"steps": 2})
    await protocol.forget(stack, thread)
    answer = await http.get(f"{path}/stream", headers={"Last-Event-ID": start_at})
    (metadata, values) = frames_of(answer.text)
    run = path.rsplit("/", 1)[-1]
    assert metadata == ("metadata", {"run_id": run, "attempt": 1}, None)
    assert (values[0], values[1]["log"]) == ("values", [1, 2])
    narrowed = await http.get(
        f"{path}/stream", params={"stream_mode": "updates"}, headers={"Last-Event-ID": start_at}
    )
    assert frames_of(narrowed.text) == [metadata]


async def test_a_join_from_a_position_gets_what_it_has_not_seen(
    http: httpx.AsyncClient, stack: Stack, thread: str
) -> None:
    path, last = await finished(http, thread, "steps", {"steps": 2})
    await protocol.forget(stack, thread)
    early = await http.get(f"{path}/stream", headers={"Last-Event-ID": "2-7"})
    assert [name for name, _, _ in frames_of(early.text)] == ["values"]
    late = await http.get(f"{path}/stream", headers={"Last-Event-ID": last})
    assert (late.status_code, late.content) == (200, b"")


async def test_a_join_of_a_failed_run_gets_its_error(
    http: httpx.AsyncClient, stack: Stack, thread: str
) -> None:
    path, _ = await finished(http, thread, "raises", {"message": "boom"})
    await protocol.forget(stack, thread)
    answer = await http.get(f"{path}/stream", headers={"Last-Event-ID": "-1"})
    assert frames_of(answer.text)[-1][:2] == ("error", {"error": "ValueError", "message": "boom"})
    waited = await http.get(f"{path}/join")
    assert waited.json() == {"__error__": {"error": "ValueError", "message": "boom"}}


async def test_a_run_that_was_not_the_last_has_its_own_values(
    http: httpx.AsyncClient, stack: Stack, thread: str
) -> None:
    first, _ = await finished(http, thread, "steps", {"steps": 1})
    second, _ = await finished(http, thread, "steps", {"steps": 2})
    await protocol.forget(stack, thread)
    logs = []
    for path in (first, second):
        answer = await http.get(f"{path}/stream", headers={"Last-Event-ID": "-1"})
        streamed = frames_of(answer.text)[-1][1]
        assert (await http.get(f"{path}/join")).json() == streamed
        logs.append(streamed["log"])
    assert logs[0] == [1] and len(logs[1]) > 1


# -- the thread stream


async def up_to_done(http: httpx.AsyncClient, thread: str, last_event_id: str) -> list[Any]:
    text = ""
    headers = {"Last-Event-ID": last_event_id}
    async with (
        http.stream("GET", f"/threads/{thread}/stream", headers=headers) as answer,
        asyncio.timeout(protocol.PATIENCE_S),
    ):
        async for part in answer.aiter_text():
            text += part
            if "run_done" in text and text.endswith("\r\n\r\n"):
                return frames_of(text)
    raise AssertionError("the stream ended")


async def test_the_thread_stream_tells_values_and_end_of_the_last_run(
    http: httpx.AsyncClient, stack: Stack, thread: str
) -> None:
    await finished(http, thread, "steps", {"steps": 1})
    path, last = await finished(http, thread, "steps", {"steps": 2})
    run = path.rsplit("/", 1)[-1]
    await protocol.forget(stack, thread)
    for position in ("-", "2-7"):
        values, done = await up_to_done(http, thread, position)
        assert values[0] == "values" and values[1]["log"]
        assert done[:2] == ("metadata", {"status": "run_done", "run_id": run})
    # What the client has seen is not told again: neither values, nor the end.
    assert await up_to_done(http, thread, last) == [done]
    async with (
        http.stream(
            "GET", f"/threads/{thread}/stream", headers={"Last-Event-ID": str(done[2])}
        ) as answer,
        asyncio.timeout(protocol.PATIENCE_S),
    ):
        assert await anext(answer.aiter_lines()) == ": heartbeat"


async def test_a_thread_stream_from_now_on_tells_nothing_of_the_past(
    http: httpx.AsyncClient, stack: Stack, thread: str
) -> None:
    await finished(http, thread, "steps", {"steps": 1})
    await protocol.forget(stack, thread)
    async with (
        http.stream("GET", f"/threads/{thread}/stream") as answer,
        asyncio.timeout(protocol.PATIENCE_S),
    ):
        await finished(http, thread, "noop", {})
        lines = answer.aiter_lines()
        assert await anext(lines) == "event: metadata"
        assert '"attempt":1' in await anext(lines)


# -- the event-streaming protocol


async def test_the_end_told_from_the_row_is_the_end_that_was_stored(
    http: httpx.AsyncClient, stack: Stack
) -> None:
    thread = str(uuid4())
    for graph in ("noop", "raises"):
        await protocol.start(http, thread, graph, {})
    whole = await protocol.history(http, thread, runs=2)
    await protocol.forget(stack, thread)
    assert (await protocol.history(http, thread))[-1] == whole[-1]


async def test_a_thread_past_retention_shows_its_state_and_how_it_ended(
    http: httpx.AsyncClient, stack: Stack, rows: Any
) -> None:
    thread = str(uuid4())
    run = await protocol.start(http, thread, "approval", {"question": "still?"})
    whole = await protocol.history(http, thread)

    async def is_over() -> bool:
        row = await rows.fetchrow("SELECT status FROM threads WHERE thread_id = $1", thread)
        return row["status"] == "interrupted"

    await eventually(is_over, within_s=protocol.PATIENCE_S)
    await protocol.forget(stack, thread)
    shown = await protocol.history(http, thread)
    assert protocol.methods(shown) == ["input.requested", "values", "lifecycle"]
    assert shown[-1] == whole[-1]
    assert shown[-1]["event_id"] == f"synth:{run}:lc||interrupted"
    assert await protocol.history(http, thread) == shown
    # Whoever was cut off before the end, or has seen all but the end, is told of the end alone.
    assert await protocol.history(http, thread, since=shown[-2]["seq"]) == shown[-1:]
    async with connect(protocol.address(stack.url, thread)) as socket:
        answer, _ = await protocol.ask(
            socket, "subscription.reconnect", channels=protocol.ALL, since=1
        )
        assert answer["type"] == "error"
        assert (answer["since"], answer["min_available_seq"]) == (1, whole[-1]["seq"] + 1)
    one = shown[0]["params"]["data"]["interrupt_id"]
    async with protocol.opened(http, thread, since=shown[-1]["seq"]) as events:
        answer = await protocol.command(
            http, thread, "input.respond", interrupt_id=one, response="yes"
        )
        assert answer["type"] == "success"
        assert protocol.state_of((await protocol.up_to_end(events))[-1]) == "completed"


async def test_a_run_that_waited_is_told_so_although_its_end_is_lost_and_its_thread_went_on(
    http: httpx.AsyncClient, stack: Stack, thread: str
) -> None:
    """As when its worker dies between the row and the event."""
    run = await protocol.start(http, thread, "approval", {"question": "q"})
    await protocol.history(http, thread)
    async with Bus(stack.endpoints.nats_url, client_name="test") as bus:
        jetstream = bus.client.jetstream()
        subject = RunAddress("default", UUID(thread), UUID(run)).stored(bus.prefix)
        end = await jetstream.get_last_msg("RUN_EVENTS", subject)
        assert end.seq is not None and b'"event":"end"' in (end.data or b"")
        await jetstream.delete_msg("RUN_EVENTS", end.seq)
    done = await http.post(
        f"/threads/{thread}/runs/wait",
        json={"assistant_id": "approval", "command": {"resume": "yes"}},
    )
    assert done.json()["answer"] == "yes"
    states = [protocol.state_of(event) for event in await protocol.history(http, thread, runs=2)]
    assert [state for state in states if state in ("interrupted", "completed")] == [
        "interrupted",
        "completed",
    ]
