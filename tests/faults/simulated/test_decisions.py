"""Whatever is asked of threads and runs, in whatever order and however often it arrives: the
decisions agree with a model that knows nothing of how they are made.

The kernel decides on the simulated ledger's rows; the model is the promise in the simplest words.
Hypothesis searches, and shrinks what it finds to a few steps; seeded walks over the same rules cost
a twentieth, and so go far. More of them: `BEDPLATE_TEST_SEEDS=20000`; one again:
`BEDPLATE_TEST_SEED=<number>`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from inspect import signature
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as some
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bedplate.kernel import run as kernel
from bedplate.kernel.admission import Decision, ThreadFacts, admit
from bedplate.kernel.run import Ending, Run
from bedplate.testing.simulated_ledger import FAILURES_MAX, LEASE, Moves, Truth
from bedplate_proto.vocabulary import CancelAction, MultitaskStrategy, RunStatus

SEARCHES, SEARCH_STEPS = 100, 50
WALKS = int(os.environ.get("BEDPLATE_TEST_SEEDS", "1500"))
SEED = os.environ.get("BEDPLATE_TEST_SEED")
STEPS = 100
THREADS = 3
CALM_ROUNDS = 500

picks = some.integers(0, 2**16)
OVER = [status for status in RunStatus if status.is_terminal]
STOPPED = {CancelAction.INTERRUPT: Ending.INTERRUPTED, CancelAction.ROLLBACK: Ending.ROLLED_BACK}


@dataclass
class Promise:
    """What a client was promised about one run."""

    thread: int
    is_delayed: bool
    status: str = "pending"
    """A run's status, or `gone`."""
    attempts: int = 0
    deaths: int = 0
    wish: CancelAction | None = None
    before: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """The thread's checkpoints when the run began."""

    @property
    def is_over(self) -> bool:
        return self.status not in ("pending", "running")

    def stop(self, action: CancelAction) -> None:
        if self.is_over:
            return
        if self.attempts == 0:
            self.status = "gone" if action is CancelAction.ROLLBACK else "interrupted"
        elif self.wish is not CancelAction.ROLLBACK:
            self.wish = action


def has_runs(machine: Decisions) -> bool:
    return bool(machine.promises)


def has_messages(machine: Decisions) -> bool:
    return bool(machine.truth.outbox)


def has_tickets(machine: Decisions) -> bool:
    return bool(machine.queue)


def has_attempts(machine: Decisions) -> bool:
    return bool(machine.attempts)


def always(_: Decisions) -> bool:
    return True


