"""A graph that is held open for a run: the project's factory opens it, and closes it when the run
is over.

Both are the project's code and may swallow their cancellation. So they run in a task, which can be
left behind as the graph's can; in one and the same, as context managers of many libraries demand
(anyio). The graph runs in the context that the factory left, as if it had been called by it. A
graph that no factory makes is simply there.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from contextvars import Context, copy_context

from bedplate.chassis.tasks import Tasks
from bedplate.graphs.factories import AnyGraph

Opening = AbstractAsyncContextManager[AnyGraph]


class Held:
    """Opened at once. Whoever made it awaits `opened`, and in any case `closed`."""

    def __init__(self, opening: Opening, tasks: Tasks) -> None:
        self._opened: asyncio.Future[tuple[AnyGraph, Context]] = (
            asyncio.get_running_loop().create_future()
        )
        self._over = asyncio.Event()
        self._is_cut_off = False
        self._task: asyncio.Task[Exception | None] | None = None
        if isinstance(opening, nullcontext):
            self._opened.set_result((opening.enter_result, copy_context()))
        else:
            self._task = tasks.start(self._hold(opening), "factory")

    @property
    def is_gone(self) -> bool:
        """Nothing of the factory's code is at work any more."""
        return self._task is None or self._task.done()

    async def opened(self) -> tuple[AnyGraph, Context]:
        """The graph, and the context it is to run in. Raises what the factory raises. Cancelling
        this cancels nothing."""
        if self._task is None:
            return self._opened.result()
        await asyncio.wait([self._opened, self._task], return_when=asyncio.FIRST_COMPLETED)
        if self._opened.done():
            return self._opened.result()
        raise self._task.result() or RuntimeError("the graph was closed before it was open")

    async def closed(self) -> None:
        """Close it, unless it is cut off. Raises what the factory raises at its end. Cancelling
        this cancels nothing."""
        if self._task is None or self._is_cut_off:
            return
        was_open = self._opened.done()
        self._over.set()
        await asyncio.wait([self._task])
        if not was_open or self._task.cancelled():
            return
        if (failure := self._task.result()) is not None:
            raise failure

    async def cut_off(self, *, cancel_s: float) -> None:
        """Cancel what the factory is at, and wait so long for its end."""
        self._is_cut_off = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=cancel_s)

    async def _hold(self, opening: Opening) -> Exception | None:
        """How it failed, as a value."""
        try:
            async with opening as graph:
                self._opened.set_result((graph, copy_context()))
                await self._over.wait()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and not task.cancelling():
                return RuntimeError("the graph's factory cancelled itself")
            raise
        except SystemExit as error:  # it ends the run, not us
            return RuntimeError(f"the graph's factory called sys.exit({error.code!r})")
        except Exception as error:
            return error
        return None
