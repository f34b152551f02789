"""Streams under fire: readers that leave and return anywhere, and a broker that dies meanwhile.

Twenty runs stream tokens; ten readers each follow a run by its documented address and rule: join
with the last id seen, read until the connection closes, ask whether the run is over, else join
again. Each drops its connection five times at places drawn from a seed, comes back to either of two
gateways, and NATS is killed twice. Readers are raw sockets: two hundred of an HTTP library's
clients would measure that library.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from asyncio import IncompleteReadError, StreamReader
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import pytest
from langgraph_sdk import get_client

from bedplate.devstack.stack import Stack
from bedplate.testing.eventually import eventually

RUNS = 20
READERS_PER_RUN = 10
RECONNECTS = 5
TOKENS = 300
PAUSE_S = 0.06
# `metadata`, the tokens, and `values` before and after.
FRAMES = TOKENS + 3
LIMIT_S = 80.0
# NATS dies when this share of all frames has been read, and once more.
KILLS_AT = (0.2, 0.6)
GONE = (ConnectionError, IncompleteReadError)


@pytest.fixture
def rng() -> Random:
    """`SEED` in the environment repeats the readers' draws of a failure."""
    seed = int(os.environ.get("SEED") or Random().getrandbits(32))
    print(f"SEED={seed}")
    return Random(seed)


@dataclass(frozen=True)
class Frame:
    name: str
    data: str
    id: str

    @property
    def position(self) -> tuple[int, int]:
        number, _, sequence = self.id.partition("-")
        return int(number), int(sequence)


@dataclass
class Crowd:
    """What all readers have seen together, so that the broker dies in the middle of it."""

    seen: int = 0
    drops: int = 0
    losses: int = 0
    refusals: int = 0


@dataclass
class Reader:
    """One client of one run: where it is, and when it will leave."""

    place: str
    gateways: list[tuple[str, int]]
    cuts: list[int]
    rng: Random
    crowd: Crowd
    frames: list[Frame] = field(default_factory=list[Frame])

    async def read(self) -> None:
        """Until the stream has closed and the run is over."""
        while True:
            gateway = self.rng.choice(self.gateways)
            try:
                if await self._follow(gateway) and await self._is_over(gateway):
                    return
            except GONE:
                self.crowd.losses += 1
                await eventually(lambda gateway=gateway: _serves(gateway), within_s=20, every_s=0.2)

    async def _follow(self, gateway: tuple[str, int]) -> bool:
        """Read from one connection; whether it was the server that closed it, in good order."""
        last = self.frames[-1].id if self.frames else "-1"
        path = f"{self.place}/stream?stream_mode=messages-tuple&stream_mode=values"
        async with _get(gateway, path, {"Last-Event-ID": last}) as (status, chunks):
            if status != 200:
                self.crowd.refusals += 1
                raise ConnectionRefusedError(status)
            async for frame in _frames(chunks):
                self.frames.append(frame)
                self.crowd.seen += 1
                if self.cuts and len(self.frames) >= self.cuts[0]:
                    self.cuts.pop(0)
                    self.crowd.drops += 1
                    return False
        return True

    async def _is_over(self, gateway: tuple[str, int]) -> bool:
        async with _get(gateway, self.place, {}) as (status, chunks):
            body = b"".join([chunk async for chunk in chunks])
        if status != 200:
            raise ConnectionRefusedError(status)
        return json.loads(body)["status"] not in ("pending", "running")


async def _serves(gateway: tuple[str, int]) -> bool:
    async with _get(gateway, "/ok", {}) as (status, _):
        return status == 200


