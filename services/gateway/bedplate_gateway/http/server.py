"""uvicorn inside our event loop: the socket is ours, and so are the signals."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.types import ASGIApp

from bedplate.chassis.errors import ConfigurationError
from bedplate.chassis.log import get_logger

from ..settings import Settings
from .answers import Flows

log = get_logger()

_BACKLOG = 2048
# A client that does not read must not hold up the stop.
_SETTLE_S = 5
_KEEP_ALIVE_S = 75
# The Date of an answer.
_DATE_S = 1.0


class HttpServer:
    """A resource (the socket is open), a work (`serve`) and a drain."""

    name = "the HTTP port"

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._host = settings.host
        self.port = settings.port
        self._stalled_s = settings.stalled_s
        self._socket: socket.socket | None = None
        self._has_ended = asyncio.Event()
        self._server = _Server(
            uvicorn.Config(
                Flows(app),
                lifespan="off",
                ws="websockets-sansio",
                ws_max_size=settings.frame_bytes_max,
                # Compressing tokens costs more than sending them, and a context per connection.
                ws_per_message_deflate=False,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=_BACKLOG,
                limit_concurrency=settings.clients_max,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=_SETTLE_S,
            )
        )

    async def __aenter__(self) -> Self:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                self._host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            opened = socket.socket(family, kind, protocol)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                # Inherited by every connection: the kernel ends one whose client takes nothing, and
                # with it what waits for it here. It costs no timer of ours, idle or busy.
                stalled_ms = int(self._stalled_s * 1000)
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, stalled_ms)
            opened.bind(address)
        except OSError as error:
            is_taken = error.errno == errno.EADDRINUSE
            why = "is taken" if is_taken else f"cannot be opened: {error.strerror}"
            raise ConfigurationError(
                f"BEDPLATE_GATEWAY_PORT: {self._host}:{self.port} {why}"
            ) from error
        self._socket = opened
        self.port = opened.getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._socket is not None:
            self._socket.close()

    async def serve(self) -> None:
        """Until cancelled; after `drain` it only waits for that."""
        assert self._socket is not None
        log.info("http.opened", host=self._host, port=self.port)
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            self._has_ended.set()
        await asyncio.Event().wait()

    async def ready(self) -> str | None:
        return None if self._server.started else "not serving yet"

    async def drain(self) -> None:
        """Take no more requests; returns when those under way are answered."""
        # Answers that are cut off on purpose are errors to uvicorn.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._server.stop()
        if self._server.started:
            await self._has_ended.wait()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        self.should_exit = True
        self._stopping.set()

    async def main_loop(self) -> None:
        """uvicorn looks ten times a second whether it shall end, and is never at rest. What it does
        then, it needs once a second: the time that stands in answers."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(_DATE_S):
                    await self._stopping.wait()

    @contextmanager
    def capture_signals(self) -> Generator[None, Any, None]:
        """The chassis has the signals."""
        yield