class Decisions(RuleBasedStateMachine):
    """Any number of executors are one list of attempts: those that hold a run and those that only
    believe it."""

    def __init__(self, moves: Moves | None = None) -> None:
        super().__init__()
        self.truth = Truth(moves or Moves(), threads=THREADS)
        self.promises: list[Promise] = []
        self.queue: list[tuple[int, int]] = []
        self.attempts: list[tuple[int, int]] = []
        self.restored = 0

    def of(self, thread: int) -> list[Promise]:
        return [one for one in self.promises if one.thread == thread and one.status != "gone"]

    def attempt(self, pick: int) -> tuple[int, int]:
        """One of the latest: some hold their run, some are zombies."""
        return self.attempts[-1 - pick % min(5, len(self.attempts))]

    def holds(self, number: int, attempt: int) -> bool:
        one = self.promises[number]
        return one.status == "running" and one.attempts == attempt

    # What clients ask for

    @rule(
        thread=some.integers(0, THREADS - 1),
        strategy=some.sampled_from(MultitaskStrategy),
        delay=some.sampled_from([0, 0, 0, 4]),
    )
    def create(self, thread: int, strategy: MultitaskStrategy, delay: int) -> None:
        earlier = [one for one in self.of(thread) if not one.is_over]
        rows = len(self.truth.rows)
        made = self.truth.create(thread, strategy, delay=delay)
        if strategy is MultitaskStrategy.REJECT and earlier:
            assert made is None and len(self.truth.rows) == rows, "reject never queues"
            return
        assert made is not None and made.number == len(self.promises), "an order was not accepted"
        for one in earlier:
            if strategy is MultitaskStrategy.INTERRUPT:
                one.stop(CancelAction.INTERRUPT)
            elif strategy is MultitaskStrategy.ROLLBACK:
                one.stop(CancelAction.ROLLBACK)
        self.promises.append(Promise(thread, is_delayed=delay > 0))

    @precondition(has_runs)
    @rule(pick=picks, action=some.sampled_from(CancelAction))
    def cancel(self, pick: int, action: CancelAction) -> None:
        number = pick % len(self.promises)
        self.truth.cancel(number, action)
        self.promises[number].stop(action)

    @rule(thread=some.integers(0, THREADS - 1))
    def delete_thread(self, thread: int) -> None:
        self.truth.delete_thread(thread)
        for one in self.of(thread):
            one.status = "gone"

    # What the network and the clock do

    @precondition(has_messages)
    @rule(pick=picks, is_doubled=some.booleans())
    def deliver(self, pick: int, is_doubled: bool) -> None:
        at = pick % len(self.truth.outbox)
        self.queue.append(self.truth.outbox[at])
        if not is_doubled:
            del self.truth.outbox[at]

    @precondition(has_tickets)
    @rule(pick=picks)
    def lose_ticket(self, pick: int) -> None:
        del self.queue[pick % len(self.queue)]

    @rule(by=some.integers(1, 4))
    def wait(self, by: int) -> None:
        self.truth.now += by

    @rule(thread=some.integers(0, THREADS - 1))
    def dispatch(self, thread: int) -> None:
        self.truth.dispatch(thread)

    @rule()
    def reissue(self) -> None:
        self.truth.reissue()

    # What executors do

    @precondition(has_tickets)
    @rule(pick=picks, is_acked=some.booleans())
    def claim(self, pick: int, is_acked: bool) -> None:
        at = pick % len(self.queue)
        number, _ = self.queue[at]
        if is_acked:
            del self.queue[at]
        claimed = self.truth.claim(number)
        if claimed is None:
            return
        attempt, _ = claimed
        one = self.promises[number]
        assert one.status == "pending", "a run is claimed that does not wait"
        assert attempt == one.attempts + 1, "attempts grow by one"
        assert not any(other.status == "running" for other in self.of(one.thread)), "two at once"
        if one.attempts == 0:
            waiting = [
                other
                for other in self.promises[:number]
                if other.thread == one.thread and not other.is_over and not other.is_delayed
            ]
            assert one.is_delayed or not waiting, "a run overtook an earlier one"
            one.before = list(self.truth.threads[one.thread].saved)
        one.status, one.attempts = "running", attempt
        self.attempts.append((number, attempt))

    @precondition(has_attempts)
    @rule(pick=picks)
    def save(self, pick: int) -> None:
        held = self.attempt(pick)
        assert self.truth.save(*held) == self.holds(*held), "only the holder writes"

    @precondition(has_attempts)
    @rule(pick=picks)
    def renew(self, pick: int) -> None:
        held = self.attempt(pick)
        wish = self.promises[held[0]].wish
        assert self.truth.renew(*held) == (wish if self.holds(*held) else False)

    @precondition(has_attempts)
    @rule(pick=picks, plain=some.sampled_from([Ending.SUCCESS, Ending.ERROR, Ending.TIMEOUT]))
    def finish(self, pick: int, plain: Ending) -> None:
        number, attempt = self.attempt(pick)
        one = self.promises[number]
        ending = plain if one.wish is None else STOPPED[one.wish]
        is_ours = self.holds(number, attempt)
        saved = list(self.truth.threads[one.thread].saved)
        done = self.truth.finish(number, attempt, ending, events_n=0)
        assert done == is_ours, "the holder ends its run, nobody else does"
        if is_ours:
            one.status = "gone" if ending is Ending.ROLLED_BACK else ending.value
        if is_ours and one.status == "gone":
            assert self.truth.threads[one.thread].saved == one.before, "rolled back, not restored"
            self.restored += saved != one.before

    @precondition(has_attempts)
    @rule(pick=picks)
    def release(self, pick: int) -> None:
        number, attempt = self.attempt(pick)
        is_ours = self.holds(number, attempt)
        self.truth.release(number, attempt)
        if is_ours:
            self.promises[number].status = "pending"

    @precondition(has_attempts)
    @rule(pick=picks, is_known=some.booleans())
    def die(self, pick: int, is_known: bool) -> None:
        """Its keeper knows at once, or only the lease tells."""
        number, attempt = self.attempt(pick)
        if is_known:
            self._lose(number, attempt, expired_only=False)
        else:
            self.attempts.remove((number, attempt))

    @rule(by=some.sampled_from([1, 1, LEASE + 1]))
    def expire(self, by: int) -> None:
        self.truth.now += by
        for number, one in enumerate(self.promises):
            if one.status == "running" and self.truth.rows[number].lease_until < self.truth.now:
                self._lose(number, one.attempts, expired_only=True)

    def _lose(self, number: int, attempt: int, *, expired_only: bool) -> None:
        one = self.promises[number]
        is_ours = self.holds(number, attempt)
        assert self.truth.lose(number, attempt, expired_only=expired_only) == is_ours
        if is_ours:
            one.deaths += 1
            one.status = "error" if one.deaths == FAILURES_MAX else "pending"

    # What holds at every moment, and in the end

    @invariant()
    def the_rows_are_what_was_promised(self) -> None:
        for one, row in zip(self.promises, self.truth.rows, strict=True):
            status = "gone" if row.is_gone else row.run.status.value
            assert status == one.status, f"run {row.number} is {status}, not {one.status}"
            assert row.ends == one.is_over, f"run {row.number} ended {row.ends} times"
            if not one.is_over:
                assert (row.run.attempt, row.run.cancel) == (one.attempts, one.wish)
                assert row.run.failures == one.deaths

    @invariant()
    def a_thread_has_one_run_at_a_time_and_knows_which(self) -> None:
        for number, thread in enumerate(self.truth.threads):
            running = [row for row in self.truth.of(number) if row.run.status is RunStatus.RUNNING]
            assert [row.number for row in running] in ([], [thread.current]), "a stranger runs"

    def teardown(self) -> None:
        """No more faults: everything that was accepted comes to its end."""
        for _ in range(CALM_ROUNDS):
            if all(one.is_over for one in self.promises):
                return
            self.truth.now += 1
            for thread in range(THREADS):
                self.truth.dispatch(thread)
            self.truth.reissue()
            self.queue, self.truth.outbox = [*self.queue, *self.truth.outbox], []
            while self.queue:
                self.claim(0, is_acked=True)
            while self.attempts:
                self.finish(0, Ending.SUCCESS)
                self.attempts.pop()
            self.expire(1)
            self.the_rows_are_what_was_promised()
        raise AssertionError(f"never ended: {[one for one in self.promises if not one.is_over]}")


