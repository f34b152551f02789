"""One HTTP/1.1 connection, as lean as can be: what it costs is not the product's.

It understands what the API answers with: a length or chunks. Of a stream it keeps the time of the
first token and the number of token events, not the events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Any, Self, cast
from urllib.parse import urlsplit

import orjson

ANSWER_S_MAX = 60.0

Heard = Callable[[bytes], None]
"""Gets each part of a body as it comes."""


class Answer:
    """`first_token_s` and `tokens` are of a stream, from the moment the request was sent."""

    def __init__(self) -> None:
        self.status = 0
        self.body = bytearray()
        self.first_token_s = 0.0
        self.tokens = 0

    def json(self) -> Any:
        if self.status >= 400:
            raise RuntimeError(f"{self.status}: {bytes(self.body[:500]).decode()}")
        return orjson.loads(self.body)


class Connection(asyncio.Protocol):
    """Requests one after the other; `async with Connection.to(url)`."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._received = bytearray()
        self._answer = Answer()
        self._sent_at = 0.0
        self._token: bytes | None = None
        self._heard: Heard | None = None
        # What is left of the body: a number of bytes, or chunks whose sizes are still to come.
        self._left: int | None = None
        self._is_chunked = False

    @classmethod
    async def to(cls, url: str) -> Self:
        parts = urlsplit(url)
        assert parts.hostname is not None and parts.port is not None, url
        host = f"{parts.hostname}:{parts.port}"
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: cls(host), parts.hostname, parts.port)
        return connection

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._transport is not None:
            self._transport.close()

    async def post(
        self, path: str, body: Any, *, token: bytes | None = None, heard: Heard | None = None
    ) -> Answer:
        """`token`: what every token event of the answering stream holds once. With `heard` the body
        goes there and is not kept."""
        return await self.send("POST", path, body, token=token, heard=heard)

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: bytes | None = None,
        heard: Heard | None = None,
    ) -> Answer:
        assert self._transport is not None
        text = b"" if body is None else orjson.dumps(body)
        head = (method.encode(), path.encode(), self._host.encode(), len(text))
        self._waiting = asyncio.get_running_loop().create_future()
        self._answer, self._left, self._token, self._heard = Answer(), None, token, heard
        self._sent_at = perf_counter()
        self._transport.write(
            b"%b %b HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n%b" % (*head, text)
        )
        async with asyncio.timeout(ANSWER_S_MAX):
            return await self._waiting

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not an instance of it under uvloop.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionError("the server hung up"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._left is None and not self._take_head():
            return
        if self._take_body():
            assert self._waiting is not None
            if not self._waiting.done():
                self._waiting.set_result(self._answer)

    def _take_head(self) -> bool:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return False
        lines = bytes(self._received[:end]).lower().split(b"\r\n")
        del self._received[: end + 4]
        self._answer.status = int(lines[0].split()[1])
        headers = dict(line.split(b": ", 1) for line in lines[1:])
        self._is_chunked = headers.get(b"transfer-encoding") == b"chunked"
        self._left = 0 if self._is_chunked else int(headers.get(b"content-length", b"0"))
        return True

    def _take_body(self) -> bool:
        """Whether the answer is whole."""
        assert self._left is not None
        if not self._is_chunked:
            self._left -= len(self._received)
            self._keep(bytes(self._received))
            self._received.clear()
            return self._left <= 0
        while (end := self._received.find(b"\r\n")) >= 0:
            size = int(self._received[:end], 16)
            if len(self._received) < end + 2 + size + 2:
                return False
            self._keep(bytes(self._received[end + 2 : end + 2 + size]))
            del self._received[: end + 2 + size + 2]
            if size == 0:
                return True
        return False

    def _keep(self, part: bytes) -> None:
        if self._heard is not None:
            self._heard(part)
            return
        if self._token is None:
            self._answer.body += part
            return
        if (count := part.count(self._token)) and not self._answer.tokens:
            self._answer.first_token_s = perf_counter() - self._sent_at
        self._answer.tokens += count
