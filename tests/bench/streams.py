"""Streams that are hardly used: how long one token takes to its client, what idle streams cost."""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit
from uuid import uuid4

import orjson
from http_client import Connection
from measures import span
from processes import Group

from bedplate.devstack.stack import Stack

IDLE_STREAMS = 5000
_OPENING_MAX = 200
_OPENED_S_MAX = 30.0
_SETTLE_S = 6.0
_MADE_AT = re.compile(rb'"content":"([0-9]+) "')
# Far enough apart that each token finds the system idle.
_PAUSE_S = 0.02


async def token_ms(url: str, *, tokens: int) -> dict[str, float]:
    """From the moment a model makes a token to the moment its bytes are at the client's socket;
    both read the same clock of this machine."""
    took_ms: list[float] = []

    def heard(part: bytes) -> None:
        now = time.monotonic_ns()
        took_ms.extend((now - int(made_at)) / 1e6 for made_at in _MADE_AT.findall(part))

    async with await Connection.to(url) as connection:
        for count in (20, tokens):  # once before, to be warm
            took_ms.clear()
            thread = (await connection.post("/threads", {})).json()["thread_id"]
            given = {"n": count, "pause_s": _PAUSE_S, "clock": True}
            order = {"assistant_id": "tokens", "input": given, "stream_mode": ["messages-tuple"]}
            answer = await connection.post(f"/threads/{thread}/runs/stream", order, heard=heard)
            if len(took_ms) < count:
                raise RuntimeError(f"{answer.status}: {len(took_ms)} tokens")
    ordered = sorted(took_ms)
    return {
        "token_p50_ms": statistics.median(ordered),
        "token_p95_ms": ordered[int(0.95 * (len(ordered) - 1))],
    }


async def idle(stack: Stack, group: Group, *, seconds: float) -> dict[str, float]:
    """What so many event streams, each of a thread of its own, add to a gateway at rest."""
    (pid,) = stack.pids("gateway")
    rss_mib, connections = group.rss_mib()["gateway"], _sockets(pid)
    streams: list[_Stream] = []
    try:
        while len(streams) < IDLE_STREAMS:
            opening = [_Stream.to(stack.url) for _ in range(_OPENING_MAX)]
            streams += await asyncio.gather(*opening)
        await span(_SETTLE_S)
        before, began = group.cpu_s()["gateway"], time.perf_counter()
        await span(seconds)
        cpu_s, span_s = group.cpu_s()["gateway"] - before, time.perf_counter() - began
        if closed := sum(stream.is_closed for stream in streams):
            raise RuntimeError(f"{closed} idle streams were closed")
        return {
            "idle_mb": (group.rss_mib()["gateway"] - rss_mib) * 1024 * 1024 / 1e6,
            "idle_cpu_percent": 100 * cpu_s / span_s,
            "idle_connections": float(_sockets(pid) - connections - len(streams)),
        }
    finally:
        for stream in streams:
            stream.close()


class _Stream(asyncio.Protocol):
    """Opens an event stream of a thread and lets everything that comes go."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._transport: asyncio.Transport | None = None
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_closed = False

    @classmethod
    async def to(cls, url: str) -> _Stream:
        parts = urlsplit(url)
        loop = asyncio.get_running_loop()
        assert parts.hostname is not None and parts.port is not None, url
        _, stream = await loop.create_connection(
            lambda: cls(parts.netloc), parts.hostname, parts.port
        )
        async with asyncio.timeout(_OPENED_S_MAX):
            await stream._opened
        return stream

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        text = orjson.dumps({"channels": ["lifecycle", "messages", "values"]})
        self._transport.write(
            b"POST /threads/%b/stream/events HTTP/1.1\r\nhost: %b\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (str(uuid4()).encode(), self._host.encode(), len(text), text)
        )

    def data_received(self, data: bytes) -> None:
        if self._opened.done():
            return
        if data.startswith(b"HTTP/1.1 200"):
            self._opened.set_result(None)
        else:
            self._opened.set_exception(RuntimeError(data[:200].decode()))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        if not self._opened.done():
            self._opened.set_exception(exc or ConnectionError("the server hung up"))


def _sockets(pid: int) -> int:
    found = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found += str(descriptor.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue
    return found
