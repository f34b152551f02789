"""A small world in which everything goes wrong that can: the truth, the broker, three executors.

The truth's verbs are atomic, as PostgreSQL's are, and decide with the kernel; the conformance suite
holds the SQL to the same moves. Everything between them is lost, doubled, late and out of order, by
a seeded choice. After every step the invariants are checked; at the end the faults stop, and every
run must come to its one end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import pytest

from bedplate.kernel.run import Ending
from bedplate.testing.simulated_ledger import FAILURES_MAX, Moves, Truth
from bedplate_proto.runs import EVENTS_SKIPPED
from bedplate_proto.vocabulary import CancelAction, MultitaskStrategy, RunStatus

THREADS, EXECUTORS, SLOTS, RUNS_MAX = 4, 3, 2, 30
CHAOS_STEPS, CALM_ROUNDS = 400, 400
ENDINGS = {CancelAction.INTERRUPT: Ending.INTERRUPTED, CancelAction.ROLLBACK: Ending.ROLLED_BACK}


@dataclass
class Writer:
    """An attempt's end of the event log."""

    number: int
    attempt: int
    n: int
    last: int = 0
    is_open: bool = False


class Broker:
    """Tickets in no order, and each run's events with the broker's own fence."""

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self.tickets: list[tuple[int, int]] = []
        self.events: dict[int, list[tuple[int, int, int]]] = {}
        self.sequence = 0
        # Runs whose newest attempt has written, and so shut the earlier ones out.
        self.shut_out: dict[int, int] = {}

    def wipe(self) -> None:
        """All is lost; the sequences of the new stream may meet those of the old one."""
        self.tickets.clear()
        self.events.clear()
        self.sequence = 0

    def open(self, writer: Writer) -> bool:
        """The first event, in one step as the fence makes it. False: fenced."""
        stored = self.events.get(writer.number, [])
        writer.is_open = True
        if writer.attempt > 1:
            if stored:
                writer.last, attempt, n = stored[-1]
                if attempt > writer.attempt:
                    return False
                if attempt < writer.attempt - 1:
                    writer.n += EVENTS_SKIPPED * writer.attempt
                writer.n = max(writer.n, n)
            elif not self.truth.is_held(writer.number, writer.attempt):
                return False
            else:
                writer.n += EVENTS_SKIPPED * writer.attempt
        return self.append(writer)

    def append(self, writer: Writer) -> bool:
        """False: fenced."""
        stored = self.events.setdefault(writer.number, [])
        last, attempt, _ = stored[-1] if stored else (0, 0, 0)
        if last != writer.last:
            held = self.truth.is_held(writer.number, writer.attempt)
            if attempt > writer.attempt or not held:
                return False
            writer.last = last
        self.sequence += 1
        writer.n += 1
        writer.last = self.sequence
        stored.append((self.sequence, writer.attempt, writer.n))
        self._show(writer)
        return True

    def _show(self, writer: Writer) -> None:
        """A reader shows what has a higher number than all before."""
        thread = self.truth.threads[self.truth.rows[writer.number].thread]
        newest = self.shut_out.get(writer.number, 0)
        if self.truth.is_held(writer.number, writer.attempt):
            assert writer.n > thread.shown_n, "readers drop an event of the owner"
            self.shut_out[writer.number] = writer.attempt
        elif writer.attempt < newest:
            assert writer.n <= thread.shown_n, "a zombie is seen after its successor"
        thread.shown_n = max(thread.shown_n, writer.n)


class Executor:
    """A keeper with its attempts; `is_paused` makes a zombie of it."""

    def __init__(self, truth: Truth, broker: Broker, rng: Random) -> None:
        self.truth, self.broker, self.rng = truth, broker, rng
        self.writers: list[Writer] = []
        self.is_paused = False

    def take(self, *, is_acked: bool) -> None:
        if self.is_paused or not self.broker.tickets or len(self.writers) >= SLOTS:
            return
        at = self.rng.randrange(len(self.broker.tickets))
        number, _ = self.broker.tickets[at]
        if is_acked:
            del self.broker.tickets[at]
        if claimed := self.truth.claim(number):
            attempt, base_n = claimed
            self.writers.append(Writer(number, attempt, base_n))

    def work(self, *, answer_is_lost: bool) -> None:
        """One event of one attempt, or its end."""
        if self.is_paused or not self.writers:
            return
        writer = self.rng.choice(self.writers)
        if writer.is_open and self.rng.random() < 0.2:
            # Its events were out before it was paused: nothing but the truth stops it now.
            self._finish(writer, None, answer_is_lost=answer_is_lost)
            return
        write = self.broker.append if writer.is_open else self.broker.open
        if not write(writer):
            self.writers.remove(writer)
            return
        wanted = self.truth.renew(writer.number, writer.attempt)
        if wanted is False:
            self.writers.remove(writer)
        elif isinstance(wanted, CancelAction):
            self._finish(writer, wanted, answer_is_lost=answer_is_lost)

    def _finish(self, writer: Writer, wanted: CancelAction | None, *, answer_is_lost: bool) -> None:
        plain = self.rng.choice([Ending.SUCCESS, Ending.ERROR, Ending.TIMEOUT])
        ending = plain if wanted is None else ENDINGS[wanted]
        again = (writer.number, writer.attempt, ending)
        is_held = self.truth.is_held(writer.number, writer.attempt)
        is_done = self.truth.finish(*again, events_n=writer.n)
        assert is_done == is_held, "the owner was refused, or a zombie ended a run"
        if answer_is_lost:
            assert not self.truth.finish(*again, events_n=writer.n), "a run ended twice"
        self.writers.remove(writer)

    def crash(self, *, whole: bool) -> None:
        """A worker dies and its keeper knows; or the whole executor, and only the lease tells."""
        dead, self.writers = self.writers, []
        if not whole:
            for writer in dead:
                held = (writer.number, writer.attempt)
                is_held = self.truth.is_held(*held)
                is_lost = self.truth.lose(*held, expired_only=False)
                assert is_lost == is_held, "a zombie's keeper took the run from its owner"

    def drain(self) -> None:
        if not self.is_paused:
            for writer in self.writers:
                self.truth.release(writer.number, writer.attempt)
            self.writers = []


