"""Workers in which code of a run goes on that was stopped: replaced at once, and gone when their
other runs are.

Nobody can stop a node that swallows its cancellation, or a synchronous one. Its run is over, and
what it writes is refused; but it keeps a thread or a task, memory and perhaps a processor, for ever
(test_code_that_does_not_stop_costs_its_worker).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import structlog

from .crew import Crew
from .worker_process import WorkerProcess

log = structlog.get_logger()

_CLOSE_S_MAX = 2.0


@dataclass
class _Leaving:
    drain_at: float
    cut_at: float
    is_draining: bool = False
    closed_at: float | None = None


class Recycling:
    """`begin` for each worker that is to go; `tick` twice a second."""

    def __init__(
        self,
        crew: Crew,
        *,
        finish_s: float,
        drain_s: float,
        release: Callable[[dict[UUID, int]], None],
    ) -> None:
        """A worker's other runs have `finish_s` to end, then `drain_s` to reach a super-step; what
        is left is given to `release`, and goes on elsewhere from its last one."""
        self._crew = crew
        self._finish_s = finish_s
        self._drain_s = drain_s
        self._release = release
        self._leaving: dict[WorkerProcess, _Leaving] = {}

    def begin(self, worker: WorkerProcess, run_id: UUID) -> None:
        """Code of this run goes on in the worker although the run was stopped."""
        if worker in self._leaving or self._crew.is_stopping:
            return
        others = len(worker.held.keys() - {run_id})
        log.warning("worker.recycled", worker=worker.pid, run_id=str(run_id), runs=others)
        drain_at = asyncio.get_running_loop().time() + self._finish_s
        self._leaving[worker] = _Leaving(drain_at, drain_at + self._drain_s)
        self._crew.retire(worker)

    def tick(self, now: float) -> None:
        for worker, leaving in list(self._leaving.items()):
            if worker.process.poll() is not None:
                del self._leaving[worker]
            elif not worker.held:
                self._end(worker, leaving, now)
            elif now >= leaving.cut_at:
                self._cut(worker)
            elif now >= leaving.drain_at and not leaving.is_draining:
                leaving.is_draining = True
                worker.drain("the worker is recycled")

    def _end(self, worker: WorkerProcess, leaving: _Leaving, now: float) -> None:
        if leaving.closed_at is None:
            leaving.closed_at = now
            worker.close()
        elif now - leaving.closed_at >= _CLOSE_S_MAX:
            worker.kill()  # it waits for the code that does not stop

    def _cut(self, worker: WorkerProcess) -> None:
        held = {run_id: one.claimed.attempt for run_id, one in worker.held.items()}
        log.warning("worker.cut_off", worker=worker.pid, runs=len(held))
        # Held no more: its death is ours, and counts against none of them.
        worker.held.clear()
        worker.kill()
        self._release(held)