def some_of(rng: Random) -> dict[str, Any]:
    """An argument of any rule by its name; `pick` is taken modulo what there is."""
    return {
        "thread": rng.randrange(THREADS),
        "strategy": rng.choice([MultitaskStrategy.ENQUEUE] * 3 + list(MultitaskStrategy)),
        "delay": rng.choice([0, 0, 0, 4]),
        "pick": rng.randrange(2**16),
        "action": rng.choice(list(CancelAction)),
        "is_doubled": rng.random() < 0.3,
        "is_acked": rng.random() < 0.8,
        "is_known": rng.random() < 0.5,
        "plain": rng.choice([Ending.SUCCESS, Ending.ERROR, Ending.TIMEOUT]),
        "by": rng.choice([1, 1, 2, LEASE + 1]),
    }


# How often each rule is walked among the others, and when it can be.
RULES: dict[str, tuple[int, Callable[[Decisions], bool]]] = {
    "create": (12, always),
    "cancel": (3, has_runs),
    "delete_thread": (1, always),
    "deliver": (16, has_messages),
    "lose_ticket": (1, has_tickets),
    "wait": (4, always),
    "dispatch": (8, always),
    "reissue": (3, always),
    "claim": (20, has_tickets),
    "save": (14, has_attempts),
    "renew": (4, has_attempts),
    "finish": (8, has_attempts),
    "release": (3, has_attempts),
    "die": (9, has_attempts),
    "expire": (3, always),
}
WEIGHTS = [weight for weight, _ in RULES.values()]
ARGUMENTS = {name: list(signature(getattr(Decisions, name)).parameters)[1:] for name in RULES}


