"""Synchronous code of runs, in threads that nobody can stop: whose it is, and whether it goes on.

A graph that is cancelled leaves its synchronous node where it is. Mostly that ends by itself soon
after; what does not keeps its thread, and the process in which it runs has to go.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import ParamSpec, TypeVar

from .watchdog import current_run

P = ParamSpec("P")
T = TypeVar("T")


class RunThreads(ThreadPoolExecutor):
    """The loop's default executor: synchronous nodes and tools run in it, also those that users'
    code hands to `asyncio.to_thread`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(thread_name_prefix="run")
        self._loop = loop
        self._lock = Lock()
        self._busy: Counter[str] = Counter()
        self._awaited: dict[str, asyncio.Event] = {}

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future = super().submit(fn, *args, **kwargs)
        if (run_id := current_run.get()) is not None:
            with self._lock:
                self._busy[run_id] += 1
            future.add_done_callback(lambda _: self._done(run_id))
        return future

    async def goes_on(self, run_id: str, *, after_s: float) -> bool:
        """Whether code of this run is still at work in so many seconds."""
        with self._lock:
            if run_id not in self._busy:
                return False
            idle = self._awaited.setdefault(run_id, asyncio.Event())
        try:
            async with asyncio.timeout(after_s):
                await idle.wait()
        except TimeoutError:
            return True
        finally:
            self._awaited.pop(run_id, None)
        return False

    def _done(self, run_id: str) -> None:
        with self._lock:
            self._busy[run_id] -= 1
            if self._busy[run_id] > 0:
                return
            del self._busy[run_id]
            idle = self._awaited.get(run_id)
        if idle is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(idle.set)
