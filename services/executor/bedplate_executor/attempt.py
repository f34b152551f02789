"""One attempt of one run, told from claim to end. Everything in it runs in a worker.

Whatever this attempt writes presents its number: checkpoints and store items to PostgreSQL
(`graphs.fence`), events to the broker (`bus.event_writer`), the end to the ledger. So it may be
slow, paused or forgotten, but never wrong: if another attempt began meanwhile, its next write is
refused (`Fenced`) and it stops without a word.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import structlog

from bedplate.bus.broker import Bus
from bedplate.bus.event_writer import EventWriter
from bedplate.chassis.tasks import Tasks, uncancelled
from bedplate.graphs.factories import AnyGraph
from bedplate.graphs.failures import shown_error
from bedplate.graphs.fence import AttemptFence
from bedplate.graphs.introspection import Settled, settled, settled_after
from bedplate.graphs.library import GraphDrained, RunControl
from bedplate.graphs.loopback import acting_attempt
from bedplate.graphs.modes import RunStream
from bedplate.graphs.registry import Registry
from bedplate.graphs.store import fenced_store, store_under
from bedplate.graphs.wire import dumps
from bedplate.kernel.errors import BedplateError, Fenced, HandlerFailed, Unavailable
from bedplate.kernel.run import Ending
from bedplate.ledger import Claimed, Ledger, Outcome
from bedplate_proto.subjects import RunAddress
from bedplate_proto.vocabulary import EventName, StreamMode, ThreadStatus

from .closing import Closing, Told
from .holding import Held, Opening
from .keeping import Kept
from .sealed_rows import context_of, opened, sealed_outcome
from .watchdog import current_run
from .work import Work, work_of

log = structlog.get_logger()

FINISH_S = 60.0

_USER_INTERRUPT = {"error": "UserInterrupt", "message": "the run was cancelled by a user"}


class Stop(StrEnum):
    """Why an attempt is told to stop."""

    INTERRUPT = "interrupt"
    ROLLBACK = "rollback"
    SUPERSEDED = "superseded"
    """Another attempt owns the run, or the run is gone: leave without a word."""


class RunTimedOut(TimeoutError):
    """The attempt took longer than a run may."""


How = Literal["ended", "released"]
"""`released`: the run is to go back unharmed; else there is nothing left to do for it here."""


class Released(Exception):
    """The graph stopped at a super-step because we asked it to: the run goes back unharmed."""


@dataclass(frozen=True)
class Tools:
    """What all attempts of a worker share."""

    registry: Registry
    kept: Kept
    ledger: Ledger
    bus: Bus
    graphs: Tasks
    """Owns the graphs' tasks, and their factories': one that ignores its cancellation must not die
    with its attempt's."""
    run_s_max: float
    cancel_s: float
    lease_s: float


