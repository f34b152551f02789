"""A ledger in memory, for schedules of faults: the kernel's moves on rows, and messages beside
them.

Every verb is atomic, as PostgreSQL's are; the conformance suite holds the SQL to the same moves.
Threads and runs are numbers, time is a counter, and nothing waits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bedplate.kernel import run as kernel
from bedplate.kernel.admission import Decision, Request, ThreadFacts, admit, displacing
from bedplate.kernel.run import Ending, Gone, Illegal, Move, Run
from bedplate_proto.runs import EVENTS_SKIPPED
from bedplate_proto.vocabulary import CancelAction, IfNotExists, MultitaskStrategy, RunStatus

FAILURES_MAX = 3
LEASE = 6


@dataclass
class Moves:
    """The kernel's, unless a test breaks one to see whether that is noticed."""

    claim: Any = kernel.claim
    release: Any = kernel.release
    lose: Any = kernel.lose
    finish: Any = kernel.finish
    cancel: Any = kernel.cancel
    admit: Any = admit


@dataclass
class Row:
    number: int
    thread: int
    due: int
    is_delayed: bool
    run: Run = field(default_factory=Run)
    ticket: int = 0
    lease_until: int = 0
    ends: int = 0
    is_gone: bool = False


@dataclass
class Thread:
    current: int | None = None
    events_n: int = 0
    shown_n: int = 0
    started: list[int] = field(default_factory=list[int])
    saved: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """Checkpoints: which run wrote them, in which attempt."""


class Truth:
    """The ledger: rows, and the messages committed with them."""

    def __init__(self, moves: Moves, *, threads: int) -> None:
        self.moves = moves
        self.now = 0
        self.threads = [Thread() for _ in range(threads)]
        self.rows: list[Row] = []
        self.outbox: list[tuple[int, int]] = []

    def waiting(self, thread: int) -> list[Row]:
        return [row for row in self.of(thread) if row.run.status is RunStatus.PENDING]

    def of(self, thread: int) -> list[Row]:
        return [row for row in self.rows if row.thread == thread and not row.is_gone]

    def create(self, thread: int, strategy: MultitaskStrategy, *, delay: int) -> Row | None:
        """None: refused."""
        busy = any(not row.run.status.is_terminal for row in self.of(thread))
        facts = ThreadFacts.OCCUPIED if busy else ThreadFacts.FREE
        request = Request(strategy, IfNotExists.CREATE, is_delayed=delay > 0)
        decision = self.moves.admit(facts, request)
        if decision is Decision.REFUSE_BUSY:
            return None
        if decision is Decision.DISPLACE:
            action = displacing(strategy)
            assert action is not None
            for earlier in self.of(thread):
                self._move(earlier, self.moves.cancel(earlier.run, action))
        row = Row(len(self.rows), thread, self.now + delay, is_delayed=delay > 0)
        self.rows.append(row)
        if decision is Decision.START:
            self._issue(row)
        elif not row.is_delayed:
            self.dispatch(thread)
        return row

    def dispatch(self, thread: int) -> None:
        due = [row for row in self.waiting(thread) if row.due <= self.now]
        if self.threads[thread].current is None and due:
            self._issue(min(due, key=lambda row: (row.due, row.number)))

    def reissue(self) -> None:
        for thread in self.threads:
            if thread.current is not None:
                row = self.rows[thread.current]
                if row.run.status is RunStatus.PENDING:
                    self._issue(row)

    def claim(self, number: int) -> tuple[int, int] | None:
        """The attempt's number and the base of its events."""
        row = self.rows[number]
        thread = self.threads[row.thread]
        if row.is_gone or thread.current != number:
            return None
        if not self._move(row, self.moves.claim(row.run)):
            return None
        row.lease_until = self.now + LEASE
        if number not in thread.started:
            thread.started.append(number)
        return row.run.attempt, thread.events_n

    def renew(self, number: int, attempt: int) -> CancelAction | bool | None:
        """What is wanted of the run, or False when it is not ours any more."""
        row = self.rows[number]
        if not self.is_held(number, attempt):
            return False
        row.lease_until = self.now + LEASE
        return row.run.cancel

    def is_held(self, number: int, attempt: int) -> bool:
        row = self.rows[number]
        held = row.run.status is RunStatus.RUNNING and row.run.attempt == attempt
        return held and not row.is_gone

    def release(self, number: int, attempt: int) -> None:
        row = self.rows[number]
        if not row.is_gone and self._move(row, self.moves.release(row.run, attempt)):
            self._issue(row)

    def lose(self, number: int, attempt: int, *, expired_only: bool) -> bool:
        """Whether the attempt was the one that held the run."""
        row = self.rows[number]
        if row.is_gone or (expired_only and row.lease_until >= self.now):
            return False
        if not self._move(row, self.moves.lose(row.run, attempt, failures_max=FAILURES_MAX)):
            return False
        if row.run.status.is_terminal:
            self.threads[row.thread].events_n += EVENTS_SKIPPED * (attempt + 1)
        else:
            self._issue(row)
        return True

    def finish(self, number: int, attempt: int, ending: Ending, *, events_n: int) -> bool:
        row = self.rows[number]
        if row.is_gone or not self._move(row, self.moves.finish(row.run, attempt, ending)):
            return False
        thread = self.threads[row.thread]
        thread.events_n = max(thread.events_n, events_n)
        return True

    def save(self, number: int, attempt: int) -> bool:
        """A checkpoint; False: it is refused."""
        if not self.is_held(number, attempt):
            return False
        self.threads[self.rows[number].thread].saved.append((number, attempt))
        return True

    def cancel(self, number: int, action: CancelAction) -> None:
        row = self.rows[number]
        if not row.is_gone:
            self._move(row, self.moves.cancel(row.run, action))

    def delete_thread(self, thread: int) -> None:
        """With all that is in it; runs at work find themselves refused."""
        for row in self.of(thread):
            row.ends += not row.run.status.is_terminal
            row.is_gone = True
        self.threads[thread].current = None
        self.threads[thread].saved.clear()

    def _issue(self, row: Row) -> None:
        row.ticket += 1
        self.threads[row.thread].current = row.number
        self.outbox.append((row.number, row.ticket))

    def _move(self, row: Row, move: Move) -> bool:
        if isinstance(move, Illegal):
            return False
        if isinstance(move, Gone):
            row.is_gone = True
            thread = self.threads[row.thread]
            thread.saved = [one for one in thread.saved if one[0] != row.number]
        else:
            row.run = move
        if row.is_gone or row.run.status.is_terminal:
            row.ends += 1
            thread = self.threads[row.thread]
            if thread.current == row.number:
                thread.current = None
        return True
