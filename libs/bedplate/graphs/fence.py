"""Who may write: every statement that stores something for an attempt or an edit presents a fence.

The ledger takes a run's row FOR UPDATE before it moves the run to another attempt, and a thread's
row FOR UPDATE before it adds a run to it. A fenced write takes the same row FOR KEY SHARE in its
own transaction and then looks who holds it. So either the write is committed before the takeover,
and the next attempt sees it, or it finds the takeover and is refused: an attempt that was paused
past its lease cannot write once another one has begun.

Lock order, as in the ledger: thread, run, then our own tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from bedplate.kernel.errors import Fenced
from bedplate.sql import Statements

_sql = Statements("bedplate.graphs")


@dataclass(frozen=True, slots=True)
class AttemptFence:
    """Accepted while the run is running and this is its attempt."""

    run_id: UUID
    attempt: int


@dataclass(frozen=True, slots=True)
class EditFence:
    """Accepted while no run of the thread is running."""

    thread_id: UUID


Fence = AttemptFence | EditFence


def refusal(fence: Fence) -> Fenced:
    """The error of a write that `fence` no longer covers."""
    if isinstance(fence, AttemptFence):
        return Fenced(
            f"attempt {fence.attempt} no longer holds run {fence.run_id}: its write was refused",
            run_id=str(fence.run_id),
            attempt=fence.attempt,
        )
    return Fenced(
        f"thread {fence.thread_id} is gone or has a running run: the edit was refused",
        thread_id=str(fence.thread_id),
    )


async def hold(connection: Any, fence: Fence | None) -> None:
    """Keep `fence` true until the end of the connection's transaction. Raises `Fenced`."""
    if fence is None:
        return
    if isinstance(fence, AttemptFence):
        if await connection.fetchval(_sql["hold_attempt"], fence.run_id, fence.attempt) is None:
            raise refusal(fence)
        return
    if await connection.fetchval(_sql["hold_thread"], fence.thread_id) is None:
        raise refusal(fence)
    rows = await connection.fetch(_sql["hold_runs_of_thread"], fence.thread_id)
    if any(row["status"] == "running" for row in rows):
        raise refusal(fence)
