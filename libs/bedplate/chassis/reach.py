"""Servers that are not there yet: wait for them at start, but not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TypeVar

from .errors import Unreachable
from .log import get_logger

T = TypeVar("T")
log = get_logger()


@asynccontextmanager
async def reaching(
    server: str,
    connect: Callable[[], AbstractAsyncContextManager[T]],
    *,
    limit_s: float,
    on: tuple[type[Exception], ...] = (OSError, TimeoutError),
    retry_s: float = 0.1,
    retry_s_max: float = 2.0,
) -> AsyncGenerator[T]:
    """A resource entered again and again until its server answers; `Unreachable` after `limit_s`.

    `connect` makes a fresh context manager each time; one entry may take all the time that is left.
    `on` are the errors that mean "not there yet"; any other one is raised at once.
    """
    loop = asyncio.get_running_loop()
    began, delay_s, latest = loop.time(), retry_s, None
    async with AsyncExitStack() as stack:
        while True:
            left_s = limit_s - (loop.time() - began)
            try:
                async with asyncio.timeout(max(left_s, 0)):
                    value = await stack.enter_async_context(connect())
                break
            except (*on, TimeoutError) as error:
                if loop.time() - began + delay_s >= limit_s:
                    # After the limit itself, the failure before it says more than "timed out".
                    why = latest if isinstance(error, TimeoutError) and latest else error
                    raise Unreachable(server, waited_s=loop.time() - began, because=why) from error
                if latest is None:
                    log.warning("server.awaited", server=server, error=str(error), limit_s=limit_s)
                latest = error
            await asyncio.sleep(delay_s)
            delay_s = min(retry_s_max, delay_s * 2)
        yield value
