"""The end of an attempt: its events are with the broker, then the row says how it ended, then
whoever waits is told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import structlog

from bedplate.bus.broker import Bus
from bedplate.bus.event_line import end_of
from bedplate.bus.event_writer import EventWriter
from bedplate.graphs.patience import is_passing
from bedplate.kernel.run import Ending
from bedplate.ledger import Applied, Claimed, Closed, Finish, Ledger, Outcome
from bedplate_proto import subjects
from bedplate_proto.runs import SchedulerPoke, ThreadFreed
from bedplate_proto.vocabulary import EventName, RunStatus, ThreadStatus
from bedplate_proto.webhooks import WebhookPoke

log = structlog.get_logger()

# What was streamed must be with the broker before the run is over; a broker away for longer costs
# the reader the tail of the stream (it gets the values from the row), not the run its end.
EVENTS_DRAIN_S = 15.0
# Values up to here are told again in the `end` event: who comes late needs to read nothing else.
_REPEATED_BYTES_MAX = 16_384


@dataclass(frozen=True)
class Told:
    """A `values` event of the run: its number and its data."""

    n: int
    data: bytes


class Closing:
    """`close` an attempt once."""

    def __init__(self, claimed: Claimed, ledger: Ledger, bus: Bus, events: EventWriter) -> None:
        self._claimed = claimed
        self._ledger = ledger
        self._bus = bus
        self._events = events

    async def close(
        self, outcome: Outcome, answer: bytes | None, *, told: Told | None, webhook: str | None
    ) -> None:
        """`answer`: the values that waiters get; `told`: the newest that readers have got."""
        await self._drained()
        claimed = self._claimed
        about = Finish(
            claimed.run_id,
            claimed.thread_id,
            claimed.tenant,
            claimed.assistant_id,
            claimed.graph_id,
            claimed.attempt,
            webhook=webhook,
        )
        # The end event has the next number, whether or not the broker ever gets it.
        outcome = replace(outcome, events_n=self._events.n + 1)
        match await self._patiently(about, outcome):
            case Applied(finished_at) as applied:
                error = None if outcome.error is None else outcome.error.encode()
                values_n = _told_n(answer, told)
                end = end_of(
                    _status_of(outcome.ending),
                    error=error,
                    values=answer if values_n is None else None,
                    finished_at=finished_at,
                    graph=claimed.graph_id,
                    waits=outcome.thread_status is ThreadStatus.INTERRUPTED,
                    values_n=values_n,
                )
                self._events.put(EventName.END, end)
                await self._tell(applied, has_webhook=webhook is not None)
                await self._drained()
                log.info("run.finished", ending=outcome.ending)
            case other:
                log.info("attempt.superseded", found=repr(other))

    async def _tell(self, applied: Applied, *, has_webhook: bool) -> None:
        """Wake whoever has to do with the end; they would look by themselves, a second later."""
        if applied.has_next:
            freed = ThreadFreed(thread_id=self._claimed.thread_id)
            await self._bus.hint(subjects.THREAD_FREED, freed)
        if applied.is_crowded:
            await self._bus.hint(subjects.SCHEDULER_POKE, SchedulerPoke())
        if has_webhook:
            await self._bus.hint(subjects.WEBHOOK_POKE, WebhookPoke())

    async def _drained(self) -> None:
        try:
            async with asyncio.timeout(EVENTS_DRAIN_S):
                await self._events.drain()
        except TimeoutError:
            log.warning("events.undelivered", waited_s=EVENTS_DRAIN_S)

    async def _patiently(self, about: Finish, outcome: Outcome) -> Closed:
        """Finish, also through a restart of PostgreSQL: the graph's work is not thrown away for
        it."""
        delay_s = 0.1
        while True:
            try:
                return await self._ledger.finish(about, outcome)
            except Exception as error:
                if not is_passing(error):
                    raise
                log.warning("finish.delayed", why=type(error).__name__)
            await asyncio.sleep(delay_s)
            delay_s = min(1.0, delay_s * 2)


def _told_n(answer: bytes | None, told: Told | None) -> int | None:
    """The event that tells the answer, if it is too long to be told twice."""
    if answer is None or told is None or len(answer) <= _REPEATED_BYTES_MAX:
        return None
    return told.n if told.data == answer else None


def _status_of(ending: Ending) -> str:
    return RunStatus.INTERRUPTED if ending is Ending.ROLLED_BACK else ending.value
