"""The only place that creates tasks outside a `TaskGroup`: each has an owner that waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from types import TracebackType
from typing import Any, Self, TypeVar

from .log import get_logger

T = TypeVar("T")
log = get_logger()


async def uncancelled(work: Coroutine[Any, Any, T], *, limit_s: float) -> T:
    """Finish `work` although this task is cancelled, for at most `limit_s`; then honour that.

    Raises what `work` raises, or `TimeoutError`. When this task was cancelled meanwhile,
    `CancelledError` is raised instead, and a failure of `work` is only logged.
    """
    task = asyncio.create_task(asyncio.wait_for(work, limit_s))
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled() and (failure := task.exception()) is not None:
            log.error("finish.failed", exc_info=failure)
        raise cancelled
    return task.result()


class Tasks:
    """Running tasks that somebody started without waiting for them, and their one owner.

    A task that fails is logged (`task.failed`) and forgotten: it takes down neither its siblings
    nor the owner. Leaving the `async with` block drains for `drain_s`.
    """

    def __init__(self, name: str, *, drain_s: float = 10.0, cancel_s: float = 5.0) -> None:
        self._name = name
        self._drain_s = drain_s
        self._cancel_s = cancel_s
        self._running: set[asyncio.Task[Any]] = set()
        self._is_closed = False

    @property
    def count(self) -> int:
        return len(self._running)

    def start(
        self, work: Coroutine[Any, Any, T], name: str, *, context: Context | None = None
    ) -> asyncio.Task[T]:
        """Run `work` in a task of its own; `RuntimeError` once drained. No `context`: a copy of
        the caller's."""
        if self._is_closed:
            work.close()
            raise RuntimeError(f"{self._name} is drained: {name} cannot be started any more")
        task = asyncio.create_task(work, name=f"{self._name}:{name}", context=context)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            log.error("task.failed", task=task.get_name(), exc_info=failure)

    async def drain(self, limit_s: float) -> int:
        """Take no more, wait at most `limit_s`, then cancel; returns how many had to be cancelled.

        A task that ignores its cancellation for `cancel_s` is logged and left behind.
        """
        self._is_closed = True
        try:
            if self._running:
                await asyncio.wait(tuple(self._running), timeout=limit_s)
        finally:
            # Also when we are cancelled ourselves: nothing outlives its owner.
            late = tuple(self._running)
            for task in late:
                task.cancel()
        if late:
            _, stuck = await asyncio.wait(late, timeout=self._cancel_s)
            if stuck:
                names = sorted(task.get_name() for task in stuck)
                log.error("task.stuck", tasks=names, waited_s=self._cancel_s)
        return len(late)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.drain(0.0 if error is not None else self._drain_s)