class Attempt:
    """`run` it once; `stop` and `drain` may come at any time from the keeper."""

    def __init__(self, claimed: Claimed, tools: Tools) -> None:
        self.claimed = claimed
        self._tools = tools
        fence = AttemptFence(claimed.run_id, claimed.attempt)
        self._context = context_of(claimed)
        saver = tools.kept.saver.with_fence(fence, is_blank=claimed.is_blank)
        self._saver = saver.under(self._context)
        self._store = store_under(fenced_store(tools.kept.store, fence), self._context)
        self._control = RunControl()
        self._held: Held | None = None
        self._graph_task: asyncio.Task[BaseException | None] | None = None
        self._limit = asyncio.timeout(None)
        self._webhook: str | None = None
        self._told: Told | None = None
        self._stop: Stop | None = None if claimed.cancel is None else Stop(claimed.cancel.value)
        self._events = EventWriter(
            tools.bus,
            RunAddress(claimed.tenant, claimed.thread_id, claimed.run_id),
            attempt=claimed.attempt,
            base_n=claimed.events_n,
            still_ours=self._is_still_ours,
        )

    async def run(self) -> How:
        """Live the attempt. Raises what is a failure of ours, never one of the graph's."""
        current_run.set(str(self.claimed.run_id))
        acting_attempt.set((self.claimed.run_id, self.claimed.attempt))
        structlog.contextvars.bind_contextvars(
            run_id=str(self.claimed.run_id),
            thread_id=str(self.claimed.thread_id),
            attempt=self.claimed.attempt,
        )
        is_released = False
        try:
            async with asyncio.TaskGroup() as group:
                pump = group.create_task(self._events.pump())
                try:
                    await self._live()
                finally:
                    pump.cancel()
        except* Fenced as group_of_fenced:
            log.info("attempt.superseded", why=str(group_of_fenced.exceptions[0]))
        except* Released:
            log.info("attempt.released")
            is_released = True
        return "released" if is_released else "ended"

    @property
    def is_cut_short(self) -> bool:
        """The graph was stopped, or took too long: code of it may go on."""
        return self._stop is not None or self._limit.expired()

    @property
    def has_left_task(self) -> bool:
        """The graph's task, or its factory's, did not heed its cancellation."""
        is_at_work = self._graph_task is not None and not self._graph_task.done()
        return is_at_work or (self._held is not None and not self._held.is_gone)

    def stop(self, why: Stop) -> None:
        """Cancel the graph. A rollback overrides an interrupt, being superseded overrides both."""
        order = [Stop.INTERRUPT, Stop.ROLLBACK, Stop.SUPERSEDED]
        if self._stop is None or order.index(why) > order.index(self._stop):
            self._stop = why
        now = asyncio.get_running_loop().time()
        if self._graph_task is None:
            self._hurry(now)  # its factory is at work, or nothing is yet
        else:
            self._graph_task.cancel()
            # Also when it is done: then its factory closes what it has opened.
            self._hurry(now + self._tools.cancel_s)

    def _hurry(self, until: float) -> None:
        with suppress(RuntimeError):  # it is not being waited for
            self._limit.reschedule(until)

    def drain(self, reason: str) -> None:
        """Ask the graph to stop at its next super-step; the run then goes back."""
        self._control.request_drain(reason)

    async def _live(self) -> None:
        about = {"run_id": str(self.claimed.run_id), "attempt": self.claimed.attempt}
        first = (EventName.METADATA, dumps(about))
        await self._events.open(continues=self.claimed.attempt > 1, first=first)
        outcome, answer = await self._outcome()
        if outcome.error is not None and outcome.ending is Ending.ERROR:
            self._events.put(EventName.ERROR, outcome.error.encode())
        # From here on we finish even if this task is cancelled: the graph's work is done.
        closing = Closing(self.claimed, self._tools.ledger, self._tools.bus, self._events)
        closed = closing.close(outcome, answer, told=self._told, webhook=self._webhook)
        await uncancelled(closed, limit_s=FINISH_S)

    async def _outcome(self) -> tuple[Outcome, bytes | None]:
        """Run the graph to its end, whatever end that is; what the thread shows then, and what
        waiters get."""
        try:
            sealing = self._tools.kept.sealing
            work = await work_of(await opened(self.claimed, sealing), self._saver)
            self._webhook = work.webhook
            if work.durability == "async":
                self._saver = self._saver.deferring()
            outcome, answer = await self._lived_and_closed(work)
            return await sealed_outcome(outcome, sealing, self._context), answer
        except (Fenced, Released, Unavailable):
            raise
        except Exception as error:
            # An input that no graph takes, or a factory that fails: trying again would not help.
            return self._failed(error)

    async def _lived_and_closed(self, work: Work) -> tuple[Outcome, bytes | None]:
        self._held = held = Held(self._opening(work), self._tools.graphs)
        limit_s = self._tools.cancel_s
        try:
            ended = await self._lived(await self._opened(held), work)
            limit_s = self._tools.run_s_max
        finally:
            await self._closed(held, limit_s=limit_s)
        return ended

    def _opening(self, work: Work) -> Opening:
        return self._tools.registry.open(
            self.claimed.graph_id,
            config=work.config,
            access="threads.create_run",
            context=work.context,
            user=work.user,
            store=self._store,
            checkpointer=self._saver,
        )

    async def _opened(self, held: Held) -> tuple[AnyGraph, Context] | None:
        """The graph, also when its factory takes long; None when the run was stopped meanwhile."""
        # One that was stopped before it began is opened for its state alone.
        limit_s = self._tools.run_s_max if self._stop is None else self._tools.cancel_s
        try:
            async with asyncio.timeout(limit_s) as self._limit:
                return await held.opened()
        except TimeoutError:
            if not self._limit.expired():
                raise
            is_late = self._stop is None
            await self._cut_off(held)
            if is_late:
                raise self._timed_out() from None
            return None

    async def _closed(self, held: Held, *, limit_s: float) -> None:
        """What the factory does at the end is the project's code as well. Raises what it raises."""
        if self._stop is not None:
            limit_s = self._tools.cancel_s
        try:
            async with asyncio.timeout(limit_s) as self._limit:
                await held.closed()
        except TimeoutError:
            if not self._limit.expired():
                raise
            await self._cut_off(held)

    async def _cut_off(self, held: Held) -> None:
        await held.cut_off(cancel_s=self._tools.cancel_s)
        if not held.is_gone:
            log.warning("graph.left_behind", waited_s=self._tools.cancel_s)

    def _timed_out(self) -> RunTimedOut:
        return RunTimedOut(f"the run took longer than {self._tools.run_s_max:g} s")

    async def _lived(
        self, opened: tuple[AnyGraph, Context] | None, work: Work
    ) -> tuple[Outcome, bytes | None]:
        graph, failure, stream = None, None, None
        if opened is not None:
            graph, context = opened
            stream = work.stream(graph, control=self._control)
            failure = await self._ran(stream, context)
        if self._stop is Stop.SUPERSEDED or isinstance(failure, Fenced):
            raise Fenced("the attempt was told to stop")
        if isinstance(failure, GraphDrained):
            raise Released
        if isinstance(failure, Unavailable):
            raise failure  # PostgreSQL stayed away: that is no failure of the graph
        if self._stop is Stop.ROLLBACK:
            return await self._rolled_back()
        return await self._settled(stream, graph, work, failure)

    async def _ran(self, stream: RunStream, context: Context) -> BaseException | None:
        """Stream the graph; how it failed, as a value. Only our own cancellation stays one."""
        if self._stop is not None:
            return None
        task = self._graph_task = self._tools.graphs.start(
            self._forward(stream), "graph", context=context
        )
        is_late = False
        try:
            async with asyncio.timeout(self._tools.run_s_max) as self._limit:
                await asyncio.wait([task])
        except TimeoutError:
            is_late = self._stop is None
            task.cancel()
            if is_late:
                await asyncio.wait([task], timeout=self._tools.cancel_s)
            if not task.done():
                # Its writes are refused once the run is over; its thread or task is lost to us.
                log.warning("graph.left_behind", waited_s=self._tools.cancel_s)
        except asyncio.CancelledError:
            # Superseded, as its first refused event says: that alone leaves nothing behind.
            task.cancel()
            await asyncio.wait([task], timeout=self._tools.cancel_s)
            raise
        if is_late:
            return self._timed_out()
        return task.result() if task.done() and not task.cancelled() else None

    async def _forward(self, stream: RunStream) -> BaseException | None:
        failure = await self._streamed(stream)
        try:
            # Also when it stopped to be handed over: the next attempt goes on from what is stored.
            await self._saver.settled()
        except (Fenced, Unavailable) as error:
            return error
        except BedplateError as error:
            return error if failure is None or isinstance(failure, GraphDrained) else failure
        return failure

    async def _streamed(self, stream: RunStream) -> BaseException | None:
        try:
            async for event in stream:
                self._events.put(event.event, event.data)
                if event.event == StreamMode.VALUES:
                    self._told = Told(self._events.n, event.data)
                await self._events.room()
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and not task.cancelling():
                return error  # the graph cancelled itself: a failure like any other
            raise
        except BaseException as error:  # a node may call sys.exit: that ends its run, not us
            return error
        return None

    async def _settled(
        self,
        stream: RunStream | None,
        graph: AnyGraph | None,
        work: Work,
        failure: BaseException | None,
    ) -> tuple[Outcome, bytes | None]:
        if stream is not None and graph is not None and failure is None and self._stop is None:
            state = await settled_after(stream, graph, work.thread)
            return self._ended(Ending.SUCCESS, state), stream.answer()
        state = None if graph is None else await self._state_left(graph, work)
        if self._stop is None and failure is not None:
            return self._failed(failure, state)
        # Also when it failed at being cancelled: whoever asked for the end gets the end.
        error = dumps(_USER_INTERRUPT) if state is not None and state.next else None
        values = None if state is None else state.values
        return self._ended(Ending.INTERRUPTED, state, error=error), values

    def _failed(
        self, failure: BaseException, state: Settled | None = None
    ) -> tuple[Outcome, bytes | None]:
        if isinstance(failure, HandlerFailed) and failure.__cause__ is not None:
            # To whose run it is the handler's own words are told.
            failure = failure.__cause__
        shown = dumps(shown_error(failure))
        log.info("graph.failed", error=type(failure).__name__, exc_info=failure)
        ending = Ending.TIMEOUT if isinstance(failure, RunTimedOut) else Ending.ERROR
        return self._ended(ending, state, error=shown, status=ThreadStatus.ERROR), None

    async def _state_left(self, graph: AnyGraph, work: Work) -> Settled | None:
        """What a run that failed or was stopped has left; None when even that cannot be read."""
        try:
            return await settled(graph, work.thread)
        except Fenced:
            raise
        except Exception:
            log.exception("state.unreadable")
            return None

    async def _rolled_back(self) -> tuple[Outcome, bytes | None]:
        """Take back what the run saved: its checkpoints, and so its input. The thread goes on
        showing what it showed before."""
        await self._saver.adelete_for_runs([str(self.claimed.run_id)])
        return self._ended(Ending.ROLLED_BACK, None), None

    def _ended(
        self,
        ending: Ending,
        state: Settled | None,
        *,
        error: bytes | None = None,
        status: ThreadStatus | None = None,
    ) -> Outcome:
        # A failure without a state to read, as of a graph that does not open, answers nothing.
        unknown = None if status is ThreadStatus.ERROR else "{}"
        return Outcome(
            ending=ending,
            values=None if state is None else state.values.decode(),
            interrupts=unknown if state is None else state.interrupts.decode(),
            error=None if error is None else error.decode(),
            thread_status=status or (ThreadStatus(state.status) if state else ThreadStatus.IDLE),
            events_n=0,
        )

    async def _is_still_ours(self) -> bool:
        """Ask the truth, by renewing the lease we think we hold."""
        held = {self.claimed.run_id: self.claimed.attempt}
        renewal = await self._tools.ledger.renew(held, lease_s=self._tools.lease_s)
        return bool(renewal.held)
