"""A thread in each worker that tells the keeper how the event loop is, also while users' code
blocks it.

It knows which run a standing loop stands in: every task made on the loop is entered under the run
whose context made it, and the task a loop stands in is the current one. Nothing here may wait for
the loop.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Coroutine
from contextvars import ContextVar
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

import orjson

PULSE_S = 1.0
_STACK_FRAMES_MAX = 40
# A pulse line is read as a line, which has a limit; a line of users' source may be of any length.
_STACK_CHARS_MAX = 16_000
_ABSENT_S = PULSE_S + 1.5

current_run: ContextVar[str | None] = ContextVar("current_run", default=None)
"""The run on whose behalf this code executes, in any task or thread it started."""

_runs_of_tasks: WeakKeyDictionary[asyncio.Task[Any], str] = WeakKeyDictionary()


def entered_task(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any
) -> asyncio.Task[Any]:
    """A task factory that remembers the run."""
    context = options.get("context")
    run_id = current_run.get() if context is None else context.get(current_run)
    task = asyncio.Task(work, loop=loop, **options)
    if run_id is not None:
        _runs_of_tasks[task] = run_id
    return task


class Watchdog:
    """Start it on the loop's thread. One JSON line per pulse: `{"lag_s", "run_id", "stack"}`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, pulse: socket.socket, *, report_s: float
    ) -> None:
        self._loop = loop
        self._pulse = pulse
        self._report_s = report_s
        self._thread_id = threading.get_ident()
        self._ticked_at = time.monotonic()

    def start(self) -> None:
        self._tick()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def _tick(self) -> None:
        self._ticked_at = time.monotonic()
        self._loop.call_later(PULSE_S / 2, self._tick)

    def _watch(self) -> None:
        watched_at = time.monotonic()
        while True:
            now = time.monotonic()
            if now - watched_at > _ABSENT_S:
                # The whole process was stopped (a paused container), or the interpreter was kept by
                # a C call that is over: the loop has had no chance yet.
                self._ticked_at = now
            watched_at = now
            lag_s = now - self._ticked_at
            report: dict[str, Any] = {"lag_s": round(lag_s, 3)}
            if lag_s > self._report_s:
                report |= self._culprit()
            try:
                self._pulse.sendall(orjson.dumps(report) + b"\n")
            except OSError:
                # The keeper is gone. The kernel tells us on Linux; elsewhere only this does, and a
                # loop that stands in users' code would never find out.
                os._exit(1)
            time.sleep(PULSE_S)

    def _culprit(self) -> dict[str, Any]:
        task = asyncio.current_task(self._loop)
        frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage]
        frame: FrameType | None = frames.get(self._thread_id)
        stack = traceback.format_stack(frame)[-_STACK_FRAMES_MAX:] if frame else []
        run_id = _runs_of_tasks.get(task) if task is not None else None
        return {"run_id": run_id, "stack": "".join(stack)[-_STACK_CHARS_MAX:]}
