"""Many schedulers and executors at once: one running run per thread, FIFO, nothing lost."""

from __future__ import annotations

import asyncio
import os
from random import Random
from typing import Any
from uuid import UUID, uuid4

from bedplate.kernel.run import Ending
from bedplate.ledger import Applied, Missing, Superseded
from bedplate_proto.vocabulary import CancelAction

THREADS, RUNS, EXECUTORS = 10, 300, 6
FAILURES_MAX = 1000


class Crowd:
    """Creators, dispatchers, executors that die now and then, and the order they saw."""

    def __init__(self, books: Any, outcome: Any, rng: Random) -> None:
        self.books = books
        self.outcome = outcome
        self.rng = rng
        self.threads = [uuid4() for _ in range(THREADS)]
        self.created: dict[UUID, Any] = {}
        self.started: dict[UUID, list[UUID]] = {thread: [] for thread in self.threads}
        self.at_work: dict[UUID, UUID] = {}
        self.over: set[UUID] = set()
        self.is_created = False

    async def create(self, share: int) -> None:
        """One at a time per creator, each on threads of its own, so that the order is known."""
        mine = self.threads[share::2]
        for _ in range(RUNS // 2):
            order = self.books.order(self.rng.choice(mine))
            self.created[order.run_id] = order
            await self.books.admissions.create(order)

    async def execute(self, name: str) -> None:
        while not (self.is_created and len(self.over) == len(self.created)):
            waiting = [run_id for run_id in self.created if run_id not in self.over]
            wanted = self.rng.sample(waiting, min(len(waiting), 12))
            claimed = await self.books.ledger.claim(wanted, by=name, lease_s=60)
            for attempt in claimed:
                self.begin(attempt)
            for attempt in claimed:
                await self.end(attempt)
            await asyncio.sleep(0)

    def begin(self, attempt: Any) -> None:
        # Only what was not ended may be claimed, and only while nobody else is at the thread. The
        # claim has committed, so the one before must have.
        assert attempt.run_id not in self.over
        assert self.at_work.get(attempt.thread_id) in (None, attempt.run_id)
        self.at_work[attempt.thread_id] = attempt.run_id
        if attempt.run_id not in self.started[attempt.thread_id]:
            self.started[attempt.thread_id].append(attempt.run_id)

    async def end(self, attempt: Any) -> None:
        books, run_id = self.books, attempt.run_id
        held = {run_id: attempt.attempt}
        await books.ledger.renew(held, lease_s=60)
        fate = self.rng.random()
        if fate < 0.1:
            assert await books.ledger.release(held) == 1
            return
        if fate < 0.2:
            lost = await books.ledger.lose(held, failures_max=FAILURES_MAX, expired_only=False)
            assert len(lost) == 1
            return
        # Set before the answer comes: from the commit on another executor may go on.
        del self.at_work[attempt.thread_id]
        ending = Ending.ROLLED_BACK if fate < 0.3 else Ending.SUCCESS
        about = books.about(self.created[run_id], attempt.attempt)
        assert await books.ledger.finish(about, self.outcome(ending)) == Applied()
        self.over.add(run_id)
        again = await books.ledger.finish(about, self.outcome(ending))
        assert isinstance(again, Missing if ending is Ending.ROLLED_BACK else Superseded)
        if fate > 0.35:
            await books.dispatch.dispatch_next(attempt.thread_id)

    async def dispatch(self) -> None:
        """The loop that finds what nobody dispatched."""
        while not (self.is_created and len(self.over) == len(self.created)):
            for thread_id in await self.books.dispatch.find_undispatched(limit=5):
                await self.books.dispatch.dispatch_next(thread_id)
            await self.books.outbox.relay(older_than_s=0, limit=20)
            await asyncio.sleep(0)


async def test_hundreds_of_runs_at_once_all_end_one_by_one_and_in_order(
    books: Any, outcome: Any
) -> None:
    seed = int(os.environ.get("BEDPLATE_TEST_SEED", "0")) or Random().randrange(2**32)
    print(f"BEDPLATE_TEST_SEED={seed}")
    crowd = Crowd(books, outcome, Random(seed))
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        creators = [group.create_task(crowd.create(share)) for share in range(2)]
        for number in range(EXECUTORS):
            group.create_task(crowd.execute(f"executor-{number}"))
        group.create_task(crowd.dispatch())
        await asyncio.gather(*creators)
        crowd.is_created = True
    for thread_id, started in crowd.started.items():
        expected = [run_id for run_id, each in crowd.created.items() if each.thread_id == thread_id]
        assert started == expected
        await books.assert_consistent(thread_id)
    await books.flushed()
    assert await books.pool.fetchval("SELECT sum(runs_active) FROM threads") == 0


async def test_runs_cancelled_while_others_claim_them_leave_nobody_behind(
    books: Any, outcome: Any
) -> None:
    seed = Random().randrange(2**32)
    print(f"seed {seed}")
    rng = Random(seed)
    thread_id = uuid4()
    orders = [books.order(thread_id) for _ in range(60)]

    async def cancel_some() -> None:
        for order in rng.sample(orders, 30):
            await books.admissions.cancel(
                order.run_id, thread_id, tenant="default", action=rng.choice(list(CancelAction))
            )
            await books.dispatch.dispatch_next(thread_id)

    async def execute() -> None:
        while (await books.thread(thread_id))["runs_active"] > 0:
            ids = [order.run_id for order in orders]
            for attempt in await books.ledger.claim(ids, by="x", lease_s=60):
                ending = {
                    None: Ending.SUCCESS,
                    CancelAction.INTERRUPT: Ending.INTERRUPTED,
                    CancelAction.ROLLBACK: Ending.ROLLED_BACK,
                }[attempt.cancel]
                about = books.about(books.order(thread_id, run_id=attempt.run_id), attempt.attempt)
                assert await books.ledger.finish(about, outcome(ending)) == Applied()
                await books.dispatch.dispatch_next(thread_id)

    for order in orders:
        await books.admissions.create(order)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(cancel_some())
        for _ in range(3):
            group.create_task(execute())
    await books.assert_consistent(thread_id)
    statuses = await books.pool.fetch("SELECT DISTINCT status FROM runs")
    assert {row["status"] for row in statuses} <= {"success", "interrupted"}
