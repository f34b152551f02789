"""The runs' verbs over PostgreSQL. A hot verb is one statement; what decides stands in
`bedplate.kernel`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from bedplate.kernel.admission import BUSY_MESSAGE, Decision, Request, ThreadFacts, admit
from bedplate.kernel.errors import Conflict, NotFound, Refused
from bedplate.kernel.run import Gone, Illegal, Run, cancel
from bedplate.sql import Statements
from bedplate_proto import subjects
from bedplate_proto.runs import EVENTS_SKIPPED, CreateRun
from bedplate_proto.vocabulary import CancelAction, RunStatus

from .messages import Finish, Messages, arrays, numbered
from .moves import (
    Applied,
    Cancelled,
    Claimed,
    Closed,
    EndedUnstarted,
    Lost,
    Missing,
    Outcome,
    Renewal,
    Superseded,
)
from .outbox import Outbox, Outgoing

_sql = Statements("bedplate.ledger")

# Two schedulers may disagree about a thread a few times; more often than this something else is
# wrong.
_ADMISSION_TRIES_MAX = 20

NOT_FOUND_MESSAGE = "Thread or assistant not found."
EXHAUSTED_ERROR = (
    '{"error": "WorkerLost", "message": "exceeded max attempts:'
    ' the process that executed the run died each time"}'
)


class Ledger:
    """Threads' runs in PostgreSQL. Thread-safe in the asyncio sense: any number of verbs at
    once."""

    def __init__(self, pool: Any, outbox: Outbox, *, prefix: str = subjects.DEFAULT_PREFIX) -> None:
        self._pool = pool
        self._outbox = outbox
        self._messages = Messages(prefix)

    # -- the scheduler's verbs

    async def create(self, order: CreateRun) -> str:
        """Admit a run and return its row as JSON text. Idempotent by run id.

        Raises `NotFound` (no such thread, or not yours), `Conflict` (busy, and the strategy is
        reject; or the run id is taken) and `Refused` (JSON that PostgreSQL cannot hold).
        """
        try:
            return await self._admit(order)
        except asyncpg.DataError as error:
            raise Refused(f"a part of the run is JSON that cannot be stored: {error}") from error

    async def _admit(self, order: CreateRun) -> str:
        request = Request(
            order.multitask_strategy, order.if_not_exists, is_delayed=order.after_s > 0
        )
        facts = ThreadFacts.MISSING if order.is_temporary else ThreadFacts.FREE
        hidden = 0
        for _ in range(_ADMISSION_TRIES_MAX):
            decision = admit(facts, request)
            match decision:
                case Decision.REFUSE_BUSY:
                    raise Conflict(BUSY_MESSAGE, thread_id=str(order.thread_id))
                case Decision.REFUSE_MISSING:
                    raise NotFound(NOT_FOUND_MESSAGE, thread_id=str(order.thread_id))
                case Decision.START_ON_NEW_THREAD | Decision.WAIT_ON_NEW_THREAD:
                    row = await self._create_with_thread(
                        order, starts=decision is Decision.START_ON_NEW_THREAD
                    )
                    # Not written: somebody made the thread a moment ago, or it is one that this
                    # order may not see (another tenant's, or about to be swept).
                    found = ThreadFacts.FREE
                    hidden += row is None
                case Decision.START | Decision.WAIT:
                    row, found = await self._create_on(
                        order, facts, starts=decision is Decision.START
                    )
            if row is not None:
                if decision is Decision.WAIT and not request.is_delayed:
                    # The thread may have only delayed runs, and so nobody who would dispatch this
                    # one.
                    await self.dispatch_next(order.thread_id)
                return row
            if known := await self._known(order):
                return known
            if found is facts:
                raise Conflict("The run id is taken.", run_id=str(order.run_id))
            if found is ThreadFacts.MISSING and hidden > 1:
                raise NotFound(NOT_FOUND_MESSAGE, thread_id=str(order.thread_id))
            facts = found
        raise Conflict("the thread changes faster than a run can be admitted: try again")

    async def _create_on(
        self, order: CreateRun, facts: ThreadFacts, *, starts: bool
    ) -> tuple[str | None, ThreadFacts]:
        told = self._messages.of_new_run(order, starts=starts)
        record = await self._pool.fetchrow(
            _sql["create_run"],
            *_columns(order),
            facts is ThreadFacts.OCCUPIED,
            starts,
            *arrays(told),
            order.assistant_metadata,
        )
        if record is None:
            return None, ThreadFacts.MISSING
        if record["row"] is None:
            return None, ThreadFacts.OCCUPIED if record["is_occupied"] else ThreadFacts.FREE
        self._outbox.soon(numbered(told, record["outbox_ids"]))
        return record["row"], facts

    async def _create_with_thread(self, order: CreateRun, *, starts: bool) -> str | None:
        told = self._messages.of_new_run(order, starts=starts)
        try:
            record = await self._pool.fetchrow(
                _sql["create_run_on_new_thread"],
                *_columns(order),
                starts,
                *arrays(told),
                order.is_temporary,
                order.deletes_thread,
                order.assistant_metadata,
            )
        except asyncpg.UniqueViolationError as error:
            raise Conflict("The run id is taken.", run_id=str(order.run_id)) from error
        if record is None:
            return None
        self._outbox.soon(numbered(told, record["outbox_ids"]))
        return record["row"]

    async def _known(self, order: CreateRun) -> str | None:
        """The run's row if this order was carried out before (the answer was lost on its way)."""
        return await self._pool.fetchval(
            _sql["read_run"], order.run_id, order.thread_id, order.tenant
        )

    async def dispatch_next(self, thread_id: UUID) -> bool:
        """Issue the ticket of the thread's oldest due run, if the thread is free; whether it
        did."""
        rows = await self._pool.fetch(
            _sql["dispatch_next"], thread_id, self._messages.ticket_subject
        )
        return self._flush(rows)

    async def find_undispatched(self, *, limit: int) -> list[UUID]:
        rows = await self._pool.fetch(_sql["find_undispatched"], limit)
        return [row["thread_id"] for row in rows]

    async def reissue_tickets(self, *, older_than_s: float, limit: int) -> int:
        """New tickets for runs that wait for longer than `older_than_s`; how many. For tickets that
        got lost: `older_than_s` must be longer than anything has been in the queue."""
        rows = await self._pool.fetch(
            _sql["reissue_tickets"], older_than_s, self._messages.ticket_subject, limit
        )
        self._flush(rows)
        return len(rows)

    async def cancel(
        self, run_id: UUID, thread_id: UUID, *, tenant: str, action: CancelAction
    ) -> Cancelled:
        """Ask for a run to stop. Raises `NotFound` when there is no such run."""
        ended: EndedUnstarted | None = None
        async with self._pool.acquire() as connection, connection.transaction():
            record = await connection.fetchrow(_sql["lock_run"], run_id, thread_id, tenant)
            if record is None:
                raise NotFound("No runs found to cancel.", run_id=str(run_id))
            before = _run_of(record)
            after = cancel(before, action)
            match after:
                case Run(status=RunStatus.INTERRUPTED):
                    row = await connection.fetchrow(_sql["end_waiting_run"], run_id)
                    assert row is not None
                    active: int = row["runs_active"]
                    ended = EndedUnstarted(row["end_n"], row["finished_at"])
                case Gone():
                    active = await connection.fetchval(_sql["delete_waiting_run"], run_id)
                case Run():
                    await connection.execute(_sql["request_cancel"], run_id, after.cancel)
                    return Cancelled(after)
                case Illegal():
                    return Cancelled(after)
            about = Finish(
                run_id,
                thread_id,
                tenant,
                record["assistant_id"],
                record["graph_id"],
                0,
                _webhook(record["kwargs"]),
            )
            told = [
                self._messages.of_finished_run(
                    about,
                    RunStatus.INTERRUPTED,
                    rolled_back=isinstance(after, Gone),
                    has_next=active > 0,
                )
            ]
            ids = await connection.fetch(_sql["write_outbox"], *arrays(told))
        self._outbox.soon(numbered(told, [row["outbox_id"] for row in ids]))
        return Cancelled(after, ended)

    async def find_expired(self, *, limit: int) -> list[tuple[UUID, int]]:
        rows = await self._pool.fetch(_sql["find_expired"], limit)
        return [(row["run_id"], row["attempt"]) for row in rows]

    # -- the executor's verbs

    async def claim(self, run_ids: Sequence[UUID], *, by: str, lease_s: float) -> list[Claimed]:
        """Begin the next attempt of each of these runs that may begin; the others were not won."""
        rows = await self._pool.fetch(_sql["claim_runs"], list(run_ids), by, lease_s)
        return [_claimed(row) for row in rows]

    async def renew(self, held: Mapping[UUID, int], *, lease_s: float) -> Renewal:
        """Prolong the leases of `held` (run id → attempt), all in one statement."""
        rows = await self._pool.fetch(
            _sql["renew_leases"], list(held), list(held.values()), lease_s
        )
        kept = {row["run_id"]: _action(row["cancel_action"]) for row in rows}
        return Renewal(held=kept, superseded=set(held) - set(kept))

    async def finish(self, about: Finish, outcome: Outcome) -> Closed:
        """End the run, if this attempt still holds it. Twice is as good as once."""
        is_rolled_back = outcome.ending == "rolled_back"
        status = RunStatus.INTERRUPTED if is_rolled_back else RunStatus(outcome.ending.value)
        told = self._messages.of_finished_run(
            about, status, rolled_back=is_rolled_back, error=outcome.error
        )
        common = (told.msg_id, told.subject, told.body)
        if is_rolled_back:
            record = await self._pool.fetchrow(
                _sql["roll_back_run"], about.run_id, about.attempt, outcome.values,
                outcome.interrupts, outcome.thread_status, *common, about.thread_id,
                outcome.events_n,
            )  # fmt: skip
        else:
            record = await self._pool.fetchrow(
                _sql["finish_run"], about.run_id, about.attempt, status, outcome.values,
                outcome.interrupts, outcome.error, outcome.thread_status, outcome.events_n, *common,
                about.thread_id,
            )  # fmt: skip
        if record is None:
            return Missing()
        if not record["applied"]:
            return Superseded(RunStatus(record["status"]), record["attempt"])
        self._flush([record])
        return Applied(record["finished_at"])

    async def release(self, held: Mapping[UUID, int]) -> int:
        """Give runs back unharmed (drain): they get a new ticket, no failure is counted. How many
        were ours."""
        rows = await self._pool.fetch(
            _sql["release_runs"], list(held), list(held.values()), self._messages.ticket_subject
        )
        self._flush(rows)
        return len(rows)

    async def lose(
        self, held: Mapping[UUID, int], *, failures_max: int, expired_only: bool
    ) -> list[Lost]:
        """The attempts died under these runs. Each waits for its next attempt, or ends in error."""
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(
                _sql["lose_runs"], list(held), list(held.values()), failures_max, expired_only,
                EXHAUSTED_ERROR, self._messages.ticket_subject, EVENTS_SKIPPED,
            )  # fmt: skip
            told = [
                self._messages.of_finished_run(
                    Finish(
                        row["run_id"], row["thread_id"], row["tenant"], row["assistant_id"],
                        row["graph_id"], row["attempt"], _webhook(row["kwargs"]),
                    ),
                    RunStatus.ERROR, rolled_back=False, error=EXHAUSTED_ERROR,
                    has_next=row["has_next"],
                )
                for row in rows
                if row["is_last"]
            ]  # fmt: skip
            ids = await connection.fetch(_sql["write_outbox"], *arrays(told)) if told else []
        self._flush([row for row in rows if row["outbox_id"] is not None])
        self._outbox.soon(numbered(told, [row["outbox_id"] for row in ids]))
        return [
            Lost(
                row["run_id"], row["thread_id"], row["tenant"], row["graph_id"], row["attempt"],
                row["is_last"], row["events_n"], row["finished_at"],
            )
            for row in rows
        ]  # fmt: skip

    async def forget(self, run_id: UUID) -> bool:
        """Remove the row of a run that is over; False when it is not over, or gone."""
        return await self._pool.fetchval(_sql["forget_run"], run_id) is not None

    def _flush(self, rows: Sequence[Any]) -> bool:
        self._outbox.soon(
            [Outgoing(row["outbox_id"], row["msg_id"], row["subject"], row["body"]) for row in rows]
        )
        return bool(rows)


