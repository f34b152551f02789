"""Tickets: whose turn it is on a thread, and who gets one of the few that may lie unclaimed.

A thread's oldest due run is *current* when no other is. While fewer than `Limits.tickets` tickets
wait in the queue, it gets its own in the same statement. Otherwise it is *ready*, and `share_out`
gives tickets to ready runs as others are claimed: so the queue, which knows no order but its own,
stays short, and what is fair is decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from bedplate.kernel.fairness import Claimant, InFlight, Limits, Turns, Waiting, full, share_out
from bedplate.sql import Statements

from .messages import Messages
from .outbox import Outbox, Outgoing

_sql = Statements("bedplate.ledger")

# Any constant will do; it keeps two schedulers from sharing out the same room.
_SHARING_LOCK = 0x62656471


@dataclass(frozen=True)
class Turn:
    """It is a run's turn on its thread. `is_ready`: it waits for a ticket."""

    is_ready: bool


@dataclass(frozen=True)
class Queue:
    """The runs of one fairness group that wait for an executor, with a ticket or without."""

    tenant: str
    group: str
    runs: int
    oldest_s: float


@dataclass(frozen=True)
class Work:
    """What waits. `cron_at`: the next time one is due, or the time that has passed."""

    is_unsent: bool
    is_undispatched: bool
    is_ready: bool
    cron_at: datetime | None


class Dispatch:
    """Tickets in PostgreSQL. Any number of schedulers at once."""

    def __init__(self, pool: Any, outbox: Outbox, messages: Messages, limits: Limits) -> None:
        self._pool = pool
        self._outbox = outbox
        self._messages = messages
        self._limits = limits
        self._turns = Turns()

    @property
    def tickets_at_once(self) -> int:
        """How many tickets may lie unclaimed when one is given without sharing out; 0: never, for
        limits are counted there only."""
        return 0 if self._limits.are_capping else self._limits.tickets

    async def dispatch_next(self, thread_id: UUID) -> Turn | None:
        """Make the thread's oldest due run its current one, if there is none."""
        row = await self._pool.fetchrow(
            _sql["dispatch_next"], thread_id, self._messages.ticket_subject, self.tickets_at_once
        )
        if row is None:
            return None
        if row["outbox_id"] is None:
            return Turn(is_ready=True)
        self._flush([row])
        return Turn(is_ready=False)

    async def share_out(self) -> int:
        """Give tickets to ready runs, as far as there is room; how many."""
        limits = self._limits
        # A look without locks first: most pokes find nothing to do.
        if await self._room(self._pool) <= 0:
            return 0
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _SHARING_LOCK)
            room = await self._room(connection)
            if room <= 0:
                return 0
            in_flight = await self._in_flight(connection)
            at_limit = full(in_flight, limits)
            rows = await connection.fetch(
                _sql["find_ready"], room, at_limit.tenants, at_limit.assistants, at_limit.users
            )
            waiting = [_waiting(row) for row in rows]
            self._turns.keep(waiting)
            chosen = share_out(waiting, in_flight, self._turns, limits=limits, room=room)
            given = await connection.fetch(
                _sql["ticket_runs"], chosen, self._messages.ticket_subject
            )
        self._flush(given)
        return len(given)

    async def _room(self, connection: Any) -> int:
        """For how many tickets there is room; none where nobody waits for one."""
        seen = await connection.fetchrow(_sql["count_tickets"], self._limits.tickets)
        return self._limits.tickets - seen["tickets"] if seen["is_wanted"] else 0

    async def _in_flight(self, connection: Any) -> InFlight:
        in_flight = InFlight()
        for row in await connection.fetch(_sql["count_in_flight"]):
            in_flight.add(_claimant(row), row["runs"])
        return in_flight

    async def find_work(self, *, unsent_s: float) -> Work:
        """`unsent_s` is the age in seconds of a message that its writer should have sent."""
        return Work(**dict(await self._pool.fetchrow(_sql["find_work"], unsent_s)))

    async def queues(self, *, limit: int) -> list[Queue]:
        """The runs that wait for an executor by fairness group, the longest queues first."""
        return [
            Queue(row["tenant"], row["fairness_group"], row["runs"], row["oldest_s"])
            for row in await self._pool.fetch(_sql["measure_ready"], limit)
        ]

    async def find_undispatched(self, *, limit: int) -> list[UUID]:
        """Threads with a due run and none that is current."""
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

    def _flush(self, rows: Sequence[Any]) -> None:
        self._outbox.soon(
            [Outgoing(row["outbox_id"], row["msg_id"], row["subject"], row["body"]) for row in rows]
        )


def _claimant(row: Any) -> Claimant:
    return Claimant(row["tenant"], row["fairness_group"], row["assistant_id"], row["user_key"])


def _waiting(row: Any) -> Waiting:
    return Waiting(row["run_id"], _claimant(row), row["priority"], row["ready_at"])