@asynccontextmanager
async def _get(
    gateway: tuple[str, int], path: str, headers: dict[str, str]
) -> AsyncGenerator[tuple[int, AsyncGenerator[bytes]]]:
    """Status and body of a GET on a connection of its own; leaving it early drops that."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(*gateway)
    try:
        told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {gateway[0]}\r\n{told}\r\n".encode())
        async with asyncio.timeout(20):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        chunks = _body(reader, head)
        async with contextlib.aclosing(chunks):
            yield int(head.split(" ", 2)[1]), chunks
    finally:
        # Not closed politely: what is on its way is lost, as on a network that fails.
        writer.transport.abort()


async def _body(reader: StreamReader, head: str) -> AsyncGenerator[bytes]:
    """The parts of a body as they come. Raises `IncompleteReadError` if it is not whole."""
    if "transfer-encoding: chunked" not in head:
        [length] = [line for line in head.split("\r\n") if line.startswith("content-length:")]
        yield await reader.readexactly(int(length.partition(":")[2]))
        return
    while True:
        # A live stream says something every 5 s.
        async with asyncio.timeout(20):
            size = int(await reader.readuntil(b"\r\n"), 16)
            chunk = (await reader.readexactly(size + 2))[:-2]
        if not size:
            return
        yield chunk


async def _frames(chunks: AsyncGenerator[bytes]) -> AsyncGenerator[Frame]:
    held = b""
    async for chunk in chunks:
        *blocks, held = (held + chunk).split(b"\r\n\r\n")
        for block in blocks:
            if not block.startswith(b":"):
                fields = dict(line.split(": ", 1) for line in block.decode().split("\r\n"))
                yield Frame(fields["event"], fields["data"], fields["id"])


@pytest.fixture
def two_gateways(stack: Stack) -> list[tuple[str, int]]:
    stack.start_service("gateway", replica=2)
    urls = [urlsplit(stack.url), urlsplit(stack.url_of("gateway", replica=2))]
    return [(url.hostname or "", url.port or 0) for url in urls]


async def _begin(stack: Stack) -> list[str]:
    """The addresses of runs that stream tokens from now on."""

    async def one() -> str:
        thread = (await client.threads.create())["thread_id"]
        run = await client.runs.create(
            thread, "tokens", input={"n": TOKENS, "pause_s": PAUSE_S},
            stream_mode=["messages-tuple", "values"], stream_resumable=True,
        )  # fmt: skip
        return f"/threads/{thread}/runs/{run['run_id']}"

    async with get_client(url=stack.url, api_key=None) as client:
        return list(await asyncio.gather(*(one() for _ in range(RUNS))))


async def _kill_nats(stack: Stack, crowd: Crowd) -> None:
    for share in KILLS_AT:
        until = share * RUNS * READERS_PER_RUN * FRAMES
        await eventually(lambda until=until: crowd.seen >= until, within_s=LIMIT_S)
        await asyncio.to_thread(stack.servers.restart, "nats", hard=True)


async def test_readers_that_come_and_go_see_every_event_once_while_the_broker_dies(
    stack: Stack, two_gateways: list[tuple[str, int]], rng: Random, tmp_path: Path
) -> None:
    crowd = Crowd()
    places = await _begin(stack)
    readers = [
        Reader(
            place,
            two_gateways,
            sorted(rng.randrange(1, FRAMES) for _ in range(RECONNECTS)),
            Random(rng.getrandbits(32)),
            crowd,
        )
        for place in places
        for _ in range(READERS_PER_RUN)
    ]
    try:
        async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
            group.create_task(_kill_nats(stack, crowd))
            for reader in readers:
                group.create_task(reader.read())
    finally:
        print(crowd)

    assert crowd.drops == RUNS * READERS_PER_RUN * RECONNECTS
    by_run: dict[str, list[list[Frame]]] = defaultdict(list)
    for reader in readers:
        by_run[reader.place].append(reader.frames)
    for place, seen in by_run.items():
        _holds(place, seen[0])
        # The same event under the same id for everybody, whichever gateway told it.
        assert all(frames == seen[0] for frames in seen), place


def _holds(place: str, frames: list[Frame]) -> None:
    positions = [frame.position for frame in frames]
    assert positions == sorted(set(positions)), f"{place}: in order, and none twice"
    tokens: list[Any] = [json.loads(frame.data) for frame in frames if frame.name == "messages"]
    text = "".join(message["content"] for message, _ in tokens)
    assert text == "".join(f"t{number} " for number in range(TOKENS)), place
    rest = [frame.name for frame in frames if frame.name != "messages"]
    assert rest == ["metadata", "values", "values"], f"{place}: one attempt, told whole"