class World:
    """One seed's history. `run` raises `AssertionError` with the steps that led there."""

    def __init__(self, seed: int, moves: Moves | None = None) -> None:
        self.rng = Random(seed)
        self.truth = Truth(moves or Moves(), threads=THREADS)
        self.broker = Broker(self.truth)
        self.executors = [Executor(self.truth, self.broker, self.rng) for _ in range(EXECUTORS)]
        self.steps: list[str] = []
        self.attempts: dict[int, int] = {}
        self.ended: dict[int, tuple[RunStatus, bool]] = {}

    def run(self) -> None:
        actions = self._actions()
        names, weights = list(actions), [weight for weight, _ in actions.values()]
        for _ in range(CHAOS_STEPS):
            name = self.rng.choices(names, weights)[0]
            self.steps.append(name)
            actions[name][1]()
            self.check()
        self._calm_down()

    def _actions(self) -> dict[str, tuple[int, Callable[[], object]]]:
        rng, truth, broker = self.rng, self.truth, self.broker
        return {
            "create": (12, self._create),
            "cancel": (4, self._cancel),
            "flush": (20, lambda: self._flush(doubled=rng.random() < 0.3)),
            "take": (20, lambda: self._executor().take(is_acked=rng.random() < 0.8)),
            "work": (30, lambda: self._executor().work(answer_is_lost=rng.random() < 0.3)),
            "tick": (10, self._tick),
            "expire": (5, self._expire),
            "dispatch": (8, self._dispatch),
            "reissue": (2, truth.reissue),
            "lose_ticket": (2, lambda: broker.tickets and broker.tickets.pop()),
            "wipe": (1, broker.wipe),
            "crash_worker": (2, lambda: self._executor().crash(whole=False)),
            "crash_executor": (2, lambda: self._executor().crash(whole=True)),
            "pause": (2, lambda: setattr(self._executor(), "is_paused", True)),
            "resume": (5, lambda: setattr(self._executor(), "is_paused", False)),
            "drain": (2, lambda: self._executor().drain()),
        }

    def _executor(self) -> Executor:
        return self.rng.choice(self.executors)

    def _create(self) -> None:
        if len(self.truth.rows) < RUNS_MAX:
            strategy = self.rng.choice([MultitaskStrategy.ENQUEUE] * 6 + list(MultitaskStrategy))
            delay = self.rng.choice([0, 0, 0, 4])
            self.truth.create(self.rng.randrange(THREADS), strategy, delay=delay)

    def _cancel(self) -> None:
        if self.truth.rows:
            number = self.rng.randrange(len(self.truth.rows))
            self.truth.cancel(number, self.rng.choice(list(CancelAction)))

    def _flush(self, *, doubled: bool = False) -> None:
        if self.truth.outbox:
            at = self.rng.randrange(len(self.truth.outbox))
            ticket = self.truth.outbox[at]
            self.broker.tickets.append(ticket)
            if not doubled:
                del self.truth.outbox[at]

    def _tick(self) -> None:
        self.truth.now += self.rng.randrange(1, 4)

    def _expire(self) -> None:
        for row in self.truth.rows:
            if row.run.status is RunStatus.RUNNING and row.lease_until < self.truth.now:
                self.truth.lose(row.number, row.run.attempt, expired_only=True)

    def _dispatch(self) -> None:
        for thread in range(THREADS):
            self.truth.dispatch(thread)

    def check(self) -> None:
        for number, thread in enumerate(self.truth.threads):
            rows = self.truth.of(number)
            running = [row for row in rows if row.run.status is RunStatus.RUNNING]
            assert len(running) <= 1, "two runs of a thread are running"
            assert all(row.number == thread.current for row in running), "a stranger is running"
            first_claims = [each for each in thread.started if not self.truth.rows[each].is_delayed]
            assert first_claims == sorted(first_claims), "a run overtook another"
        for row in self.truth.rows:
            before = self.attempts.get(row.number, 0)
            assert before <= row.run.attempt <= before + 1, "an attempt number went back"
            self.attempts[row.number] = row.run.attempt
            assert row.run.failures <= FAILURES_MAX, "a run had too many attempts"
            assert row.ends <= 1, "a run ended twice"
            state = (row.run.status, row.is_gone)
            if row.number in self.ended:
                assert self.ended[row.number] == state, "a run changed after its end"
            elif row.ends:
                self.ended[row.number] = state

    def _calm_down(self) -> None:
        """No more faults: everything that was accepted comes to its end."""
        for executor in self.executors:
            executor.is_paused = False
        for _ in range(CALM_ROUNDS):
            if all(row.ends for row in self.truth.rows):
                return
            self.truth.now += 1
            self._expire()
            self._dispatch()
            while self.truth.outbox:
                self._flush()
            if not self.broker.tickets:
                self.truth.reissue()
            for executor in self.executors:
                executor.take(is_acked=True)
                executor.work(answer_is_lost=False)
            self.check()
        left = [row for row in self.truth.rows if not row.ends]
        raise AssertionError(f"runs that never ended: {left}")


@pytest.fixture
def world() -> Callable[..., World]:
    return World
