"""Interrupt and rollback on PostgreSQL: what becomes of the earlier runs, and of the new one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bedplate.kernel.run import Run, cancel
from bedplate_proto.vocabulary import CancelAction, MultitaskStrategy, RunStatus

STRATEGIES = {
    MultitaskStrategy.INTERRUPT: CancelAction.INTERRUPT,
    MultitaskStrategy.ROLLBACK: CancelAction.ROLLBACK,
}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("is_delayed", [False, True])
async def test_waiting_runs_make_place_at_once(
    books: Any, strategy: MultitaskStrategy, is_delayed: bool
) -> None:
    head = await books.create()
    behind = await books.create(head.thread_id)
    later = await books.create(head.thread_id, after_s=3600)
    order = books.order(
        head.thread_id, multitask_strategy=strategy, after_s=3600 if is_delayed else 0
    )
    admitted = await books.admissions.create(order)
    assert {one.run_id for one in admitted.displaced} == {
        head.run_id, behind.run_id, later.run_id,
    }  # fmt: skip
    for run in (head, behind, later):
        row = await books.run(run.run_id)
        if strategy is MultitaskStrategy.ROLLBACK:
            assert row is None
        else:
            assert row["status"] == "interrupted"
    thread = await books.thread(head.thread_id)
    assert thread["runs_active"] == 1
    assert thread["current_run"] == (None if is_delayed else order.run_id)
    await books.assert_consistent(head.thread_id)
    if not is_delayed:
        assert await books.claim(order) == 1


@pytest.mark.parametrize(("strategy", "action"), STRATEGIES.items())
async def test_a_running_run_is_asked_and_waited_for(
    books: Any, outcome: Any, strategy: MultitaskStrategy, action: CancelAction
) -> None:
    running = await books.create()
    attempt = await books.claim(running)
    behind = await books.create(running.thread_id)
    order = books.order(running.thread_id, multitask_strategy=strategy)
    admitted = await books.admissions.create(order)
    [asked] = [one for one in admitted.displaced if one.run_id == running.run_id]
    assert asked.became == cancel(Run(RunStatus.RUNNING, attempt), action)
    assert await books.state(running.run_id) == asked.became
    assert (await books.run(behind.run_id) is None) == (action is CancelAction.ROLLBACK)
    assert await books.ledger.claim([order.run_id], by="x", lease_s=60) == []
    await books.ledger.finish(books.about(running, attempt), outcome())
    assert await books.dispatch.dispatch_next(running.thread_id)
    assert await books.claim(order) == 1
    await books.assert_consistent(running.thread_id)


async def test_the_latest_of_many_at_once_is_the_one_that_stays(books: Any) -> None:
    """Each displaces all before it: one is left, and nobody is left behind."""
    for _ in range(10):
        thread_id = (await books.create()).thread_id
        orders = [
            books.order(thread_id, multitask_strategy=strategy)
            for strategy in [*STRATEGIES, *STRATEGIES]
        ]
        await asyncio.gather(*[books.admissions.create(order) for order in orders])
        rows = [await books.run(order.run_id) for order in orders]
        assert [row["status"] for row in rows if row is not None].count("pending") == 1
        thread = await books.thread(thread_id)
        assert thread["runs_active"] == 1
        await books.assert_consistent(thread_id)


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_an_order_that_comes_twice_displaces_once(
    books: Any, strategy: MultitaskStrategy
) -> None:
    first = await books.create()
    order = books.order(first.thread_id, multitask_strategy=strategy)
    one = await books.admissions.create(order)
    two = await books.admissions.create(order)
    assert one.displaced and not two.displaced
    assert (await books.run(order.run_id))["status"] == "pending"
    await books.assert_consistent(first.thread_id)


async def test_a_batch_is_created_whole_or_not_at_all(books: Any) -> None:
    taken = await books.create()
    orders = [books.order(is_temporary=True) for _ in range(3)]
    admitted = await books.admissions.create_all(orders)
    assert len(admitted) == 3
    more = [books.order(is_temporary=True), books.order(is_temporary=True, run_id=taken.run_id)]
    with pytest.raises(Exception, match="run id is taken"):
        await books.admissions.create_all(more)
    assert await books.thread(more[0].thread_id) is None