def walk(seed: int, moves: Moves | None = None) -> Decisions:
    rng = Random(seed)
    machine = Decisions(moves)
    for name in rng.choices(list(RULES), WEIGHTS, k=STEPS):
        if RULES[name][1](machine):
            drawn = some_of(rng)
            getattr(machine, name)(**{key: drawn[key] for key in ARGUMENTS[name]})
            machine.the_rows_are_what_was_promised()
            machine.a_thread_has_one_run_at_a_time_and_knows_which()
    machine.teardown()
    return machine


def test_every_run_gets_what_was_promised_whatever_the_schedule() -> None:
    run_state_machine_as_test(
        Decisions,
        settings=settings(
            max_examples=SEARCHES,
            stateful_step_count=SEARCH_STEPS,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )


def test_every_run_gets_what_was_promised_on_long_walks() -> None:
    seeds = [int(SEED)] if SEED else [Random().randrange(2**32) for _ in range(WALKS)]
    for seed in seeds:
        try:
            walk(seed)
        except AssertionError as error:
            pytest.fail(f"BEDPLATE_TEST_SEED={seed}: {error}")


def test_the_walks_reach_every_end() -> None:
    """Otherwise they would prove little."""
    machines = [walk(seed) for seed in range(200)]
    promises = [one for machine in machines for one in machine.promises]
    assert {one.status for one in promises} == {"gone", *(status.value for status in OVER)}
    assert sum(one.deaths == FAILURES_MAX for one in promises) > 5
    assert sum(machine.restored for machine in machines) > 10


def queues_what_is_refused(facts: Any, request: Any) -> Any:
    decision = admit(facts, request)
    return Decision.WAIT if decision is Decision.REFUSE_BUSY else decision


def starts_beside_another(facts: Any, request: Any) -> Any:
    is_displacing = admit(facts, request) is Decision.DISPLACE
    return Decision.START if is_displacing else admit(facts, request)


def refuses_a_free_thread(facts: Any, request: Any) -> Any:
    if request.strategy is MultitaskStrategy.REJECT:
        return Decision.REFUSE_BUSY
    return admit(facts, request)


def waits_for_nobody(facts: Any, request: Any) -> Any:
    return admit(ThreadFacts.FREE, request)


def forgets_a_rollback(run: Run, action: CancelAction) -> Any:
    move = kernel.cancel(run, action)
    return replace(move, cancel=action) if isinstance(move, Run) and move.cancel else move


def keeps_what_never_started(run: Run, action: CancelAction) -> Any:
    return kernel.cancel(replace(run, attempt=max(1, run.attempt)), action)


def counts_a_release(run: Run, attempt: int) -> Any:
    move = kernel.release(run, attempt)
    return replace(move, failures=move.failures + 1) if isinstance(move, Run) else move


def keeps_the_number(run: Run) -> Any:
    move = kernel.claim(run)
    return replace(move, attempt=max(1, run.attempt)) if isinstance(move, Run) else move


def ends_for_anybody(run: Run, attempt: int, ending: Ending) -> Any:
    del attempt
    return kernel.finish(run, run.attempt, ending)


def keeps_the_rolled_back(run: Run, attempt: int, ending: Ending) -> Any:
    kept = Ending.INTERRUPTED if ending is Ending.ROLLED_BACK else ending
    return kernel.finish(run, attempt, kept)


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("admit", queues_what_is_refused),
        ("admit", starts_beside_another),
        ("admit", refuses_a_free_thread),
        ("admit", waits_for_nobody),
        ("cancel", forgets_a_rollback),
        ("cancel", keeps_what_never_started),
        ("release", counts_a_release),
        ("claim", keeps_the_number),
        ("finish", ends_for_anybody),
        ("finish", keeps_the_rolled_back),
    ],
)
def test_a_broken_decision_is_noticed(name: str, broken: Callable[..., Any]) -> None:
    """The model is worth something."""
    with pytest.raises(AssertionError):
        for seed in range(500):
            walk(seed, Moves(**{name: broken}))
