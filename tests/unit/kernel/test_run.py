"""A run's life, over every state and every move."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.kernel.run import (
    Ending,
    Gone,
    Illegal,
    Move,
    Run,
    cancel,
    claim,
    finish,
    lose,
    release,
)
from bedplate_proto.vocabulary import CancelAction, RunStatus

P, R = RunStatus.PENDING, RunStatus.RUNNING
TERMINAL = tuple(status for status in RunStatus if status.is_terminal)
STATES = [
    Run(status, attempt, failures, wanted)
    for status, attempt, failures, wanted in product(
        RunStatus, (0, 1, 2), (0, 1, 2), (None, *CancelAction)
    )
    if attempt or status is not R
]
ids = lambda value: None  # noqa: E731 - hundreds of states need no names


def test_exactly_the_statuses_that_are_neither_pending_nor_running_are_terminal() -> None:
    assert set(TERMINAL) == set(RunStatus) - {P, R}
    assert {RunStatus(ending.value) for ending in Ending if ending is not Ending.ROLLED_BACK} == (
        set(TERMINAL)
    )


@pytest.mark.parametrize("run", STATES, ids=ids)
def test_only_a_waiting_run_is_claimed_and_each_claim_is_a_new_attempt(run: Run) -> None:
    expected: Move = Illegal.NOT_PENDING
    if run.status is P:
        expected = Run(R, run.attempt + 1, run.failures, run.cancel)
    assert claim(run) == expected


@pytest.mark.parametrize("run", STATES, ids=ids)
def test_only_the_attempt_that_holds_a_run_moves_it(run: Run) -> None:
    for attempt in range(4):
        moves: list[Move] = [
            release(run, attempt),
            lose(run, attempt, failures_max=3),
            *[finish(run, attempt, ending) for ending in Ending],
        ]
        if attempt != run.attempt:
            assert set(moves) == {Illegal.SUPERSEDED}
        elif run.status is not R:
            assert set(moves) == {Illegal.NOT_RUNNING}
        else:
            assert not any(isinstance(move, Illegal) for move in moves)


@pytest.mark.parametrize("run", [run for run in STATES if run.status is R], ids=ids)
def test_what_becomes_of_a_run_that_is_held(run: Run) -> None:
    assert release(run, run.attempt) == Run(P, run.attempt, run.failures, run.cancel)
    for failures_max in (1, 2, 3):
        is_last = run.failures + 1 >= failures_max
        status = RunStatus.ERROR if is_last else P
        expected = Run(status, run.attempt, run.failures + 1, run.cancel)
        assert lose(run, run.attempt, failures_max=failures_max) == expected
    for ending in Ending:
        after = finish(run, run.attempt, ending)
        if ending is Ending.ROLLED_BACK:
            assert after is Gone.GONE
        else:
            status = RunStatus(ending.value)
            assert after == Run(status, run.attempt, run.failures, run.cancel)


@pytest.mark.parametrize("run", STATES, ids=ids)
@pytest.mark.parametrize("action", CancelAction)
def test_what_a_cancel_does(run: Run, action: CancelAction) -> None:
    after = cancel(run, action)
    if run.status.is_terminal:
        assert after is Illegal.TERMINAL
    elif run.status is P and run.attempt == 0:
        # Never started: it ends here and now, and has nothing to be undone.
        if action is CancelAction.ROLLBACK:
            assert after is Gone.GONE
        else:
            assert after == Run(RunStatus.INTERRUPTED, 0, run.failures, run.cancel)
    else:
        # It has saved something, so that only an executor can settle it.
        rolls_back = CancelAction.ROLLBACK in (action, run.cancel)
        wanted = CancelAction.ROLLBACK if rolls_back else CancelAction.INTERRUPT
        assert after == Run(run.status, run.attempt, run.failures, wanted)


@pytest.mark.parametrize("run", STATES, ids=ids)
def test_a_terminal_run_never_changes_again(run: Run) -> None:
    if run.status.is_terminal:
        moves: list[Move] = [
            claim(run),
            release(run, run.attempt),
            lose(run, run.attempt, failures_max=3),
            *[finish(run, run.attempt, ending) for ending in Ending],
            *[cancel(run, action) for action in CancelAction],
        ]
        assert all(isinstance(move, Illegal) for move in moves)


@given(st.lists(st.sampled_from(["claim", "release", "lose", "stale", "interrupt", "rollback"])))
def test_along_any_path_attempts_and_failures_only_grow_and_a_rollback_stays_wanted(
    path: list[str],
) -> None:
    run, failures_max = Run(), 3
    for step in path:
        match step:
            case "claim":
                after = claim(run)
            case "release":
                after = release(run, run.attempt)
            case "lose":
                after = lose(run, run.attempt, failures_max=failures_max)
            case "stale":
                after = finish(run, run.attempt - 1, Ending.SUCCESS)
                assert isinstance(after, Illegal)
            case _:
                after = cancel(run, CancelAction(step))
        if after is Gone.GONE:
            assert run.attempt == 0
            return
        if isinstance(after, Run):
            assert after.attempt == run.attempt + (step == "claim")
            assert after.failures == run.failures + (step == "lose")
            assert after.failures <= failures_max
            if run.cancel is CancelAction.ROLLBACK:
                assert after.cancel is CancelAction.ROLLBACK
            run = after
