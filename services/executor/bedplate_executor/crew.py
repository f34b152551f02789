"""The keeper's workers as a whole: how many there are, who gets which run, who is replaced.

A run whose attempt died before is a *suspect*: it may be what kills workers. It runs alone in a
worker until it is over or has lived long enough to be trusted, so that it takes no other run with
it; the others of the crash are suspects too, and cleared the same way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import structlog

from bedplate.chassis.tasks import Tasks
from bedplate.kernel.errors import Unavailable
from bedplate.ledger import Claimed
from bedplate_proto.vocabulary import CancelAction

from .worker_process import Held, WorkerProcess

log = structlog.get_logger()

# A suspect that has run this long is none: what kills a worker does so soon.
_TRUSTED_S = 30.0
# Workers that die at start are started again more and more slowly.
_RESTART_S_MAX = 30.0


class Unloadable(Exception):
    """The project cannot be loaded; the text is for its author."""


class Crew:
    """Starts `size` workers and keeps that many open."""

    def __init__(
        self,
        *,
        size: int,
        slots: int,
        tasks: Tasks,
        closed: Callable[[WorkerProcess, UUID, int, str], None],
        died: Callable[[WorkerProcess, int], None],
        changed: Callable[[], None],
    ) -> None:
        def moved() -> None:
            self._moved.set()
            changed()

        self._size = size
        self._slots = slots
        self._tasks = tasks
        self._closed = closed
        self._died = died
        self._changed = moved
        self.workers: list[WorkerProcess] = []
        self._suspects: deque[Claimed] = deque()
        self._failed_starts = 0
        self._is_stopping = False
        self._moved = asyncio.Event()

    @property
    def open_workers(self) -> list[WorkerProcess]:
        return [worker for worker in self.workers if worker.is_open]

    @property
    def graphs(self) -> list[dict[str, Any]]:
        """What the newest worker can run."""
        workers = self.open_workers
        return workers[-1].graphs if workers else []

    def held(self) -> dict[UUID, int]:
        """Everything that is ours: run id → attempt."""
        ours = {claimed.run_id: claimed.attempt for claimed in self._suspects}
        for worker in self.workers:
            ours |= {run_id: held.claimed.attempt for run_id, held in worker.held.items()}
        return ours

    def free_slots(self) -> int:
        """How many more runs may be claimed."""
        if self._is_stopping:
            return 0
        free = sum(self._slots - len(worker.held) for worker in self._shared())
        return max(0, free - len(self._suspects))

    def worker_of(self, run_id: UUID) -> WorkerProcess | None:
        return next((worker for worker in self.workers if run_id in worker.held), None)

    def least_busy(self) -> WorkerProcess:
        """For a question. Raises `Unavailable` when every worker is away or stands still."""
        able = [worker for worker in self.open_workers if worker.stall is None]
        if not able:
            raise Unavailable("no worker is ready", retry_s=2.0)
        return min(able, key=lambda worker: (worker.lag_s > 0.2, len(worker.held)))

    async def start(self) -> None:
        """Returns when the first worker is ready. Raises `Unloadable`."""
        first = await self._hire()
        try:
            await first.ready
        except Unavailable:
            raise Unloadable(
                first.unloadable or "the worker died at start, see its output"
            ) from None
        for _ in range(self._size - 1):
            await self._hire()

    def assign(self, claimed: Claimed) -> None:
        """Give a run to a worker, or keep it until one may have it."""
        if claimed.failures > 0:
            self._suspects.append(claimed)
        else:
            # A claim is made only for free slots, but a worker may have gone meanwhile.
            able = self._shared() or self.open_workers
            if not able:
                self._suspects.append(claimed)
            else:
                min(able, key=lambda worker: (worker.lag_s > 1.0, len(worker.held))).give(claimed)
        self.settle()

    def stop(self, run_id: UUID, why: str) -> None:
        """Pass a request to stop on to whoever has the run."""
        if (worker := self.worker_of(run_id)) is not None:
            worker.stop(run_id, why)
            return
        for claimed in list(self._suspects):
            if claimed.run_id == run_id:
                self._suspects.remove(claimed)
                if why != "superseded":
                    # It is closed by a worker, like any other, but runs nothing there.
                    self._suspects.append(replace(claimed, cancel=CancelAction(why)))
        self._changed()

    def settle(self) -> None:
        """A run came or went: waiting suspects get empty workers."""
        self._changed()
        while self._suspects:
            empty = [worker for worker in self.open_workers if not worker.held]
            if not empty:
                return
            empty[0].give(self._suspects.popleft())

    def reload(self) -> None:
        """New workers with the files as they are now; the old ones go on until their runs are
        handed over."""
        old = list(self.workers)
        self._tasks.start(self._replace(old), "reload")

    def retire_all(self, reason: str) -> None:
        """Every graph stops at its next super-step; nothing new is taken."""
        self._is_stopping = True
        for worker in self.workers:
            worker.is_retiring = True
            worker.drain(reason)

    async def idle(self) -> None:
        """Returns when no run is left."""
        while self.held():
            self._moved.clear()
            await self._moved.wait()

    async def gone(self) -> None:
        """Returns when every worker has ended."""
        while self.workers:
            self._moved.clear()
            await self._moved.wait()

    def close_all(self) -> None:
        self._is_stopping = True
        for worker in self.workers:
            worker.close()

    def replace_stalled(self, worker: WorkerProcess) -> None:
        """Somebody else takes new runs while this one stands still."""
        if not worker.is_retiring and not self._is_stopping:
            worker.is_retiring = True
            self._tasks.start(self._hire_again(), "hire")

    def _shared(self) -> list[WorkerProcess]:
        """Open workers with room that no suspect has for itself, or waits for."""
        now = asyncio.get_running_loop().time()
        able = [
            worker
            for worker in self.open_workers
            if len(worker.held) < self._slots
            and not any(_is_alone(held, now) for held in worker.held.values())
        ]
        if self._suspects and able:
            # One worker runs empty for the suspects; the others go on.
            able.remove(min(able, key=lambda worker: len(worker.held)))
        return able

    async def _hire(self) -> WorkerProcess:
        worker = await WorkerProcess.start()
        self.workers.append(worker)
        self._tasks.start(self._employ(worker), "worker")
        return worker

    async def _employ(self, worker: WorkerProcess) -> None:
        self._tasks.start(self._welcome(worker), "welcome")
        code = await worker.listen(self._closed)
        self.workers.remove(worker)
        was_ready = worker.graphs != []
        if not (worker.is_retiring and code == 0) and not self._is_stopping:
            log.warning("worker.died", worker=worker.pid, code=code, runs=len(worker.held))
        self._died(worker, code)
        self._changed()
        if self._is_stopping or worker.is_retiring:
            return
        self._failed_starts = 0 if was_ready else self._failed_starts + 1
        await self._hire_again()

    async def _welcome(self, worker: WorkerProcess) -> None:
        try:
            await worker.ready
        except Unavailable:
            return
        self._failed_starts = 0
        log.info("worker.started", worker=worker.pid, graphs=len(worker.graphs))
        self.settle()
        self._changed()

    async def _hire_again(self) -> None:
        if self._failed_starts:
            await asyncio.sleep(min(_RESTART_S_MAX, 0.5 * 2**self._failed_starts))
        if (
            not self._is_stopping
            and len([w for w in self.workers if not w.is_retiring]) < self._size
        ):
            await self._hire()

    async def _replace(self, old: list[WorkerProcess]) -> None:
        try:
            fresh = await WorkerProcess.start()
        except OSError:
            log.exception("reload.failed")
            return
        self.workers.append(fresh)
        fresh.is_retiring = True  # until it has proved to be able to load the project
        self._tasks.start(self._employ(fresh), "worker")
        try:
            await fresh.ready
        except Unavailable:
            why = fresh.unloadable or "the worker died at start"
            log.error("reload.failed", why=why)  # noqa: TRY400
            return
        fresh.is_retiring = False
        for worker in old:
            worker.is_retiring = True
            worker.drain("the project's files changed")
            if not worker.held:
                worker.close()
        for _ in range(self._size - 1):
            await self._hire()
        log.info("project.reloaded", workers=self._size)
        self._changed()


def _is_alone(held: Held, now: float) -> bool:
    return held.is_suspect and now - held.started_at < _TRUSTED_S
