"""The ops endpoint of every service: is it alive, can it work, what has it counted.

    GET /healthz   200 while the event loop answers
    GET /readyz    200, or 503 with what it waits for; every check has 2 s
    GET /metrics   Prometheus text

HTTP/1.1 by hand, one request per connection: three fixed answers do not pay for a server's memory
in each process.
"""

from __future__ import annotations

import asyncio
import errno
import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self

from .errors import ConfigurationError
from .log import get_logger
from .loop import Loop
from .metrics import Metrics

log = get_logger()

Check = Callable[[], Awaitable[str | None]]
"""Answers None when all is well, else the reason in a few words."""

_CHECK_S_MAX = 2.0
_REQUEST_S_MAX = 5.0
_HEAD_BYTES_MAX = 8192
_CONNECTIONS_MAX = 64
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Unavailable",
}
_JSON = "application/json"
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Ops:
    """Served from entering the block until leaving it; `port` is the real one by then."""

    def __init__(
        self,
        service: str,
        *,
        host: str,
        port: int,
        ready: Mapping[str, Check],
        loops: list[Loop],
        metrics: Metrics,
    ) -> None:
        self._service = service
        self.host = host
        self.port = port
        self._ready = ready
        self._loops = loops
        self._metrics = metrics
        self._connections: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None
        self.waiting_for: str | None = "the service is starting"
        """What the service as a whole waits for, from `process`; None while it works."""

    async def __aenter__(self) -> Self:
        try:
            self._server = await asyncio.start_server(
                self._serve, self.host, self.port, limit=_HEAD_BYTES_MAX, backlog=_CONNECTIONS_MAX
            )
        except (OSError, socket.gaierror) as error:
            why = (
                "is taken"
                if error.errno == errno.EADDRINUSE
                else f"cannot be opened: {error.strerror}"
            )
            name = f"BEDPLATE_{self._service.upper().replace('-', '_')}_OPS_PORT"
            raise ConfigurationError(f"{name}: {self.host}:{self.port} {why}") from error
        self.port = self._server.sockets[0].getsockname()[1]
        log.info("ops.opened", host=self.host, port=self.port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections, timeout=1.0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            async with asyncio.timeout(_REQUEST_S_MAX):
                is_full = len(self._connections) > _CONNECTIONS_MAX
                status, kind, body = (503, _JSON, b"{}") if is_full else await self._answer(reader)
                head = (
                    f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: {kind}\r\n"
                    f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
                )
                writer.write(head.encode() + body)
                await writer.drain()
        except (OSError, TimeoutError, EOFError, ValueError):
            # The other side left, is too slow or speaks no HTTP: nothing to answer, nothing to
            # mend.
            log.debug("ops.refused")
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, str, bytes]:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return 400, _JSON, _json({"error": f"the request head exceeds {_HEAD_BYTES_MAX} bytes"})
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3:
            return 400, _JSON, _json({"error": "not an HTTP request"})
        if words[0] != b"GET":
            return 405, _JSON, _json({"error": "only GET"})
        match words[1].split(b"?", 1)[0]:
            case b"/healthz":
                return 200, _JSON, _json({"alive": True, "service": self._service})
            case b"/readyz":
                waiting_for = await self.waits()
                body: dict[str, Any] = {"ready": not waiting_for, "service": self._service}
                if waiting_for:
                    body["waiting_for"] = waiting_for
                body["loops"] = {loop.name: loop.state() for loop in self._loops}
                return (503 if waiting_for else 200), _JSON, _json(body)
            case b"/metrics":
                return 200, _TEXT, self._metrics.text()
            case _:
                return 404, _JSON, _json({"error": "try /healthz, /readyz or /metrics"})

    async def waits(self) -> dict[str, str]:
        """All checks at once; name -> reason of those that are not well."""
        if self.waiting_for is not None:
            return {"service": self.waiting_for}
        reasons = await asyncio.gather(*(_reason(check) for check in self._ready.values()))
        return {
            name: why for name, why in zip(self._ready, reasons, strict=True) if why is not None
        }


async def _reason(check: Check) -> str | None:
    try:
        async with asyncio.timeout(_CHECK_S_MAX):
            return await check()
    except TimeoutError:
        return f"no answer within {_CHECK_S_MAX:.0f} s"
    except Exception as error:
        return f"{type(error).__name__}: {error}".removesuffix(": ")


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, default=str).encode() + b"\n"