def _columns(order: CreateRun) -> tuple[Any, ...]:
    return (
        order.run_id, order.thread_id, order.tenant, order.assistant_id, order.graph_id,
        order.kwargs, order.metadata, order.multitask_strategy, order.after_s,
        order.thread_metadata, order.thread_config,
    )  # fmt: skip


def _claimed(row: Any) -> Claimed:
    return Claimed(
        run_id=row["run_id"],
        thread_id=row["thread_id"],
        tenant=row["tenant"],
        assistant_id=row["assistant_id"],
        graph_id=row["graph_id"],
        kwargs=row["kwargs"],
        metadata=row["metadata"],
        attempt=row["attempt"],
        failures=row["failures"],
        cancel=_action(row["cancel_action"]),
        events_n=row["events_n"],
    )


def _run_of(row: Any) -> Run:
    return Run(
        RunStatus(row["status"]), row["attempt"], row["failures"], _action(row["cancel_action"])
    )


def _webhook(kwargs: str) -> str | None:
    """Read here and not by PostgreSQL, whose `->>` fails when any text in `kwargs` holds a NUL."""
    webhook = orjson.loads(kwargs).get("webhook")
    return webhook if isinstance(webhook, str) else None


def _action(text: str | None) -> CancelAction | None:
    return None if text is None else CancelAction(text)
