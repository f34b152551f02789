"""Orders about runs and threads: decided by the kernel, written by the ledger, told over the
bus."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog

from bedplate.bus.broker import Bus
from bedplate.bus.event_line import end_of
from bedplate.bus.event_writer import end_unstarted
from bedplate.kernel.errors import NotFound
from bedplate.kernel.run import Gone, Illegal, Run
from bedplate.ledger import Cancelled, Ledger, Threads
from bedplate_proto import subjects
from bedplate_proto.runs import (
    CancelAnswer,
    CancelRun,
    CreateRun,
    DeleteRun,
    DeleteRunAnswer,
    RunFinished,
    RunSignal,
)
from bedplate_proto.subjects import RunAddress
from bedplate_proto.threads import (
    CopyThread,
    CreateThread,
    DeleteThread,
    Nothing,
    PruneAnswer,
    PruneThreads,
    UpdateThread,
)
from bedplate_proto.vocabulary import CancelAction, RunStatus

log = structlog.get_logger()

# A closing event is best effort: whoever misses it finds the run's row.
_CLOSE_S_MAX = 2.0


class Scheduler:
    """One public method per order or fact. All are safe to repeat."""

    def __init__(self, ledger: Ledger, threads: Threads, bus: Bus) -> None:
        self._ledger = ledger
        self._threads = threads
        self._bus = bus

    async def create_run(self, order: CreateRun) -> str:
        row = await self._ledger.create(order)
        log.info("run.created", run_id=str(order.run_id), thread_id=str(order.thread_id))
        return row

    async def cancel_run(self, order: CancelRun) -> CancelAnswer:
        """Raises `NotFound` when there is nothing to cancel."""
        stopped = await self._stop(
            RunAddress(order.tenant, order.thread_id, order.run_id), order.action
        )
        match stopped:
            case Illegal():
                raise NotFound("No runs found to cancel.", run_id=str(order.run_id))
            case Run(status=RunStatus.PENDING | RunStatus.RUNNING):
                return CancelAnswer(outcome="stopping")
            case Run() | Gone():
                return CancelAnswer(outcome="stopped")

    async def delete_run(self, order: DeleteRun) -> DeleteRunAnswer:
        """A run at work is rolled back by its executor; one that is over is for an executor to
        forget."""
        stopped = await self._stop(
            RunAddress(order.tenant, order.thread_id, order.run_id), CancelAction.ROLLBACK
        )
        match stopped:
            case Illegal():
                return DeleteRunAnswer(outcome="finished")
            case Gone():
                return DeleteRunAnswer(outcome="deleted")
            case Run():
                return DeleteRunAnswer(outcome="stopping")

    async def on_run_finished(self, fact: RunFinished) -> None:
        """The thread is free: its next run gets its ticket."""
        if fact.has_next:
            await self._ledger.dispatch_next(fact.thread_id)

    async def create_thread(self, order: CreateThread) -> str:
        return await self._threads.create(order)

    async def update_thread(self, order: UpdateThread) -> str:
        return await self._threads.update(order)

    async def delete_thread(self, order: DeleteThread) -> Nothing:
        if await self._remove([order.thread_id], tenant=order.tenant) == 0:
            raise NotFound("Thread not found.", thread_id=str(order.thread_id))
        return Nothing()

    async def copy_thread(self, order: CopyThread) -> str:
        return await self._threads.copy(order)

    async def prune_threads(self, order: PruneThreads) -> PruneAnswer:
        return PruneAnswer(pruned_count=await self._remove(order.thread_ids, tenant=order.tenant))

    async def _stop(self, address: RunAddress, action: CancelAction) -> Run | Gone | Illegal:
        cancelled = await self._ledger.cancel(
            address.run_id, address.thread_id, tenant=address.tenant, action=action
        )
        stopped = cancelled.after
        is_over = isinstance(stopped, Gone) or (
            isinstance(stopped, Run) and stopped.status.is_terminal
        )
        if is_over:
            log.info("run.cancelled", run_id=str(address.run_id), action=action)
            await self._end_unstarted(address, cancelled)
            await self._ledger.dispatch_next(address.thread_id)
        elif isinstance(stopped, Run):
            log.info("run.cancel_requested", run_id=str(address.run_id), action=action)
            await self._bus.hint(
                subjects.RUN_SIGNAL, RunSignal(run_id=address.run_id), run=address.run_id
            )
        return stopped

    async def _end_unstarted(self, address: RunAddress, cancelled: Cancelled) -> None:
        n, at = 0, None
        if (ended := cancelled.ended) is not None:
            n, at = ended.n, ended.finished_at
        end = end_of(RunStatus.INTERRUPTED, error=None, values=None, finished_at=at)
        await end_unstarted(self._bus, address, n=n, end=end, limit_s=_CLOSE_S_MAX)

    async def _remove(self, thread_ids: Sequence[UUID], *, tenant: str) -> int:
        """Rows first: from then on a running attempt's writes are refused; the hint spares its
        work."""
        removed = await self._threads.delete(thread_ids, tenant=tenant)
        for run_id in removed.values():
            if run_id is not None:
                await self._bus.hint(subjects.RUN_SIGNAL, RunSignal(run_id=run_id), run=run_id)
        return len(removed)
