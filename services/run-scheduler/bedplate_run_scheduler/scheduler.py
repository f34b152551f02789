"""Orders about runs and threads: decided by the kernel, written by the ledger, told over the
bus."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog

from bedplate.bus.broker import Bus
from bedplate.kernel.errors import NotFound
from bedplate.kernel.run import Illegal
from bedplate.ledger import Admissions, Admitted, Dispatch, Stopped, Threads
from bedplate_proto import subjects
from bedplate_proto.runs import (
    CancelAnswer,
    CancelRun,
    CancelRuns,
    CancelRunsAnswer,
    CreateRun,
    CreateRuns,
    DeleteRun,
    DeleteRunAnswer,
    RunSignal,
    SchedulerPoke,
    ThreadFreed,
)
from bedplate_proto.subjects import RunAddress
from bedplate_proto.threads import (
    CopyThread,
    DeleteThread,
    Nothing,
    PruneAnswer,
    PruneThreads,
)
from bedplate_proto.vocabulary import CancelAction

from .sharing import Sharing

log = structlog.get_logger()

_PAGE = 500


class Scheduler:
    """One public method per order or fact. All are safe to repeat."""

    def __init__(
        self,
        admissions: Admissions,
        dispatch: Dispatch,
        threads: Threads,
        bus: Bus,
        *,
        sharing: Sharing,
    ) -> None:
        self._admissions = admissions
        self._dispatch = dispatch
        self._threads = threads
        self._bus = bus
        self._sharing = sharing

    async def create_run(self, order: CreateRun) -> str:
        admitted = await self._admissions.create(order)
        await self.tell(order, admitted)
        return admitted.row

    async def create_runs(self, order: CreateRuns) -> str:
        """All of them, or none."""
        admitted = await self._admissions.create_all(order.runs)
        for one, result in zip(order.runs, admitted, strict=True):
            await self.tell(one, result)
        return f"[{','.join(result.row for result in admitted)}]"

    async def tell(self, order: CreateRun, admitted: Admitted) -> None:
        """Those who wait for a run that was admitted, or execute one that it displaced."""
        log.info("run.created", run_id=str(order.run_id), thread_id=str(order.thread_id))
        if admitted.is_ready:
            self._sharing.poke()
        for stopped in admitted.displaced:
            address = RunAddress(order.tenant, order.thread_id, stopped.run_id)
            log.info("run.displaced", run_id=str(stopped.run_id), by=str(order.run_id))
            await self._pass_on(address, stopped)

    async def cancel_run(self, order: CancelRun) -> CancelAnswer:
        """Raises `NotFound` when there is nothing to cancel."""
        stopped = await self._stop(
            RunAddress(order.tenant, order.thread_id, order.run_id), order.action
        )
        if stopped is Illegal.TERMINAL:
            raise NotFound("No runs found to cancel.", run_id=str(order.run_id))
        return CancelAnswer(outcome="stopped" if _is_over(stopped) else "stopping")

    async def cancel_runs(self, order: CancelRuns) -> CancelRunsAnswer:
        """Raises `NotFound` when there is nothing to cancel."""
        count = 0
        if order.thread_id is not None:
            for run_id in order.run_ids:
                address = RunAddress(order.tenant, order.thread_id, run_id)
                count += await self._is_stopped(address, order.action)
        else:
            count = await self._stop_all(order)
        if count == 0:
            raise NotFound("No runs found to cancel.")
        return CancelRunsAnswer(count=count)

    async def _stop_all(self, order: CancelRuns) -> int:
        """Page by page, in the order of ids: a run that is created meanwhile comes later, or is
        none of this order's."""
        count, after = 0, UUID(int=0)
        while found := await self._admissions.find_active(
            tenant=order.tenant, statuses=order.statuses, after=after, limit=_PAGE
        ):
            for run_id, thread_id in found:
                address = RunAddress(order.tenant, thread_id, run_id)
                count += await self._is_stopped(address, order.action)
            after = found[-1][0]
        return count

    async def _is_stopped(self, address: RunAddress, action: CancelAction) -> bool:
        try:
            return await self._stop(address, action) is not Illegal.TERMINAL
        except NotFound:
            return False

    async def delete_run(self, order: DeleteRun) -> DeleteRunAnswer:
        """A run at work is rolled back by its executor; one that is over is for an executor to
        forget."""
        stopped = await self._stop(
            RunAddress(order.tenant, order.thread_id, order.run_id), CancelAction.ROLLBACK
        )
        if isinstance(stopped, Illegal):
            return DeleteRunAnswer(outcome="finished")
        return DeleteRunAnswer(outcome="deleted" if stopped.is_over else "stopping")

    async def on_thread_freed(self, hint: ThreadFreed) -> None:
        """It is the turn of the thread's next run."""
        await self._dispatch_next(hint.thread_id)

    async def on_poke(self, _: SchedulerPoke) -> None:
        """Tickets were claimed, or runs ended, while others wait for theirs."""
        self._sharing.poke()

    async def delete_thread(self, order: DeleteThread) -> Nothing:
        if await self._remove([order.thread_id], tenant=order.tenant) == 0:
            raise NotFound("Thread not found.", thread_id=str(order.thread_id))
        return Nothing()

    async def copy_thread(self, order: CopyThread) -> str:
        return await self._threads.copy(order)

    async def prune_threads(self, order: PruneThreads) -> PruneAnswer:
        return PruneAnswer(pruned_count=await self._remove(order.thread_ids, tenant=order.tenant))

    async def _stop(self, address: RunAddress, action: CancelAction) -> Stopped | Illegal:
        stopped = await self._admissions.cancel(
            address.run_id, address.thread_id, tenant=address.tenant, action=action
        )
        if isinstance(stopped, Stopped):
            log.info("run.cancelled", run_id=str(address.run_id), action=action)
            await self._pass_on(address, stopped)
            if stopped.is_over:
                await self._dispatch_next(address.thread_id)
        return stopped

    async def _pass_on(self, address: RunAddress, stopped: Stopped) -> None:
        """To whoever executes the run. Who reads one that never began is told by the outbox."""
        if not stopped.is_over:
            await self._bus.hint(
                subjects.RUN_SIGNAL, RunSignal(run_id=address.run_id), run=address.run_id
            )

    async def _dispatch_next(self, thread_id: UUID) -> None:
        turn = await self._dispatch.dispatch_next(thread_id)
        if turn is not None and turn.is_ready:
            self._sharing.poke()

    async def _remove(self, thread_ids: Sequence[UUID], *, tenant: str) -> int:
        """Rows first: from then on a running attempt's writes are refused; the hint spares its
        work."""
        removed = await self._threads.delete(thread_ids, tenant=tenant)
        for run_id in removed.values():
            if run_id is not None:
                await self._bus.hint(subjects.RUN_SIGNAL, RunSignal(run_id=run_id), run=run_id)
        return len(removed)


def _is_over(stopped: Stopped | Illegal) -> bool:
    return isinstance(stopped, Stopped) and stopped.is_over
