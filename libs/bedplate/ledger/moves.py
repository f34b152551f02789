"""What goes into the ledger's verbs and what comes back, as values to match on."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from bedplate.kernel.run import Ending, Run
from bedplate_proto.vocabulary import CancelAction, RunStatus, ThreadStatus


@dataclass(frozen=True)
class Claimed:
    """An attempt: a run that is ours until the lease ends. JSON parts are text as it was stored."""

    run_id: UUID
    thread_id: UUID
    tenant: str
    assistant_id: UUID
    graph_id: str
    kwargs: str
    metadata: str
    attempt: int
    failures: int
    cancel: CancelAction | None
    events_n: int
    is_crowded: bool = False
    """Other runs wait for a ticket."""
    user: str | None = None
    """Who it is for, as JSON text."""
    is_blank: bool = False
    """Its thread has no checkpoint yet."""
    encryption_context: str | None = None
    """What the project's encryption handlers are told, as JSON text."""


@dataclass(frozen=True)
class Outcome:
    """How an attempt ends its run, and what the thread shows from then on.

    `values` and `interrupts` None keep what the thread shows, and so does a rollback;
    `thread_status` counts once no other run of the thread is left; `events_n` is the number of the
    run's last event, the end event included.
    """

    ending: Ending
    values: str | None
    interrupts: str | None
    error: str | None
    thread_status: ThreadStatus
    events_n: int


@dataclass(frozen=True)
class Applied:
    """The move was made. `finished_at` is the run's: its end event tells the same instant.
    `has_next`: the thread has runs that wait; `is_crowded`: runs wait for tickets."""

    finished_at: datetime | None = field(default=None, compare=False)
    has_next: bool = field(default=False, compare=False)
    is_crowded: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Superseded:
    """Not made: the run is in another state, or another attempt owns it."""

    status: RunStatus
    attempt: int


@dataclass(frozen=True)
class Missing:
    """Not made: there is no such run any more."""


Closed = Applied | Superseded | Missing


@dataclass(frozen=True)
class Lost:
    """What became of a run whose attempt died: it waits again, or (`is_last`) it ended in error.

    `events_n` is the base of the run's events, as its claims were told it. `finished_at`: when it
    ended.
    """

    run_id: UUID
    thread_id: UUID
    tenant: str
    graph_id: str
    attempt: int
    is_last: bool
    events_n: int
    finished_at: datetime | None


@dataclass(frozen=True)
class Renewal:
    """What the renewal of many leases found: runs still held with their cancel request, and the
    rest."""

    held: dict[UUID, CancelAction | None]
    superseded: set[UUID]


def run_of(row: Any) -> Run:
    """What the kernel knows of a row of `runs`."""
    return Run(
        RunStatus(row["status"]),
        row["attempt"],
        row["failures"],
        action_of(row["cancel_action"]),
    )


def action_of(text: str | None) -> CancelAction | None:
    return None if text is None else CancelAction(text)
