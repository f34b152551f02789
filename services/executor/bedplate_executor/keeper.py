"""The keeper: takes tickets, claims runs, gives them to workers, keeps their leases, and watches.
It runs no user code.

Because it never waits for a graph, a lease is renewed whatever users' code does; because it is
their parent, it knows at once when a worker dies and hands its runs back. What it forgets when it
dies itself, the scheduler's expiry loop finds.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID

import structlog

from bedplate.backbone import end_lost_run
from bedplate.bus.broker import Bus
from bedplate.bus.tickets import Ticket, Tickets
from bedplate.chassis.errors import ConfigurationError
from bedplate.chassis.tasks import Tasks
from bedplate.graphs.patience import is_passing
from bedplate.ledger import Claimed, Ledger
from bedplate_proto import subjects
from bedplate_proto.runs import CountSlots, RunSignal, SchedulerPoke, Slots
from bedplate_proto.threads import GraphDescription, RegisterGraphs

from .crew import Crew, Unloadable
from .recycling import Recycling
from .settings import Settings
from .worker_process import WorkerProcess

log = structlog.get_logger()

QUESTION_S_MAX = 25.0
_CLOSE_S_MAX = 2.0
# Before a lease ends we stop by ourselves: a write is refused anyway, but a tool's effect is not.
_LEASE_MARGIN_S = 1.0
# Longer than this between two looks at the workers: the keeper itself was stopped.
_ABSENT_S = 2.0
# More failures than any run has: the death is counted, and ends nothing.
_NEVER = 2**31 - 1


class Keeper:
    """Methods are the service's loops, works and routes."""

    def __init__(self, settings: Settings, ledger: Ledger, bus: Bus, tasks: Tasks) -> None:
        self._settings = settings
        self._ledger = ledger
        self._bus = bus
        self._tasks = tasks
        self.name = f"{settings.service}-{id(self):x}"
        self.crew = Crew(
            size=settings.workers,
            slots=settings.slots,
            attempts_max=settings.attempts_max,
            has_spare=settings.spare,
            tasks=tasks,
            closed=self._closed,
            left_behind=lambda worker, run_id: self._recycling.begin(worker, run_id),
            died=self._died,
            changed=self._slots_changed,
        )
        self._recycling = Recycling(
            self.crew,
            finish_s=settings.recycle_s,
            drain_s=settings.drain_s,
            release=lambda held: self._hand_over(self._release(held)),
        )
        self.tickets = Tickets(bus, free=self.crew.free_slots)
        self._renewed_at = self._watched_at = asyncio.get_running_loop().time()
        self._has_lapsed = False
        self.graphs_changed: Callable[[], None] = lambda: None
        """Set to the poke of the loop that registers them."""
        self._registered: list[dict[str, Any]] | None = None
        self._handing_over: set[asyncio.Task[None]] = set()
        self._culprit: dict[int, UUID | None] = {}
        """Of workers that were killed because they stood still: the run they stood in."""

    # -- taking runs

    async def take_runs(self) -> None:
        """A work: tickets in, claimed runs out to the workers; for ever."""
        while True:
            tickets = await self.tickets.take()
            if self.crew.is_stopping:
                await self._put_back(tickets)
                continue
            began_at = asyncio.get_running_loop().time()
            try:
                claimed = await self._ledger.claim(
                    [ticket.ready.run_id for ticket in tickets],
                    by=self.name,
                    lease_s=self._settings.lease_s,
                )
            except Exception as error:
                # PostgreSQL is away: somebody shall have these tickets again, maybe we.
                log.warning(
                    "claim.failed", tickets=len(tickets), error=f"{type(error).__name__}: {error}"
                )
                await self._put_back(tickets)
                await asyncio.sleep(1.0)
                continue
            if not self.crew.held():
                self._renewed_at = max(self._renewed_at, began_at)
            for run in claimed:
                log.info(
                    "run.claimed",
                    run_id=str(run.run_id),
                    thread_id=str(run.thread_id),
                    attempt=run.attempt,
                )
                if self.crew.is_stopping:
                    self._hand_over(self._release({run.run_id: run.attempt}))
                else:
                    self.crew.assign(run)
            if any(run.is_crowded for run in claimed):
                await self._bus.hint(subjects.SCHEDULER_POKE, SchedulerPoke())
            for ticket in tickets:
                # Won or not: from here on the lease alone guards the run, and a lost claim is
                # another's.
                await ticket.done()

    async def _put_back(self, tickets: list[Ticket]) -> None:
        for ticket in tickets:
            await ticket.put_back()

    # -- keeping leases

    async def renew(self) -> dict[str, Any] | None:
        """A loop's tick: all leases in one statement; cancel requests and takeovers come back
        with it."""
        held = self.crew.held()
        began_at = asyncio.get_running_loop().time()
        if not held:
            self._renewed_at = began_at
            return None
        renewal = await self._ledger.renew(held, lease_s=self._settings.lease_s)
        self._renewed_at = began_at
        for run_id, action in renewal.held.items():
            if action is not None:
                self.crew.stop(run_id, action.value)
        for run_id in renewal.superseded:
            if held[run_id] == self.crew.held().get(run_id):
                self.crew.stop(run_id, "superseded")
        return {"held": len(renewal.held), "superseded": len(renewal.superseded)}

    async def on_signal(self, hint: RunSignal) -> None:
        """Something changed about a run: look at once instead of at the next renewal."""
        held = self.crew.held()
        if hint.run_id not in held:
            return
        renewal = await self._ledger.renew(
            {hint.run_id: held[hint.run_id]}, lease_s=self._settings.lease_s
        )
        action = renewal.held.get(hint.run_id)
        if hint.run_id in renewal.superseded:
            self.crew.stop(hint.run_id, "superseded")
        elif action is not None:
            self.crew.stop(hint.run_id, action.value)

    def _let_lapse(self, now: float) -> None:
        """When nobody can tell us whether the runs are still ours: stop, and give them back when
        PostgreSQL answers.

        Not where the renewal fails: one that waits for a server that does not answer may take
        longer to give up than the leases last.
        """
        lapses_at = self._renewed_at + self._settings.lease_s - _LEASE_MARGIN_S
        held = self.crew.held()
        if not held or now < lapses_at:
            self._has_lapsed = False
            return
        if self._has_lapsed:
            return
        self._has_lapsed = True
        log.error("leases.lapsed", runs=len(held))
        for run_id in held:
            self.crew.stop(run_id, "superseded")
        self._hand_over(self._release(held))

    # -- watching workers

    async def watch(self) -> None:
        """A loop's tick: let leases lapse that cannot be renewed; report workers that stand still,
        replace and at last kill them."""
        now = asyncio.get_running_loop().time()
        watched_at, self._watched_at = self._watched_at, now
        if now - watched_at > _ABSENT_S:
            # It was we who stood still (a paused container): what they said meanwhile is unread.
            for worker in self.crew.workers:
                worker.heard_at = now
            return
        self._let_lapse(now)
        self._recycling.tick(now)
        for worker in list(self.crew.workers):
            if not worker.ready.done() or worker.process.poll() is not None:
                continue
            silent_s = now - worker.heard_at
            lag_s = max(worker.lag_s, silent_s)
            if lag_s < self._settings.stall_report_s:
                continue
            stall = worker.stall or {}
            if worker.pid not in self._culprit:
                self._culprit[worker.pid] = None
                if silent_s > self._settings.stall_report_s:
                    worker.process.send_signal(signal.SIGUSR1)  # its stacks go to stderr
                log.error(
                    "worker.stalled",
                    worker=worker.pid,
                    lag_s=round(lag_s, 1),
                    run_id=stall.get("run_id"),
                    stack=stall.get("stack"),
                )
                self.crew.retire(worker)
            if culprit := stall.get("run_id"):
                self._culprit[worker.pid] = UUID(culprit)
            if lag_s > self._settings.stall_kill_s:
                log.error("worker.killed", worker=worker.pid, lag_s=round(lag_s, 1))
                worker.kill()

    def _closed(self, worker: WorkerProcess, run_id: UUID, attempt: int, how: str) -> None:
        """A worker says that an attempt is over."""
        held = worker.held.get(run_id)
        if held is None or held.claimed.attempt != attempt:
            return
        del worker.held[run_id]
        if how == "released":
            self._hand_over(self._release({run_id: attempt}))
        elif how == "failed":
            self._hand_over(self._lose([held.claimed], may_end=True))
        if worker.is_retiring and not worker.held:
            worker.close()
        self.crew.settle()

    def _died(self, worker: WorkerProcess, code: int) -> None:
        """A worker is gone: its runs are handed back at once. A death counts against the run that
        caused it, or, if nobody knows which, against all of them; but then it ends none."""
        runs = [held.claimed for held in worker.held.values()]
        culprit = self._culprit.pop(worker.pid, None)
        known = [run for run in runs if run.run_id == culprit] or self.crew.on_probation(worker)
        guilty = known or runs
        worker.held.clear()
        if is_certain := bool(known) or len(runs) == 1:
            for run in guilty:
                self.crew.suspect(run.run_id)
        if guilty:
            self._hand_over(self._lose(guilty, may_end=is_certain))
        if innocent := {run.run_id: run.attempt for run in runs if run not in guilty}:
            self._hand_over(self._release(innocent))

    async def _release(self, held: dict[UUID, int]) -> None:
        released = await self._patiently(lambda: self._ledger.release(held))
        log.info("runs.released", runs=len(held), released=released)

    async def _lose(self, runs: list[Claimed], *, may_end: bool) -> None:
        held = {run.run_id: run.attempt for run in runs}
        failures_max = self._settings.attempts_max if may_end else _NEVER
        lost = await self._patiently(
            lambda: self._ledger.lose(held, failures_max=failures_max, expired_only=False)
        )
        for run in lost:
            log.warning(
                "run.lost", run_id=str(run.run_id), attempt=run.attempt, is_last=run.is_last
            )
            if run.is_last:
                await end_lost_run(self._bus, run)

    async def _patiently(self, verb: Any) -> Any:
        """Until PostgreSQL answers; the runs would expire otherwise, which costs a failure."""
        while True:
            try:
                return await verb()
            except Exception as error:
                if not is_passing(error):
                    raise
                log.warning("handover.delayed", why=type(error).__name__)
            await asyncio.sleep(0.5)

    def _slots_changed(self) -> None:
        self.tickets.slots_changed()
        if self.crew.graphs not in ([], self._registered):
            self.graphs_changed()

    # -- graphs

    async def register(self) -> dict[str, Any] | None:
        """A loop's tick: the gateways know which graphs can be run."""
        graphs = self.crew.graphs
        if not graphs:
            return None
        order = RegisterGraphs(
            tenant=self._settings.tenant,
            graphs=[GraphDescription.model_validate(graph) for graph in graphs],
        )
        await self._bus.order(subjects.REGISTER_GRAPHS, order)
        self._registered = graphs
        return {"graphs": len(graphs)}

    async def ask(self, verb: str, body: bytes) -> bytes:
        """Pass a question on to a worker that can answer."""
        worker = await self.crew.least_busy()
        return await worker.ask(verb, body, limit_s=QUESTION_S_MAX)

    async def count_slots(self, _: CountSlots) -> Slots:
        return Slots(
            tenant=self._settings.tenant,
            held=len(self.crew.held()),
            free=self.crew.free_slots(),
        )

    async def ready(self) -> str | None:
        if not self.crew.open_workers:
            return "no worker is ready"
        return None if self._registered is not None else "no gateway knows the graphs yet"

    # -- coming and leaving

    async def __aenter__(self) -> Keeper:
        try:
            await self.crew.start()
        except Unloadable as error:
            raise ConfigurationError(str(error)) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        self.crew.close_all()
        try:
            async with asyncio.timeout(_CLOSE_S_MAX):
                await self.crew.gone()
        except TimeoutError:
            for worker in self.crew.all_processes:
                log.warning("worker.killed", worker=worker.pid, why="it did not end when asked to")
                worker.kill()

    async def drain(self) -> None:
        """Take nothing new; graphs stop at their next super-step, their runs go back unharmed."""
        await self.tickets.close()
        if waiting := self.crew.retire_all("the executor is stopping"):
            self._hand_over(self._release(waiting))
        try:
            async with asyncio.timeout(self._settings.drain_s):
                await self.crew.idle()
        except TimeoutError:
            late = self.crew.held()
            # They reached no super-step in time: what they did since the last is done again.
            log.warning("drain.cut_off", runs=len(late))
            for run_id in late:
                self.crew.stop(run_id, "superseded")
            await self._release(late)
        # The handovers themselves: tasks that the last closed attempts started.
        while self._handing_over:
            await asyncio.wait(self._handing_over)

    def _hand_over(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._tasks.start(work, "handover")
        self._handing_over.add(task)
        task.add_done_callback(self._handing_over.discard)
