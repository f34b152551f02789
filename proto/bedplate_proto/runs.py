"""Messages about runs: the ticket, the facts, a run's own events, and orders that change runs."""

from __future__ import annotations

from typing import Any, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from .envelope import Fact, Message
from .vocabulary import (
    CancelAction,
    IfNotExists,
    MultitaskStrategy,
    RunStatus,
)

EVENTS_SKIPPED = 1_000_000
"""Where numbering goes on when nobody knows how far a dead attempt came (its events are gone with
the broker's data, or its run has ended without it): further than any attempt can have come, because
numbers never go backwards."""


class RunReady(Message):
    """A ticket: this run may be claimed now. A poke, not a promise: it may be late, lost or
    doubled."""

    run_id: UUID
    thread_id: UUID
    ticket: int = Field(
        ge=1, description="Counts the tickets of this run; the message id is `run_id:ticket`."
    )


class RunCreated(Fact):
    noun_participle: ClassVar[str] = "run.created"

    run_id: UUID
    thread_id: UUID
    assistant_id: UUID
    graph_id: str


class RunFinished(Fact):
    """A run reached its end. `has_next`: another run of the thread waits to be dispatched."""

    noun_participle: ClassVar[str] = "run.finished"

    run_id: UUID
    thread_id: UUID
    assistant_id: UUID
    graph_id: str
    status: RunStatus
    attempt: int = Field(ge=0)
    has_next: bool
    is_rolled_back: bool
    error: dict[str, Any] | None
    webhook: str | None


class RunEvent(Message):
    """One line of a run's event stream: `{"n":12,"attempt":1,"event":"updates","data":{…}}`.

    `n` counts the events of the *thread*, over all its runs, without holes (a crash that lost the
    broker's data may skip ahead, never back). `event` is the name an SSE client sees. The last
    event of a run is `end`, whose data is `{"status", "graph", "waits", "finished_at", "values_n",
    "error", "values"}`; SSE clients see the connection close instead.
    """

    n: int = Field(
        ge=0,
        description="0 only for the end of a run that never started and got no number.",
    )
    attempt: int = Field(ge=0)
    event: str
    data: Any


class RunEnd(Message):
    """The data of a run's `end` event. `graph` is null for a run that never started; `waits`:
    something is left to do in the thread."""

    status: RunStatus
    graph: str | None
    waits: bool
    finished_at: str | None = Field(description="As the run's row says; null: the row is gone.")
    values_n: int | None = Field(
        default=None,
        description="`n` of the `values` event that tells the last values, where they are long;"
        " `values` is null then.",
    )
    error: dict[str, Any] | None
    values: Any


class CreateRun(Message):
    """Order to the scheduler. `kwargs`, `metadata` and the thread's parts are JSON text, stored as
    they are."""

    tenant: str
    run_id: UUID
    thread_id: UUID
    assistant_id: UUID
    graph_id: str
    kwargs: str
    assistant_metadata: str = Field(
        default="{}", description="The run's metadata begins with these keys, then the thread's."
    )
    metadata: str = Field(description="The last word on the run's metadata, key by key.")
    thread_metadata: str = Field(description="Merged into the thread's metadata, key by key.")
    thread_config: str = Field(description="Replaces the thread's config.")
    multitask_strategy: MultitaskStrategy
    if_not_exists: IfNotExists
    after_s: float = Field(ge=0)
    priority: int | None = Field(
        default=None,
        ge=-5,
        le=5,
        description="-5 runs first. Kept by the thread, if it has none yet.",
    )
    fairness_group: str | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        description="Kept by the thread, if it has none yet.",
    )
    user_key: str | None = Field(
        default=None, max_length=256, description="Whose limit of running runs this one counts for."
    )
    user: str | None = Field(
        default=None,
        description="Who it is for: JSON text of what authentication told, for the graph alone.",
    )
    new_thread_metadata: str = Field(
        default="{}", description="JSON text: also of the thread, if it is made for this run."
    )
    encryption_context: str | None = Field(
        default=None,
        description="JSON text: what the project's encryption handlers are told. With it the JSON"
        " parts of this order are encrypted already.",
    )
    is_temporary: bool = Field(description="The thread is made for this run (a stateless run).")
    deletes_thread: bool = Field(description="A temporary thread goes when its run ends.")


class CreateRuns(Message):
    """Runs that each come with a thread of their own: all of them, or none. The answer is a JSON
    array of their rows, in the same order."""

    runs: list[CreateRun] = Field(min_length=1)


class PriorityContext(Message):
    """What the project's priority handler is told of a run. `user`: as authentication told it."""

    thread_id: str | None = Field(description="None: the thread is made for this run.")
    thread_metadata: dict[str, Any]
    assistant_id: str
    graph_id: str
    assistant_metadata: dict[str, Any]
    run_metadata: dict[str, Any]
    cron_id: str | None
    user: dict[str, Any] | None


class AssignPriorities(Message):
    """Ask the project's handler about runs whose threads have no settings yet."""

    tenant: str
    contexts: list[PriorityContext] = Field(min_length=1)


class PrioritySettings(Message):
    priority: int = Field(ge=-5, le=5)
    fairness_group: str = Field(min_length=1, max_length=256)


class AssignedPriorities(Message):
    """In the order of the contexts; none where the handler failed."""

    settings: list[PrioritySettings | None]


class CountSlots(Message):
    """A question to every executor: how many runs can you hold?"""


class Slots(Message):
    """An executor's answer: runs that it holds, and how many more it would take now."""

    tenant: str
    held: int
    free: int


class CancelRun(Message):
    tenant: str
    thread_id: UUID
    run_id: UUID
    action: CancelAction


class CancelAnswer(Message):
    """`stopped`: the run is over already; `stopping`: its executor was told, wait for the end
    event."""

    outcome: Literal["stopped", "stopping"]


class CancelRuns(Message):
    """Runs of one thread, or all of a tenant in one of these states."""

    tenant: str
    thread_id: UUID | None
    run_ids: list[UUID]
    statuses: list[RunStatus]
    action: CancelAction


class CancelRunsAnswer(Message):
    """How many runs are over or were told to stop."""

    count: int = Field(ge=0)


class DeleteRun(Message):
    """Remove a run, what it saved, and its row. A running one is stopped first."""

    tenant: str
    thread_id: UUID
    run_id: UUID


class DeleteRunAnswer(Message):
    """`finished`: the run is over; an executor must remove its checkpoints (`forget_run`)."""

    outcome: Literal["deleted", "stopping", "finished"]


class SchedulerPoke(Message):
    """A hint: there is room for tickets, or for runs, while some wait. May be lost; the schedulers
    look by themselves, later."""


class ThreadFreed(Message):
    """A hint: a thread has runs that wait, and none that is current. May be lost; the schedulers
    look by themselves, later."""

    thread_id: UUID


class RunSignal(Message):
    """A hint on `sig.<run>`: read the run's row again. May be lost; the next lease renewal tells
    the same."""

    run_id: UUID
