"""Work that belongs to one event loop, asked for from anywhere.

A saver and a store are bound to the loop of their connection pool. User code reaches them from
worker threads (`graph.invoke` in a sync node) and from other loops (`asyncio.run` in a sync tool).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class HomeLoop:
    """The loop that is running where this is constructed."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work` on the home loop, from whichever loop is running."""
        if asyncio.get_running_loop() is self._loop:
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def block_on(self, work: Callable[[], Coroutine[Any, Any, T]], *, instead: str) -> T:
        """Run `work()` on the home loop and block this thread until it is done.

        Raises `asyncio.InvalidStateError` on the home loop itself, which would wait for ever.
        `instead` is what to write there.
        """
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop:
            raise asyncio.InvalidStateError(
                "This synchronous call would block the event loop that has to answer it."
                f" In async code use {instead}."
            )
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result()
