"""May this run start now? Decided from what the thread's locked row says, by a pure function.

The scheduler guesses the facts, decides, and writes under a guard that the facts still hold; if
they do not, it is told the true ones and decides again. The common case (an idle thread) is one
statement.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bedplate_proto.vocabulary import CancelAction, IfNotExists, MultitaskStrategy

BUSY_MESSAGE = (
    "Thread is already running a task."
    " Wait for it to finish or choose a different multitask strategy."
)


class ThreadFacts(StrEnum):
    """What a thread is to a new run."""

    MISSING = "missing"
    FREE = "free"
    """No run is pending or running."""
    OCCUPIED = "occupied"
    """Some run is pending (also a delayed one) or running."""


class Decision(StrEnum):
    START = "start"
    """Write the run and issue its ticket."""
    START_ON_NEW_THREAD = "start_on_new_thread"
    """Write thread and run, and issue its ticket."""
    WAIT = "wait"
    """Write the run; it is dispatched when its turn comes (FIFO by creation, delayed runs when they
    are due)."""
    WAIT_ON_NEW_THREAD = "wait_on_new_thread"
    DISPLACE = "displace"
    """Ask every earlier run of the thread to stop, as the strategy says, and write the run: it
    starts when they have."""
    REFUSE_BUSY = "refuse_busy"
    REFUSE_MISSING = "refuse_missing"


@dataclass(frozen=True)
class Request:
    """The part of a new run that decides."""

    strategy: MultitaskStrategy
    if_not_exists: IfNotExists
    is_delayed: bool


def admit(thread: ThreadFacts, request: Request) -> Decision:
    """What happens to `request` on `thread`."""
    if thread is ThreadFacts.MISSING:
        if request.if_not_exists is IfNotExists.REJECT:
            return Decision.REFUSE_MISSING
        return Decision.WAIT_ON_NEW_THREAD if request.is_delayed else Decision.START_ON_NEW_THREAD
    if thread is ThreadFacts.OCCUPIED:
        if request.strategy is MultitaskStrategy.REJECT:
            return Decision.REFUSE_BUSY
        return Decision.WAIT if displacing(request.strategy) is None else Decision.DISPLACE
    return Decision.WAIT if request.is_delayed else Decision.START


def displacing(strategy: MultitaskStrategy) -> CancelAction | None:
    """What a new run's strategy does to the earlier runs of its thread, waiting ones included."""
    match strategy:
        case MultitaskStrategy.INTERRUPT:
            return CancelAction.INTERRUPT
        case MultitaskStrategy.ROLLBACK:
            return CancelAction.ROLLBACK
        case MultitaskStrategy.ENQUEUE | MultitaskStrategy.REJECT:
            return None
