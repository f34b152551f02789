"""Servers that are not there yet: wait for them at start, but not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Generic, TypeVar

from .errors import Unreachable
from .log import get_logger

T = TypeVar("T")
log = get_logger()


class Reaching(AbstractAsyncContextManager[T], Generic[T]):
    """A resource entered again and again until its server answers; `Unreachable` after `limit_s`.

    `connect` makes a fresh context manager each time; one entry may take all the time that is left.
    `on` are the errors that mean "not there yet"; any other one is raised at once.
    """

    def __init__(
        self,
        server: str,
        connect: Callable[[], AbstractAsyncContextManager[T]],
        *,
        limit_s: float,
        on: tuple[type[Exception], ...] = (OSError, TimeoutError),
        retry_s: float = 0.1,
        retry_s_max: float = 2.0,
    ) -> None:
        self.name = server
        self._connect = connect
        self._limit_s = limit_s
        self._on = (*on, TimeoutError)
        self._retry_s = retry_s
        self._retry_s_max = retry_s_max
        self._entered: AbstractAsyncContextManager[T] | None = None

    async def __aenter__(self) -> T:
        loop = asyncio.get_running_loop()
        began, delay_s = loop.time(), self._retry_s
        latest: Exception | None = None
        while True:
            resource = self._connect()
            left_s = self._limit_s - (loop.time() - began)
            try:
                async with asyncio.timeout(max(left_s, 0)):
                    value = await resource.__aenter__()
            except self._on as error:
                waited_s = loop.time() - began
                # The failure before the limit says more than the limit itself.
                why = latest if isinstance(error, TimeoutError) and latest else error
                if waited_s + delay_s >= self._limit_s:
                    raise Unreachable(self.name, waited_s=waited_s, because=why) from error
                if latest is None:
                    log.warning("server.awaited", server=self.name, error=str(error))
                latest = error
            else:
                self._entered = resource
                return value
            await asyncio.sleep(delay_s)
            delay_s = min(self._retry_s_max, delay_s * 2)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        resource, self._entered = self._entered, None
        return None if resource is None else await resource.__aexit__(kind, error, trace)
