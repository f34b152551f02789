"""PostgreSQL makes exactly the moves of `bedplate.kernel.run`: every state, every move."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from inspect import getmembers, isfunction
from itertools import product
from typing import Any

import pytest

from bedplate.kernel import run as kernel
from bedplate.kernel.run import Ending, Gone, Illegal, Move, Run
from bedplate.ledger import Applied, Stopped, Superseded
from bedplate_proto.runs import CreateRun
from bedplate_proto.vocabulary import CancelAction, RunStatus

FAILURES_MAX = 3
# How many rows a move writes to the outbox: a new ticket, or the fact that the run is over.
TOLD = {"claim": 0, "release": 1, "lose": 1, "finish": 1}


def states() -> Iterator[Run]:
    for status, failures, cancel in product(RunStatus, range(FAILURES_MAX), (None, *CancelAction)):
        yield Run(status, 3, failures, cancel)
        if status is not RunStatus.RUNNING:
            yield Run(status, 0, failures, cancel)


def attempts_around(run: Run) -> tuple[int, ...]:
    """The right one, an older and a newer."""
    return tuple(
        attempt for attempt in (run.attempt, run.attempt - 1, run.attempt + 1) if attempt >= 0
    )


async def compare(
    books: Any,
    run: Run,
    expected: Move,
    verb: Callable[[CreateRun], Awaitable[None]],
    *,
    told: int,
    others: int,
) -> None:
    """Set the row, let `verb` move it: it is as `expected` then, and nothing else changed."""
    order = await books.place(run, others=others)
    before = await books.run(order.run_id), await books.thread(order.thread_id)
    await verb(order)
    await books.flushed()
    after = await books.state(order.run_id)
    messages = await books.taken_messages()
    case = f"{run} -> {expected}, {others} behind it"
    match expected:
        case Illegal():
            unchanged = await books.run(order.run_id), await books.thread(order.thread_id)
            assert unchanged == before, case
            assert messages == [], case
        case Gone():
            assert after is None, case
            assert len(messages) == told, case
        case Run():
            assert after == expected, case
            assert len(messages) == told, case
    await books.assert_consistent(order.thread_id)


def test_every_move_of_the_kernel_is_replayed_here() -> None:
    moves = {
        name
        for name, move in getmembers(kernel, isfunction)
        if move.__module__ == kernel.__name__ and not name.startswith("_")
    }
    mine = {name for name in globals() if name.endswith("_moves_as_the_kernel_says")}
    assert mine == {f"test_{name}_moves_as_the_kernel_says" for name in moves}


@pytest.fixture
def broken(books: Any) -> Any:
    """Nothing is published, so that the outbox shows what was written."""
    books.broker.is_up = False
    return books


@pytest.mark.parametrize("others", [0, 1])
async def test_claim_moves_as_the_kernel_says(broken: Any, others: int) -> None:
    for run in states():
        expected = kernel.claim(run)

        async def claim(order: CreateRun, run: Run = run, expected: Move = expected) -> None:
            claimed = await broken.ledger.claim([order.run_id], by="executor-2", lease_s=60)
            assert [
                (each.run_id, each.attempt, each.failures, each.cancel) for each in claimed
            ] == (
                [(order.run_id, run.attempt + 1, run.failures, run.cancel)]
                if isinstance(expected, Run)
                else []
            )

        await compare(broken, run, expected, claim, told=TOLD["claim"], others=others)


@pytest.mark.parametrize("others", [0, 1])
async def test_release_moves_as_the_kernel_says(broken: Any, others: int) -> None:
    for run in states():
        for attempt in attempts_around(run):
            expected = kernel.release(run, attempt)

            async def release(
                order: CreateRun, attempt: int = attempt, expected: Move = expected
            ) -> None:
                count = await broken.ledger.release({order.run_id: attempt})
                assert count == isinstance(expected, Run)

            await compare(broken, run, expected, release, told=TOLD["release"], others=others)


@pytest.mark.parametrize("others", [0, 1])
async def test_lose_moves_as_the_kernel_says(broken: Any, others: int) -> None:
    for run in states():
        for attempt in attempts_around(run):
            expected = kernel.lose(run, attempt, failures_max=FAILURES_MAX)

            async def lose(
                order: CreateRun, attempt: int = attempt, expected: Move = expected
            ) -> None:
                lost = await broken.ledger.lose(
                    {order.run_id: attempt}, failures_max=FAILURES_MAX, expired_only=False
                )
                assert [(each.run_id, each.attempt, each.is_last) for each in lost] == (
                    [(order.run_id, attempt, expected.status is RunStatus.ERROR)]
                    if isinstance(expected, Run)
                    else []
                )

            await compare(broken, run, expected, lose, told=TOLD["lose"], others=others)


@pytest.mark.parametrize("ending", Ending)
async def test_finish_moves_as_the_kernel_says(
    broken: Any, ending: Ending, outcome: Callable[..., Any]
) -> None:
    for run in states():
        for attempt in attempts_around(run):
            expected = kernel.finish(run, attempt, ending)

            async def finish(
                order: CreateRun, run: Run = run, attempt: int = attempt, expected: Move = expected
            ) -> None:
                closed = await broken.ledger.finish(broken.about(order, attempt), outcome(ending))
                assert closed == (
                    Superseded(run.status, run.attempt)
                    if isinstance(expected, Illegal)
                    else Applied()
                )

            others = run.failures % 2
            await compare(broken, run, expected, finish, told=TOLD["finish"], others=others)


@pytest.mark.parametrize("action", CancelAction)
@pytest.mark.parametrize("others", [0, 1])
async def test_cancel_moves_as_the_kernel_says(
    broken: Any, action: CancelAction, others: int
) -> None:
    for run in states():
        expected = kernel.cancel(run, action)
        is_over = expected is Gone.GONE or (
            isinstance(expected, Run) and expected.status.is_terminal
        )

        async def cancel(order: CreateRun, expected: Move = expected) -> None:
            answer = await broken.admissions.cancel(
                order.run_id, order.thread_id, tenant=order.tenant, action=action
            )
            assert (answer.became if isinstance(answer, Stopped) else answer) == expected

        # A run that never began has no executor to tell its end: the fact, and the end event.
        told = 2 if is_over else 0
        await compare(broken, run, expected, cancel, told=told, others=others)
