"""The keeper's workers as a whole: how many there are, who gets which run, who is replaced.

When a worker dies with several runs, nobody knows which of them killed it. They all go on at once,
together; but a run on its last chance, and one that is known to have stood still or died alone, is
a *suspect*: it is on *probation*, alone in an empty worker or beside runs that came through theirs,
until it is over or has lived long enough to be trusted. So a run that kills workers ends in error
without taking another one along (test_a_run_that_kills_its_worker_ends_alone).

A *spare* is a worker that has imported the libraries, but not the project: it becomes a worker in a
fraction of the time, when one dies, when suspects need an empty one, or when files change.
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

from .worker_process import WorkerProcess

log = structlog.get_logger()

# A run resumes with the very step it died in, so what kills a worker does so soon.
_PROBATION_S = 5.0
# Workers that die at start are started again more and more slowly.
_RESTART_S_MAX = 30.0
# A spare is made when the first runs have had the processor for themselves.
_SPARE_AFTER_S = 1.0
_SUSPECTS_KNOWN_MAX = 1000
_ABSENT_S_MAX = 3.0


class Unloadable(Exception):
    """The project cannot be loaded; the text is for its author."""


class Crew:
    """Starts `size` workers and keeps that many open; one more while suspects need it."""

    def __init__(
        self,
        *,
        size: int,
        slots: int,
        attempts_max: int,
        has_spare: bool,
        tasks: Tasks,
        closed: Callable[[WorkerProcess, UUID, int, str], None],
        left_behind: Callable[[WorkerProcess, UUID], None],
        died: Callable[[WorkerProcess, int], None],
        changed: Callable[[], None],
    ) -> None:
        def moved() -> None:
            self._moved.set()
            changed()

        self._size = size
        self._slots = slots
        self._attempts_max = attempts_max
        self._has_spare = has_spare
        self._tasks = tasks
        self._closed = closed
        self._left_behind = left_behind
        self._died = died
        self._changed = moved
        self.workers: list[WorkerProcess] = []
        self._hiring = 0
        self._spare: WorkerProcess | None = None
        self._libraries: list[str] = []
        self._waiting: deque[Claimed] = deque()
        self._known: deque[UUID] = deque(maxlen=_SUSPECTS_KNOWN_MAX)
        self._failed_starts = 0
        self._has_started = False
        self.is_stopping = False
        self._reloading = asyncio.Lock()
        self._making_spare = asyncio.Lock()
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
        ours = {claimed.run_id: claimed.attempt for claimed in self._waiting}
        for worker in self.workers:
            ours |= {run_id: held.claimed.attempt for run_id, held in worker.held.items()}
        return ours

    def free_slots(self) -> int:
        """How many more runs may be claimed."""
        if self.is_stopping:
            return 0
        free = sum(self._slots - len(worker.held) for worker in self._shared())
        return max(0, free - len(self._waiting))

    def worker_of(self, run_id: UUID) -> WorkerProcess | None:
        return next((worker for worker in self.workers if run_id in worker.held), None)

    async def least_busy(self) -> WorkerProcess:
        """For a question; waits a little for a worker that is being replaced. Raises `Unavailable`
        when all stay away or stand still."""
        try:
            async with asyncio.timeout(_ABSENT_S_MAX):
                while not (able := [one for one in self.open_workers if one.stall is None]):
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            raise Unavailable("no worker is ready", retry_s=2.0) from None
        return min(able, key=lambda worker: (worker.lag_s > 0.2, len(worker.held)))

    # -- runs

    def assign(self, claimed: Claimed) -> None:
        """Give a run to a worker, or keep it until one may have it."""
        self._waiting.append(claimed)
        self.settle()

    def stop(self, run_id: UUID, why: str) -> None:
        """Pass a request to stop on to whoever has the run."""
        if (worker := self.worker_of(run_id)) is not None:
            worker.stop(run_id, why)
            return
        for claimed in list(self._waiting):
            if claimed.run_id == run_id:
                self._waiting.remove(claimed)
                if why != "superseded":
                    # It is closed by a worker, like any other, but runs nothing there.
                    self._waiting.append(replace(claimed, cancel=CancelAction(why)))
        self.settle()

    def suspect(self, run_id: UUID) -> None:
        """This run is known to have killed its worker."""
        if run_id not in self._known:
            self._known.append(run_id)

    def on_probation(self, worker: WorkerProcess) -> list[Claimed]:
        """The runs of a worker that are to blame if it dies."""
        now = asyncio.get_running_loop().time()
        return [
            held.claimed
            for held in worker.held.values()
            if held.is_suspect
            and (now - held.started_at < _PROBATION_S or self._is_beyond_trust(held.claimed))
        ]

    def settle(self) -> None:
        """Somebody came, went, or came through: whoever waits gets the place that is free now."""
        for claimed in list(self._waiting):
            is_suspect = self._is_suspect(claimed)
            if (worker := self._place_for(claimed, is_suspect=is_suspect)) is not None:
                self._waiting.remove(claimed)
                worker.give(claimed, is_suspect=is_suspect)
                if is_suspect:
                    asyncio.get_running_loop().call_later(_PROBATION_S + 0.05, self.settle)
        self._tend_extra()
        self._changed()

    def _is_suspect(self, claimed: Claimed) -> bool:
        if claimed.cancel is not None:
            return False  # only its end is written
        is_last_chance = claimed.failures > 0 and claimed.failures >= self._attempts_max - 1
        return is_last_chance or claimed.run_id in self._known

    def _is_beyond_trust(self, claimed: Claimed) -> bool:
        """It has come through a probation, and its worker died all the same."""
        return claimed.failures >= self._attempts_max

    def _place_for(self, claimed: Claimed, *, is_suspect: bool) -> WorkerProcess | None:
        if not is_suspect:
            able = self._shared()
            return min(able, key=lambda w: (w.lag_s > 1.0, len(w.held))) if able else None
        empty = [worker for worker in self.open_workers if not worker.held]
        if empty or self._is_beyond_trust(claimed):
            return empty[0] if empty else None
        cleared = [
            worker
            for worker in self._shared()
            if all(held.is_suspect for held in worker.held.values())
        ]
        return cleared[0] if cleared else None

    def _shared(self) -> list[WorkerProcess]:
        """Open workers with room, and nobody on probation."""
        return [
            worker
            for worker in self.open_workers
            if len(worker.held) < self._slots and not self.on_probation(worker)
        ]

    def _tend_extra(self) -> None:
        """One worker more while suspects wait for an empty one, or have all there are; one less
        when it is not needed."""
        if self.is_stopping or not (ready := self.open_workers):
            return
        kept = [worker for worker in self.workers if not worker.is_retiring]
        needs_extra = any(self._is_suspect(claimed) for claimed in self._waiting) or all(
            self.on_probation(worker) for worker in ready
        )
        if needs_extra and len(kept) + self._hiring <= self._size:
            self._tasks.start(self._hire(), "hire")
        idle = [worker for worker in ready if not worker.held]
        if not needs_extra and len(ready) > self._size and idle:
            idle[0].is_retiring = True
            idle[0].close()

    # -- workers

    async def start(self) -> None:
        """Returns when the first worker is ready. Raises `Unloadable`."""
        first = await self._hire()
        try:
            await first.ready
        except Unavailable:
            self.is_stopping = True
            raise Unloadable(
                first.unloadable or "the worker died at start, see its output"
            ) from None
        self._has_started = True
        for _ in range(self._size - 1):
            await self._hire()

    def reload(self) -> None:
        """New workers with the files as they are now; the old ones go on until their runs are
        handed over."""
        self._tasks.start(self._replace(), "reload")

    def retire_all(self, reason: str) -> dict[UUID, int]:
        """Every graph stops at its next super-step; nothing new is taken. What no worker had yet
        (run id → attempt) is the caller's to give back."""
        self.is_stopping = True
        waiting = {claimed.run_id: claimed.attempt for claimed in self._waiting}
        self._waiting.clear()
        for worker in self.workers:
            worker.is_retiring = True
            worker.drain(reason)
        return waiting

    async def idle(self) -> None:
        """Returns when no run is left."""
        while self.held():
            self._moved.clear()
            await self._moved.wait()

    async def gone(self) -> None:
        """Returns when every worker has ended."""
        while self.workers or self._spare is not None:
            self._moved.clear()
            await self._moved.wait()

    def close_all(self) -> None:
        self.is_stopping = True
        for worker in self.all_processes:
            if worker.ready.done():
                worker.close()
            else:
                worker.kill()  # it is importing, and has nothing to finish

    @property
    def all_processes(self) -> list[WorkerProcess]:
        return [*self.workers, *([self._spare] if self._spare is not None else [])]

    def warm_spares(self) -> int:
        return int(self._spare is not None and self._spare.is_warm)

    def retire(self, worker: WorkerProcess) -> None:
        """Somebody else takes new runs while this one stands still, or comes to its end."""
        if not worker.is_retiring and not self.is_stopping:
            worker.is_retiring = True
            self._tasks.start(self._hire_again(), "hire")

    async def _hire(self) -> WorkerProcess:
        self._hiring += 1
        try:
            worker = await self._new_process()
        finally:
            self._hiring -= 1
        self.workers.append(worker)
        return worker

    async def _new_process(self) -> WorkerProcess:
        """The spare if there is one, told to load the project."""
        worker, self._spare = self._spare, None
        if worker is None or worker.process.poll() is not None:
            worker = await WorkerProcess.start()
            self._tasks.start(self._employ(worker), "worker")
        self._tasks.start(self._welcome(worker), "welcome")
        worker.load()
        return worker

    async def _employ(self, worker: WorkerProcess) -> None:
        code = await worker.listen(self._closed, self._left_behind)
        if worker is self._spare:
            self._spare = None
        if worker not in self.workers:  # it was, or would have become, a spare
            self._changed()
            return
        self.workers.remove(worker)
        was_ready = worker.graphs != []
        if (worker.held or not worker.is_retiring) and not self.is_stopping:
            log.warning("worker.died", worker=worker.pid, code=code, runs=len(worker.held))
        self._died(worker, code)
        self._changed()
        if self.is_stopping or worker.is_retiring or not self._has_started:
            return
        self._failed_starts = 0 if was_ready else self._failed_starts + 1
        await self._hire_again()

    async def _welcome(self, worker: WorkerProcess) -> None:
        try:
            await worker.ready
        except Unavailable:
            return
        self._failed_starts = 0
        # One that was a spare names only what had not been warmed.
        self._libraries += [name for name in worker.libraries if name not in self._libraries]
        log.info("worker.started", worker=worker.pid, graphs=len(worker.graphs))
        self.settle()
        if self._has_spare:
            await asyncio.sleep(_SPARE_AFTER_S)
            await self._keep_spare()

    async def _keep_spare(self) -> None:
        # Several workers may have been welcomed at once: one of them makes the spare.
        async with self._making_spare:
            if self._spare is not None or self.is_stopping or len(self.open_workers) < self._size:
                return
            spare = self._spare = await WorkerProcess.start()
            self._tasks.start(self._employ(spare), "spare")
            spare.warm(self._libraries)

    async def _hire_again(self) -> None:
        if self._failed_starts:
            await asyncio.sleep(min(_RESTART_S_MAX, 0.5 * 2**self._failed_starts))
        kept = [worker for worker in self.workers if not worker.is_retiring]
        if not self.is_stopping and len(kept) + self._hiring < self._size:
            await self._hire()

    async def _replace(self) -> None:
        # One at a time: what the one before has hired is old for the next.
        async with self._reloading:
            # Without those that end already, which an earlier change has replaced.
            old = [worker for worker in self.workers if not worker.is_retiring]
            try:
                fresh = await self._new_process()
            except OSError:
                log.exception("reload.failed")
                return
            self.workers.append(fresh)
            fresh.is_retiring = True  # until it has proved to be able to load the project
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
        self.settle()
