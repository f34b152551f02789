"""A client that does not read costs the gateway a bounded buffer, then its connection; it goes on
from where it was."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import orjson
import pytest

from bedplate.bus.broker import Bus
from bedplate.bus.event_line import line_of
from bedplate.devstack.stack import Stack
from bedplate.testing.eventually import eventually
from bedplate_proto.subjects import RunAddress

REPLICA = 50
MIB = 1024 * 1024
STALLED_S = 3.0
EVENTS = 500
EVENT_BYTES = 100_000
CLIENTS = 4
# Fifty megabytes wait for each; it may hold its buffer, one read of the stream, and what is written
# to the socket, about a megabyte each.
GROWTH_MAX = 30 * MIB


@pytest.fixture(scope="module")
def small(stack: Stack) -> Iterator[Stack]:
    """One more gateway, which nobody else uses."""
    env = {"BEDPLATE_GATEWAY_STALLED_S": str(STALLED_S)}
    stack.start_service("gateway", replica=REPLICA, env=env)
    yield stack
    stack.stop_service("gateway", replica=REPLICA)


@pytest.fixture
def url(small: Stack) -> str:
    return small.url_of("gateway", replica=REPLICA)


@pytest.fixture
async def bus(small: Stack) -> AsyncIterator[Bus]:
    async with Bus(small.endpoints.nats_url, client_name="test") as opened:
        yield opened


def resident_bytes(stack: Stack) -> int:
    status = Path(f"/proc/{stack.pids('gateway', replica=REPLICA)[0]}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def stalled(url: str, thread: UUID, *, websocket: bool) -> socket.socket:
    """A client that asks for everything and then reads nothing."""
    host, port = url.removeprefix("http://").split(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    client.connect((host, int(port)))
    path = f"/threads/{thread}/stream/events"
    body = orjson.dumps({"channels": ["messages"]})
    if not websocket:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        return client
    head = (
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    client.sendall(head.encode())
    assert b"101" in client.recv(4096)
    order = {"id": 1, "method": "subscription.subscribe", "params": orjson.loads(body)}
    text = orjson.dumps(order)
    assert len(text) < 126
    # Masked with zeros: a client must mask, and this mask changes nothing.
    client.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
    return client


async def write(bus: Bus, address: RunAddress, *, each: Callable[[], None] = lambda: None) -> None:
    """Fifty megabytes of events."""
    data = {"event": "content-block-delta", "index": 0, "delta": {"text": "x" * EVENT_BYTES}}
    params = {"namespace": [], "timestamp": 1, "data": data}
    line = orjson.dumps({"method": "messages", "params": params})
    for n in range(1, EVENTS + 1):
        body = line_of(n, 1, "v2", line)
        await bus.client.request(address.stored(bus.prefix), body, timeout=10)
        each()


@pytest.mark.parametrize("websocket", [False, True], ids=["sse", "websocket"])
async def test_clients_that_stall_are_bounded_and_then_let_go(
    small: Stack, url: str, bus: Bus, websocket: bool
) -> None:
    address = RunAddress("default", uuid4(), uuid4())
    # Once, so that what the process needs for the work itself is there.
    await write(bus, RunAddress("default", uuid4(), uuid4()))
    before = resident_bytes(small)
    clients = [stalled(url, address.thread_id, websocket=websocket) for _ in range(CLIENTS)]
    most = [before]

    async def are_gone() -> bool:
        most.append(resident_bytes(small))
        return await followed(small) == 0

    await write(bus, address, each=lambda: most.append(resident_bytes(small)))
    await eventually(are_gone, within_s=STALLED_S * 10)
    for client in clients:
        client.close()
    growth = max(most) - before
    print(f"{growth / MIB:.1f} MiB more for {CLIENTS} clients")
    assert growth < GROWTH_MAX


async def followed(stack: Stack) -> int:
    async with httpx.AsyncClient() as http:
        text = (await http.get(f"{stack.ops_url('gateway', replica=REPLICA)}/metrics")).text
    lines = [line for line in text.splitlines() if "runs_followed" in line and line[0] != "#"]
    return int(float(lines[0].split()[-1]))


async def test_a_client_that_was_let_go_goes_on_where_it_was(url: str, bus: Bus) -> None:
    address = RunAddress("default", uuid4(), uuid4())
    await write(bus, address)
    seen: list[int] = []
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        while len(seen) < EVENTS:
            since = seen[-1] if seen else 0
            seen += await _some(http, address.thread_id, since=since, count=150)
    assert seen == list(range(1, EVENTS + 1))


async def _some(http: httpx.AsyncClient, thread: UUID, *, since: int, count: int) -> list[int]:
    found: list[int] = []
    body: Any = {"channels": ["messages"], "since": since}
    async with http.stream("POST", f"/threads/{thread}/stream/events", json=body) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                found.append(int(line[4:]))
                if len(found) == count or found[-1] == EVENTS:
                    break
    return found
