"""A run's life: its states, and one function per legal move.

Pure. PostgreSQL makes the same moves under row locks (`ledger/queries/*_run*.sql`); the conformance
suite replays every state against both and compares. `attempt` is the fence: it grows with every
claim and nothing written for an older one is accepted. `failures` is the budget: attempts that
ended because something died under them. A drain or a deploy spends an attempt number but no
failure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from bedplate_proto.vocabulary import CancelAction, RunStatus


@dataclass(frozen=True)
class Run:
    """The part of a run that decides what may happen to it next."""

    status: RunStatus = RunStatus.PENDING
    attempt: int = 0
    failures: int = 0
    cancel: CancelAction | None = None


class Gone(StrEnum):
    """The move removes the row."""

    GONE = "gone"


class Illegal(StrEnum):
    """Why a move is not made."""

    TERMINAL = "the run is over"
    NOT_PENDING = "the run is not waiting"
    NOT_RUNNING = "the run is not running"
    SUPERSEDED = "another attempt owns the run"


class Ending(StrEnum):
    """How an attempt says its run ended. `rolled_back` removes the run."""

    SUCCESS = "success"
    ERROR = "error"
    INTERRUPTED = "interrupted"
    TIMEOUT = "timeout"
    ROLLED_BACK = "rolled_back"


Move = Run | Gone | Illegal


def claim(run: Run) -> Move:
    """An executor takes a waiting run: the next attempt begins."""
    if run.status is not RunStatus.PENDING:
        return Illegal.NOT_PENDING
    return replace(run, status=RunStatus.RUNNING, attempt=run.attempt + 1)


def release(run: Run, attempt: int) -> Move:
    """Give a run back unharmed (drain, deploy): it waits again and no failure is counted."""
    if illegal := _not_held(run, attempt):
        return illegal
    return replace(run, status=RunStatus.PENDING)


def lose(run: Run, attempt: int, *, failures_max: int) -> Move:
    """The attempt died under its run. It waits for the next one, until `failures_max` have died."""
    if illegal := _not_held(run, attempt):
        return illegal
    failures = run.failures + 1
    status = RunStatus.ERROR if failures >= failures_max else RunStatus.PENDING
    return replace(run, status=status, failures=failures)


def finish(run: Run, attempt: int, ending: Ending) -> Move:
    """The attempt that holds the run ends it."""
    if illegal := _not_held(run, attempt):
        return illegal
    if ending is Ending.ROLLED_BACK:
        return Gone.GONE
    return replace(run, status=RunStatus(ending.value))


def cancel(run: Run, action: CancelAction) -> Move:
    """Somebody wants the run stopped.

    A run that never started ends here. One that has, even if it waits for its next attempt, has
    saved something: only an executor can settle that, so it is asked to (`cancel` is set), now or
    when it claims the run. A rollback overrides an earlier interrupt, not the other way round: what
    was promised to vanish must vanish.
    """
    if run.status.is_terminal:
        return Illegal.TERMINAL
    if run.status is RunStatus.PENDING and run.attempt == 0:
        if action is CancelAction.ROLLBACK:
            return Gone.GONE
        return replace(run, status=RunStatus.INTERRUPTED)
    wanted = CancelAction.ROLLBACK if run.cancel is CancelAction.ROLLBACK else action
    return replace(run, cancel=wanted)


def _not_held(run: Run, attempt: int) -> Illegal | None:
    if run.attempt != attempt:
        return Illegal.SUPERSEDED
    return None if run.status is RunStatus.RUNNING else Illegal.NOT_RUNNING
