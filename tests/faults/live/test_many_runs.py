"""Three thousand runs on fifty threads, two schedulers, seven executors, workers that are killed.

Fifty clients each type into a thread of their own, with every strategy and without waiting for
answers, and cancel what they have typed. A trigger writes down every move of every run as
PostgreSQL made it; the checker knows what is legal from the kernel, and what was promised from the
answers.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest

from bedplate.bus.broker import Bus
from bedplate.devstack.stack import Stack
from bedplate.kernel.errors import Conflict, NotFound
from bedplate.ledger import Parcels, make_pool
from bedplate.testing.eventually import eventually
from bedplate.testing.orders import TENANT, create_run, work
from bedplate_proto import subjects
from bedplate_proto.runs import CancelRun, CreateRun
from bedplate_proto.vocabulary import CancelAction, MultitaskStrategy, RunStatus

THREADS, RUNS_PER_THREAD = 50, 60
SCHEDULERS, EXECUTORS = 2, 7
WORKERS_KILLED = 5
CANCELS = 0.08
# An executor that dies whole costs a lease.
LIMIT_S = 240.0

STRATEGIES = [MultitaskStrategy.ENQUEUE] * 5 + list(MultitaskStrategy)
GRAPHS = [("noop", {"value": 1})] * 3 + [("sleeps", {"seconds": 0.05}), ("steps", {"steps": 2})]
ENDS = {status.value for status in RunStatus if status.is_terminal}

ENOUGH = "SELECT count(*) >= $1 FROM journal WHERE was IS NULL"
JOURNAL = """
CREATE TABLE journal (
    n bigint GENERATED ALWAYS AS IDENTITY, run_id uuid, thread_id uuid,
    was text, now text, attempt_was int, attempt int
);
CREATE FUNCTION note_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO journal (run_id, thread_id, was, now, attempt_was, attempt)
    VALUES (coalesce(NEW.run_id, OLD.run_id), coalesce(NEW.thread_id, OLD.thread_id),
            OLD.status, NEW.status, OLD.attempt, NEW.attempt);
    RETURN NULL;
END $$;
CREATE TRIGGER journal_made AFTER INSERT OR DELETE ON runs
    FOR EACH ROW EXECUTE FUNCTION note_move();
CREATE TRIGGER journal_moved AFTER UPDATE ON runs FOR EACH ROW
    WHEN (OLD.status <> NEW.status OR OLD.attempt <> NEW.attempt) EXECUTE FUNCTION note_move();
