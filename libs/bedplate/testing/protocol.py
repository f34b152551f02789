"""A client of the event-streaming protocol, for tests: plain HTTP and websockets, every event as it
came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import orjson
from websockets.asyncio.client import ClientConnection

from bedplate.bus.broker import Bus
from bedplate.devstack.stack import Stack
from bedplate_proto.subjects import ThreadAddress

from .sse import frames_from

ALL = [
    *("values", "updates", "checkpoints", "messages", "tools", "lifecycle", "input", "tasks"),
    "custom",
]
PATIENCE_S = 20
TERMINAL = ("completed", "failed", "interrupted")


async def command(http: httpx.AsyncClient, thread: str, method: str, **params: Any) -> Any:
    body = {"id": 7, "method": method, "params": params}
    answer = await http.post(f"/threads/{thread}/commands", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["id"] == 7
    return answer.json()


async def start(http: httpx.AsyncClient, thread: str, graph: str, given: Any, **more: Any) -> str:
    answer = await command(http, thread, "run.start", assistant_id=graph, input=given, **more)
    assert answer["type"] == "success", answer
    return answer["result"]["run_id"]


@asynccontextmanager
async def opened(
    http: httpx.AsyncClient, thread: str, headers: Any = None, **body: Any
) -> AsyncGenerator[AsyncIterator[Any]]:
    body.setdefault("channels", ALL)
    path = f"/threads/{thread}/stream/events"
    async with http.stream("POST", path, json=body, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        yield events_of(answer)


async def events_of(answer: httpx.Response) -> AsyncGenerator[Any]:
    async for frame in frames_from(answer):
        event = frame.data
        assert (frame.name, int(frame.id or 0)) == (event["method"], event["seq"])
        yield event


def state_of(event: Any) -> str | None:
    is_root = event["method"] == "lifecycle" and event["params"]["namespace"] == []
    return event["params"]["data"]["event"] if is_root else None


async def up_to_end(events: AsyncIterator[Any], *, runs: int = 1) -> list[Any]:
    """Events up to so many terminal lifecycles of the root."""
    seen: list[Any] = []
    async with asyncio.timeout(PATIENCE_S):
        async for event in events:
            seen.append(event)
            runs -= state_of(event) in TERMINAL
            if runs == 0:
                return seen
    raise AssertionError("the stream ended")


async def history(http: httpx.AsyncClient, thread: str, *, runs: int = 1, **body: Any) -> list[Any]:
    async with opened(http, thread, **body) as events:
        return await up_to_end(events, runs=runs)


def methods(events: Sequence[Any]) -> list[str]:
    return [event["method"] for event in events]


def address(url: str, thread: str) -> str:
    return f"{url.replace('http', 'ws', 1)}/threads/{thread}/stream/events"


async def ask(socket: ClientConnection, method: str, number: int = 1, **params: Any) -> Any:
    """The answer, and what came before it."""
    await socket.send(orjson.dumps({"id": number, "method": method, "params": params}).decode())
    before: list[Any] = []
    async with asyncio.timeout(PATIENCE_S):
        while (frame := orjson.loads(await socket.recv()))["type"] == "event":
            before.append(frame)
    return frame, before


async def forget(stack: Stack, thread: str) -> None:
    """What retention does."""
    async with Bus(stack.endpoints.nats_url, client_name="test") as bus:
        subject = ThreadAddress("default", UUID(thread)).stored(bus.prefix)
        await bus.client.jetstream().purge_stream("RUN_EVENTS", subject=subject)
