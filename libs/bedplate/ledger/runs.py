"""The verbs of runs at work, over PostgreSQL. A hot verb is one statement; what decides stands in
`bedplate.kernel`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from bedplate.sql import Statements
from bedplate_proto.runs import EVENTS_SKIPPED
from bedplate_proto.vocabulary import RunStatus

from .messages import Finish, Messages, arrays, numbered, webhook_of
from .moves import Applied, Claimed, Closed, Lost, Missing, Outcome, Renewal, Superseded, action_of
from .outbox import Outbox, Outgoing

_sql = Statements("bedplate.ledger")

EXHAUSTED_ERROR = (
    '{"error": "WorkerLost", "message": "exceeded max attempts:'
    ' the process that executed the run died each time"}'
)


class Ledger:
    """Threads' runs in PostgreSQL. Thread-safe in the asyncio sense: any number of verbs at
    once."""

    def __init__(self, pool: Any, outbox: Outbox, messages: Messages) -> None:
        self._pool = pool
        self._outbox = outbox
        self._messages = messages

    # -- the scheduler's verbs

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
        kept = {row["run_id"]: action_of(row["cancel_action"]) for row in rows}
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
                _sql["roll_back_run"], about.run_id, about.attempt, *common, about.thread_id,
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
        return Applied(record["finished_at"], record["has_next"], record["is_crowded"])

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
                        row["graph_id"], row["attempt"], webhook_of(row["kwargs"]),
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

    def _flush(self, rows: Sequence[Any]) -> None:
        self._outbox.soon(
            [Outgoing(row["outbox_id"], row["msg_id"], row["subject"], row["body"]) for row in rows]
        )


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
        cancel=action_of(row["cancel_action"]),
        events_n=row["events_n"],
        is_crowded=row["is_crowded"],
        user=row["auth_user"],
        encryption_context=row["encryption_context"],
        is_blank=row["is_blank"],
    )