"""


@pytest.fixture
def rng() -> Random:
    """`SEED` in the environment repeats what is typed; not when."""
    seed = int(os.environ.get("SEED") or Random().getrandbits(32))
    print(f"SEED={seed}")
    return Random(seed)


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return {"env": {"BEDPLATE_EXECUTOR_SPARE": "0"}}


@pytest.fixture(scope="module")
def crowd(stack: Stack) -> Iterator[Stack]:
    # One after the other: each imports for seconds, and they would starve each other.
    for service, replicas in (("run-scheduler", SCHEDULERS), ("executor", EXECUTORS)):
        for replica in range(2, replicas + 1):
            stack.start_service(service, replica=replica)
    yield stack


@dataclass
class Client:
    """Types into one thread; what it was answered."""

    bus: Bus
    rng: Random
    assistants: dict[str, UUID]
    thread_id: UUID = field(default_factory=uuid4)
    accepted: list[CreateRun] = field(default_factory=list[CreateRun])
    refused: list[UUID] = field(default_factory=list[UUID])
    may_vanish: set[UUID] = field(default_factory=set[UUID])

    async def type(self) -> None:
        for _ in range(RUNS_PER_THREAD):
            await self._create()
            if self.rng.random() < CANCELS:
                await self._cancel()

    async def _create(self) -> None:
        graph, given = self.rng.choice(GRAPHS)
        order = create_run(
            self.thread_id,
            graph_id=graph,
            assistant_id=self.assistants[graph],
            kwargs=work(given),
            multitask_strategy=self.rng.choice(STRATEGIES),
        )
        if order.multitask_strategy is MultitaskStrategy.ROLLBACK:
            self.may_vanish |= {one.run_id for one in self.accepted}
        try:
            await self.bus.order(subjects.CREATE_RUN, order, limit_s=30)
        except Conflict:
            assert order.multitask_strategy is MultitaskStrategy.REJECT
            self.refused.append(order.run_id)
        else:
            self.accepted.append(order)

    async def _cancel(self) -> None:
        run_id = self.rng.choice(self.accepted[-4:]).run_id
        action = self.rng.choice(list(CancelAction))
        if action is CancelAction.ROLLBACK:
            self.may_vanish.add(run_id)
        order = CancelRun(tenant=TENANT, thread_id=self.thread_id, run_id=run_id, action=action)
        with suppress(NotFound):
            await self.bus.order(subjects.CANCEL_RUN, order, limit_s=30)


@pytest.fixture
async def pool(crowd: Stack) -> AsyncIterator[Any]:
    async with make_pool(crowd.endpoints.database_uri, size_max=4, application="test") as opened:
        await opened.execute(JOURNAL)
        yield opened


@pytest.fixture
async def clients(crowd: Stack, pool: Any, rng: Random) -> AsyncIterator[list[Client]]:
    rows = await pool.fetch("SELECT graph_id, assistant_id FROM assistants")
    assistants = {row["graph_id"]: row["assistant_id"] for row in rows}
    async with Bus(crowd.endpoints.nats_url, client_name="test", carrier=Parcels(pool)) as bus:
        yield [Client(bus, Random(rng.getrandbits(32)), assistants) for _ in range(THREADS)]


async def _kill_some(stack: Stack, pool: Any, rng: Random) -> None:
    """A worker now and then, and once a whole executor."""

    def family(replica: int) -> list[int]:
        return stack.pids("executor", replica=replica)

    for number in range(1, WORKERS_KILLED + 1):
        made = number * THREADS * RUNS_PER_THREAD // (WORKERS_KILLED + 2)
        await eventually(lambda made=made: pool.fetchval(ENOUGH, made), within_s=LIMIT_S)
        alive = [pids[1] for pids in map(family, range(1, EXECUTORS)) if len(pids) > 1]
        os.kill(rng.choice(alive), signal.SIGKILL)
    stack.kill("executor", replica=EXECUTORS)


@pytest.mark.timeout(600)
async def test_nothing_is_lost_doubled_or_overtaken_in_a_crowd(
    crowd: Stack, pool: Any, clients: list[Client], rng: Random
) -> None:
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
        group.create_task(_kill_some(crowd, pool, rng))
        for client in clients:
            group.create_task(client.type())
    active = "SELECT count(*) FROM runs WHERE status IN ('pending', 'running')"
    await eventually(lambda: pool.fetchval(active), equals=0, within_s=LIMIT_S, every_s=0.2)

    journal = await pool.fetch("SELECT * FROM journal ORDER BY n")
    by_run: dict[UUID, list[Any]] = defaultdict(list)
    for move in journal:
        by_run[move["run_id"]].append(move)
    assert sum(map(len, (client.accepted for client in clients))) == len(by_run)
    for client in clients:
        for run_id in client.refused:
            assert run_id not in by_run, "a refused run was written"
        for order in client.accepted:
            _is_one_life(by_run[order.run_id], may_vanish=order.run_id in client.may_vanish)
        await _thread_is_at_rest(pool, client)
    _run_one_at_a_time(journal)
    _started_in_order(journal)
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert await pool.fetchval(deadlocks) == 0
    died = sum(move["was"] == "running" and move["now"] == "pending" for move in journal)
    print(f"{len(by_run)} runs, {len(journal)} moves, {died} handed on")
    assert died, "somebody died with a run"


def _is_one_life(moves: list[Any], *, may_vanish: bool) -> None:
    """From its making to one end, by moves that the kernel knows."""
    story = [(move["was"], move["now"]) for move in moves]
    assert story[0] == (None, "pending"), story
    for (_, status), (was, _) in pairwise(story):
        assert status == was, story
    attempts = [move["attempt"] for move in moves if move["now"] == "running"]
    assert attempts == list(range(1, len(attempts) + 1)), "attempts grow by one"
    for move in moves[1:]:
        step = (move["was"], move["now"])
        if step == ("pending", "running"):
            continue
        assert move["attempt"] in (move["attempt_was"], None), "only a claim begins an attempt"
        if step == ("running", "pending"):
            continue
        assert move is moves[-1], f"it went on after its end: {story}"
        if move["was"] == "pending":
            assert step in (("pending", "interrupted"), ("pending", None)), story
            assert move["attempt_was"] == 0, "what was begun is settled by an executor"
    last = story[-1][1]
    assert last in ENDS or (last is None and may_vanish), story


def _run_one_at_a_time(journal: list[Any]) -> None:
    running: dict[UUID, UUID] = {}
    for move in journal:
        thread_id, run_id = move["thread_id"], move["run_id"]
        if move["now"] == "running":
            assert thread_id not in running, f"two runs of {thread_id} at once"
            running[thread_id] = run_id
        elif move["was"] == "running":
            assert running.pop(thread_id) == run_id


def _started_in_order(journal: list[Any]) -> None:
    made: dict[UUID, int] = {}
    latest: dict[UUID, int] = defaultdict(int)
    for move in journal:
        thread_id, run_id = move["thread_id"], move["run_id"]
        if move["was"] is None:
            made[run_id] = move["n"]
        elif move["now"] == "running" and move["attempt"] == 1:
            assert made[run_id] > latest[thread_id], "a run overtook an earlier one"
            latest[thread_id] = made[run_id]


async def _thread_is_at_rest(pool: Any, client: Client) -> None:
    thread = await pool.fetchrow(
        "SELECT status, runs_active, current_run FROM threads WHERE thread_id = $1",
        client.thread_id,
    )
    assert (thread["runs_active"], thread["current_run"]) == (0, None)
    assert thread["status"] in ("idle", "error")
    # Whose run was rolled back left nothing of it behind.
    strangers = await pool.fetchval(
        "SELECT count(*) FROM checkpoints WHERE thread_id = $1::uuid::text"
        " AND (metadata->>'run_id')::uuid NOT IN"
        " (SELECT run_id FROM runs WHERE thread_id = $1)",
        client.thread_id,
    )
    assert strangers == 0, "checkpoints of runs that never were"
