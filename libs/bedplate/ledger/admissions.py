"""New runs, and runs that are to stop: what the kernel decides about a thread, written."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from bedplate.kernel.admission import (
    BUSY_MESSAGE,
    Decision,
    Request,
    ThreadFacts,
    admit,
    displacing,
)
from bedplate.kernel.errors import Conflict, NotFound, Refused
from bedplate.kernel.run import Gone, Illegal, Run, cancel
from bedplate.sql import Statements
from bedplate_proto.runs import CreateRun
from bedplate_proto.subjects import RunAddress
from bedplate_proto.threads import FOR_EVER, ThreadTtl
from bedplate_proto.vocabulary import CancelAction, RunStatus

from .dispatch import Dispatch
from .messages import Finish, Messages, arrays, numbered, webhook_of
from .moves import run_of
from .outbox import Outbox, Outgoing

_sql = Statements("bedplate.ledger")

# Two schedulers may disagree about a thread a few times; more often than this something else is
# wrong.
_TRIES_MAX = 20

NOT_FOUND_MESSAGE = "Thread or assistant not found."
NOT_CANCELLED_MESSAGE = "No runs found to cancel."


@dataclass(frozen=True)
class Stopped:
    """A run that was asked to stop, and what it is now: over, gone, or asked (it is running, or has
    something saved that only an executor can settle)."""

    run_id: UUID
    became: Run | Gone

    @property
    def is_over(self) -> bool:
        return isinstance(self.became, Gone) or self.became.status.is_terminal


@dataclass(frozen=True)
class Admitted:
    """A new run's row as JSON text. `is_ready`: it waits for a ticket; `displaced`: the earlier
    runs it put an end to."""

    row: str
    is_ready: bool = False
    displaced: tuple[Stopped, ...] = ()


_Found = Admitted | ThreadFacts
"""Admitted, or what the thread really is."""


@dataclass(frozen=True)
class Written:
    """A run that is admitted once the transaction is committed; then it must be settled."""

    admitted: Admitted
    told: Sequence[Outgoing]
    waits_on: UUID | None
    """The thread that may have nobody who would dispatch this run."""


class Admissions:
    """Any number of verbs at once, from any number of schedulers."""

    def __init__(
        self,
        pool: Any,
        outbox: Outbox,
        messages: Messages,
        dispatch: Dispatch,
        *,
        thread_ttl: ThreadTtl = FOR_EVER,
    ) -> None:
        """`thread_ttl`: of threads that come with their first run."""
        self._thread_ttl = thread_ttl
        self._pool = pool
        self._outbox = outbox
        self._messages = messages
        self._dispatch = dispatch

    async def create(self, order: CreateRun) -> Admitted:
        """Admit a run. Idempotent by run id.

        Raises `NotFound` (no such thread, or not yours), `Conflict` (busy, and the strategy is
        reject; or the run id is taken) and `Refused` (JSON that PostgreSQL cannot hold).
        """
        return await self.settle(await self.write(order))

    async def write(self, order: CreateRun, connection: Any = None) -> Written:
        """The same without an end: with a `connection`, in its transaction. Raises likewise; the
        transaction is then to be rolled back."""
        try:
            return await self._admit(order, connection)
        except asyncpg.DataError as error:
            raise Refused(f"a part of the run is JSON that cannot be stored: {error}") from error

    async def settle(self, written: Written) -> Admitted:
        """After the commit: send what tells of the run, and see to its turn."""
        self._outbox.soon(written.told)
        if written.waits_on is None:
            return written.admitted
        turn = await self._dispatch.dispatch_next(written.waits_on)
        return replace(written.admitted, is_ready=turn is not None and turn.is_ready)

    async def create_all(self, orders: Sequence[CreateRun]) -> list[Admitted]:
        """Admit runs that each come with a thread of their own: all of them, or none. Raises as
        `create` does."""
        sent: list[Outgoing] = []
        admitted: list[Admitted] = []
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                for order in orders:
                    found, told = await self._with_thread(
                        connection, order, takes_turn=order.after_s == 0
                    )
                    if not isinstance(found, Admitted):
                        raise Conflict("The thread exists.", thread_id=str(order.thread_id))
                    admitted.append(found)
                    sent += told
        except asyncpg.DataError as error:
            raise Refused(f"a part of a run is JSON that cannot be stored: {error}") from error
        self._outbox.soon(sent)
        return admitted

    async def _admit(self, order: CreateRun, connection: Any) -> Written:
        reader = connection or self._pool
        request = Request(
            order.multitask_strategy, order.if_not_exists, is_delayed=order.after_s > 0
        )
        facts = ThreadFacts.MISSING if order.is_temporary else ThreadFacts.FREE
        hidden = 0
        for _ in range(_TRIES_MAX):
            decision = admit(facts, request)
            match decision:
                case Decision.REFUSE_BUSY:
                    raise Conflict(BUSY_MESSAGE, thread_id=str(order.thread_id))
                case Decision.REFUSE_MISSING:
                    raise NotFound(NOT_FOUND_MESSAGE, thread_id=str(order.thread_id))
                case Decision.START_ON_NEW_THREAD | Decision.WAIT_ON_NEW_THREAD:
                    found, told = await self._with_thread(
                        reader, order, takes_turn=decision is Decision.START_ON_NEW_THREAD
                    )
                    # Not written: somebody made the thread a moment ago, or it is one that this
                    # order may not see (another tenant's, or about to be swept).
                    hidden += not isinstance(found, Admitted)
                case Decision.START | Decision.WAIT:
                    found, told = await self._on_thread(
                        reader, order, facts, takes_turn=decision is Decision.START
                    )
                case Decision.DISPLACE:
                    async with self._transaction(connection) as displacing_in:
                        found, told = await self._displace(order, displacing_in)
            if isinstance(found, Admitted):
                # The thread may have only delayed runs, and so nobody who would dispatch this one.
                is_behind = decision is Decision.WAIT and not request.is_delayed
                return Written(found, told, order.thread_id if is_behind else None)
            if known := await self._known(reader, order):
                return Written(known, (), None)
            if found is facts:
                raise Conflict("The run id is taken.", run_id=str(order.run_id))
            if found is ThreadFacts.MISSING and hidden > 1:
                raise NotFound(NOT_FOUND_MESSAGE, thread_id=str(order.thread_id))
            facts = found
        raise Conflict("the thread changes faster than a run can be admitted: try again")

    async def _on_thread(
        self, connection: Any, order: CreateRun, facts: ThreadFacts, *, takes_turn: bool
    ) -> tuple[_Found, list[Outgoing]]:
        told = self._messages.of_new_run(order, starts=takes_turn)
        record = await connection.fetchrow(
            _sql["create_run"],
            *_columns(order),
            facts is ThreadFacts.OCCUPIED,
            takes_turn,
            *arrays(told),
            order.assistant_metadata,
            self._dispatch.tickets_at_once,
            *_flow(order),
            order.encryption_context,
        )
        if record is None:
            return ThreadFacts.MISSING, []
        if record["row"] is None:
            return ThreadFacts.OCCUPIED if record["is_occupied"] else ThreadFacts.FREE, []
        return _admitted(record, told, takes_turn=takes_turn)

    async def _with_thread(
        self, connection: Any, order: CreateRun, *, takes_turn: bool
    ) -> tuple[_Found, list[Outgoing]]:
        told = self._messages.of_new_run(order, starts=takes_turn)
        try:
            record = await connection.fetchrow(
                _sql["create_run_on_new_thread"],
                *_columns(_with_new_thread(order)),
                takes_turn,
                *arrays(told),
                order.is_temporary,
                order.deletes_thread,
                order.assistant_metadata,
                self._dispatch.tickets_at_once,
                *_flow(order),
                self._thread_ttl.minutes,
                self._thread_ttl.strategy,
                order.encryption_context,
            )
        except asyncpg.UniqueViolationError as error:
            raise Conflict("The run id is taken.", run_id=str(order.run_id)) from error
        if record is None:
            return ThreadFacts.FREE, []
        return _admitted(record, told, takes_turn=takes_turn)

    @asynccontextmanager
    async def _transaction(self, connection: Any) -> AsyncGenerator[Any]:
        """The given connection's own, or a new one."""
        if connection is not None:
            yield connection
            return
        async with self._pool.acquire() as acquired, acquired.transaction():
            yield acquired

    async def _displace(self, order: CreateRun, connection: Any) -> tuple[_Found, list[Outgoing]]:
        """Ask all runs of the thread to stop, and write the new one behind those that have to be
        waited for."""
        action = displacing(order.multitask_strategy)
        assert action is not None
        runs_active = await connection.fetchval(_sql["lock_thread"], order.thread_id, order.tenant)
        if runs_active is None:
            return ThreadFacts.MISSING, []
        if known := await self._known(connection, order):
            return known, []
        records = await connection.fetch(_sql["lock_active_runs"], order.thread_id)
        stopped, told = await self._stop(
            connection, records, action, tenant=order.tenant, thread_id=order.thread_id
        )
        left = len(records) - sum(one.is_over for one in stopped)
        found, told_of_new = await self._on_thread(
            connection,
            order,
            ThreadFacts.OCCUPIED if left else ThreadFacts.FREE,
            takes_turn=left == 0 and order.after_s == 0,
        )
        if not isinstance(found, Admitted):
            raise Conflict("The run id is taken.", run_id=str(order.run_id))
        return Admitted(found.row, found.is_ready, tuple(stopped)), [*told, *told_of_new]

    async def cancel(
        self, run_id: UUID, thread_id: UUID, *, tenant: str, action: CancelAction
    ) -> Stopped | Illegal:
        """Ask for a run to stop. Raises `NotFound` when there is no such run."""
        async with self._pool.acquire() as connection, connection.transaction():
            record = await connection.fetchrow(_sql["lock_run"], run_id, thread_id, tenant)
            if record is None:
                raise NotFound(NOT_CANCELLED_MESSAGE, run_id=str(run_id))
            if RunStatus(record["status"]).is_terminal:
                return Illegal.TERMINAL
            [stopped], told = await self._stop(
                connection, [record], action, tenant=tenant, thread_id=thread_id
            )
        self._outbox.soon(told)
        return stopped

    async def find_active(
        self, *, tenant: str, statuses: Sequence[RunStatus], after: UUID, limit: int
    ) -> list[tuple[UUID, UUID]]:
        """Runs that are not over, in the order of their ids, from behind `after`: (run, thread)."""
        rows = await self._pool.fetch(
            _sql["find_active_runs"],
            tenant,
            RunStatus.PENDING in statuses,
            RunStatus.RUNNING in statuses,
            after,
            limit,
        )
        return [(row["run_id"], row["thread_id"]) for row in rows]

    async def _stop(
        self,
        connection: Any,
        records: Sequence[Any],
        action: CancelAction,
        *,
        tenant: str,
        thread_id: UUID,
    ) -> tuple[list[Stopped], list[Outgoing]]:
        """Each of these active, locked runs of one thread as the kernel decides."""
        moves = [(record, cancel(run_of(record), action)) for record in records]
        stopped = [
            Stopped(record["run_id"], move)
            for record, move in moves
            if not isinstance(move, Illegal)
        ]
        gone = [one.run_id for one in stopped if isinstance(one.became, Gone)]
        ended = [one.run_id for one in stopped if one.is_over and one.run_id not in gone]
        runs_active = 1
        ends: dict[UUID, tuple[int, datetime | None]] = dict.fromkeys(gone, (0, None))
        if gone:
            runs_active = await connection.fetchval(_sql["delete_waiting_runs"], gone)
        if ended:
            rows = await connection.fetch(_sql["end_waiting_runs"], ended)
            runs_active = rows[0]["runs_active"]
            ends |= {row["run_id"]: (row["end_n"], row["finished_at"]) for row in rows}
        for wanted in CancelAction:
            asked = [
                one.run_id
                for one in stopped
                if not one.is_over and isinstance(one.became, Run) and one.became.cancel is wanted
            ]
            if asked:
                await connection.execute(_sql["request_cancel"], asked, wanted)
        # Ends first: somebody reads along.
        told = [
            self._messages.of_unstarted_end(
                RunAddress(tenant, thread_id, run_id), n=n, finished_at=finished_at
            )
            for run_id, (n, finished_at) in ends.items()
        ]
        told += [
            self._messages.of_finished_run(
                Finish(
                    record["run_id"], thread_id, tenant, record["assistant_id"],
                    record["graph_id"], 0, webhook_of(record["kwargs"]),
                ),
                RunStatus.INTERRUPTED,
                rolled_back=record["run_id"] in gone,
                has_next=runs_active > 0,
            )
            for record in records
            if record["run_id"] in gone or record["run_id"] in ended
        ]  # fmt: skip
        ids = await connection.fetch(_sql["write_outbox"], *arrays(told)) if told else []
        return stopped, numbered(told, [row["outbox_id"] for row in ids])

    async def _known(self, connection: Any, order: CreateRun) -> Admitted | None:
        """The run if this order was carried out before (the answer was lost on its way)."""
        row = await connection.fetchval(
            _sql["read_run"], order.run_id, order.thread_id, order.tenant
        )
        return None if row is None else Admitted(row)


def _with_new_thread(order: CreateRun) -> CreateRun:
    if order.new_thread_metadata == "{}":
        return order
    metadata = orjson.loads(order.thread_metadata) | orjson.loads(order.new_thread_metadata)
    return order.model_copy(update={"thread_metadata": orjson.dumps(metadata).decode()})


def _columns(order: CreateRun) -> tuple[Any, ...]:
    return (
        order.run_id, order.thread_id, order.tenant, order.assistant_id, order.graph_id,
        order.kwargs, order.metadata, order.multitask_strategy, order.after_s,
        order.thread_metadata, order.thread_config,
    )  # fmt: skip


def _flow(order: CreateRun) -> tuple[Any, ...]:
    return order.priority, order.fairness_group, order.user_key, order.user


def _admitted(
    record: Any, told: Sequence[Outgoing], *, takes_turn: bool
) -> tuple[Admitted, list[Outgoing]]:
    is_ready = takes_turn and not record["has_ticket"]
    # The ticket is the first message, if there is one.
    sent = told[1:] if is_ready else told
    return Admitted(record["row"], is_ready), numbered(sent, record["outbox_ids"])
