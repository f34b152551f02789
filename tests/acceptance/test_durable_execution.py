"""A run survives whatever happens to the processes that execute it (architecture, section 3)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from langgraph_sdk.client import LangGraphClient

from bedplate.bus.broker import Bus
from bedplate.bus.event_log import EventLog
from bedplate.devstack.processes import is_alive
from bedplate.devstack.stack import Stack
from bedplate.testing.eventually import eventually
from bedplate_proto.subjects import RunAddress

GRAPHS = Path(__file__).parents[1] / "graphs" / "langgraph.json"
WORKER_S_MAX = 2.0
EXECUTOR_S_MAX = 10.0
PATIENCE_S = 30.0
STEPS = [str(number) for number in range(1, 21)]

MakeSteps = Callable[[Stack], Any]
Record = Callable[[str, float], None]


@pytest.fixture(scope="module")
def pair(run_stack: Any) -> Iterator[Stack]:
    """A stack whose executor has two workers, and which tests may break. Without a spare: the other
    worker goes on."""
    running = run_stack(GRAPHS, workers=2, env={"BEDPLATE_EXECUTOR_SPARE": "false"})
    yield running
    running.stop()


@pytest.fixture(params=[1, 2])
def either(request: pytest.FixtureRequest) -> Stack:
    """With one worker, and with two."""
    return request.getfixturevalue("stack" if request.param == 1 else "pair")


@pytest.fixture
def record(record_property: Callable[[str, object], None]) -> Record:
    """Notes a measured time in the report, and in the output for who looks there."""

    def note(name: str, seconds: float) -> None:
        record_property(name, round(seconds, 3))
        print(f"{name}: {seconds:.3f} s")

    return note


def executor_of(stack: Stack, pid: int) -> int:
    """The replica that `pid` is a worker of."""
    return next(n for n in (1, 2) if pid in stack.pids("executor", replica=n))


async def somebody_can_take_over(stack: Stack) -> None:
    """The tests before may have killed what replaces a worker."""
    await eventually(
        lambda: told(stack, "workers_open") + told(stack, "workers_spare"),
        satisfies=lambda n: n >= 2,
        within_s=PATIENCE_S,
    )


@pytest.mark.parametrize("durability", ["sync", "async"])
async def test_a_killed_worker_costs_less_than_two_seconds_and_only_the_step_under_way(
    either: Stack, steps_on: MakeSteps, durability: str, record: Record
) -> None:
    run = steps_on(either)
    await run.start(gate_at=8, durability=durability)
    worker = await run.is_at(8)
    await somebody_can_take_over(either)
    os.kill(worker, signal.SIGKILL)
    killed_at = time.monotonic()
    record("worker_killed_s", took_s := await run.goes_on(8, killed_at))
    run.gate.touch()
    assert await run.ended() == "success"
    assert run.journal.firsts() == [*STEPS[:8], *STEPS[7:]]
    assert worker not in run.journal.pids()[8:]
    assert took_s < WORKER_S_MAX
    assert await run.row() == {"status": "success", "attempt": 2, "failures": 1}
    state: Any = await run.client.threads.get_state(run.thread_id)
    assert state["values"]["log"] == list(range(1, 21)), "no result was applied twice"


async def test_a_run_killed_in_its_first_step_keeps_its_input(
    pair: Stack, steps_on: MakeSteps
) -> None:
    run = steps_on(pair)
    await run.start(gate_at=1)
    await eventually(lambda: run.journal.firsts(), within_s=PATIENCE_S, every_s=0.005)
    os.kill(run.journal.pids()[0], signal.SIGKILL)
    run.gate.touch()
    assert await run.ended() == "success"
    assert run.journal.firsts() == ["1", *STEPS]


async def test_with_durability_exit_a_killed_run_starts_over(
    stack: Stack, steps_on: MakeSteps
) -> None:
    run = steps_on(stack)
    await run.start(gate_at=8, durability="exit")
    await eventually(lambda: "8" in run.journal.firsts(), within_s=PATIENCE_S)
    os.kill(run.journal.pids()[-1], signal.SIGKILL)
    run.gate.touch()
    assert await run.ended() == "success"
    assert run.journal.firsts() == [*STEPS[:8], *STEPS]
    assert len(await run.client.threads.get_history(run.thread_id, limit=50)) == 1


async def test_workers_that_are_killed_again_and_again_lose_no_step(
    pair: Stack, steps_on: MakeSteps
) -> None:
    run = steps_on(pair)
    await run.start(pause_s=0.03, durability="sync")
    for step in (5, 12):
        await eventually(
            lambda step=step: str(step) in run.journal.firsts(),
            within_s=PATIENCE_S,
            every_s=0.005,
        )
        os.kill(run.journal.pids()[-1], signal.SIGKILL)
    assert await run.ended() == "success"
    firsts = run.journal.firsts()
    assert sorted(set(firsts), key=int) == STEPS
    assert len(firsts) <= 22, "each death repeats one step at most"
    state: Any = await run.client.threads.get_state(run.thread_id)
    assert state["values"]["log"] == list(range(1, 21))


async def test_finished_model_calls_and_tools_of_a_deep_agent_are_not_repeated(
    stack: Stack, client: LangGraphClient, model_server: Any, journal: Any, record: Record
) -> None:
    gate = f"deep-{os.getpid()}"
    script = [
        {"tool_calls": [{"name": "note", "args": {"step": 1}}]},
        {"tool_calls": [{"name": "note", "args": {"step": 2}}]},
        {"wait_for": gate, "tool_calls": [{"name": "note", "args": {"step": 3}}]},
        {"text": "all three are noted"},
    ]
    said = f"deep agent {gate} ```stub {json.dumps(script)}```"
    thread = (await client.threads.create())["thread_id"]
    model_server.hold(gate)
    run = await client.runs.create(
        thread,
        "agent",
        input={"messages": [{"role": "user", "content": said}]},
        config={"configurable": {"journal": journal.path}},
    )

    async def tools_saved() -> int:
        state: Any = await client.threads.get_state(thread)
        return len([m for m in state["values"].get("messages", []) if m["type"] == "tool"])

    await eventually(lambda: model_server.waiting(gate), equals=1, within_s=PATIENCE_S)
    await eventually(tools_saved, equals=2, within_s=PATIENCE_S)
    await somebody_can_take_over(stack)
    os.kill(journal.pids()[-1], signal.SIGKILL)
    killed_at = time.monotonic()
    # The answer that was under way is asked for again, by another worker.
    await eventually(lambda: model_server.waiting(gate), equals=2, within_s=PATIENCE_S)
    record("deep_agent_goes_on_s", took_s := time.monotonic() - killed_at)
    model_server.let_go(gate)
    values: Any = await client.runs.join(thread, run["run_id"])

    assert values["messages"][-1]["content"] == "all three are noted"
    assert journal.firsts() == ["1", "2", "3"], "no tool ran twice"
    digests = [request["digest"] for request in model_server.requests(user=gate)]
    assert len(set(digests)) == 4
    assert sorted(digests.count(digest) for digest in set(digests)) == [1, 1, 1, 2]
    assert digests.count(digests[2]) == 2, "only the call under way was made again"
    assert took_s < WORKER_S_MAX


async def test_a_dead_keeper_takes_its_workers_along_and_a_new_executor_goes_on(
    pair: Stack, steps_on: MakeSteps, record: Record
) -> None:
    run = steps_on(pair)
    await run.start(gate_at=8)
    worker = await run.is_at(8)
    family = pair.pids("executor")
    assert worker in family
    pair.kill("executor", tree=False)
    killed_at = time.monotonic()
    await eventually(lambda: [pid for pid in family if is_alive(pid)], equals=[], within_s=5)
    await asyncio.to_thread(pair.start_service, "executor")
    record("executor_restarted_s", took_s := await run.goes_on(8, killed_at))
    run.gate.touch()
    assert await run.ended() == "success"
    assert run.journal.firsts() == [*STEPS[:8], *STEPS[7:]]
    assert took_s < EXECUTOR_S_MAX


@pytest.fixture(scope="module")
def twins(pair: Stack) -> Iterator[Stack]:
    """Two executors."""
    pair.start_service("executor", replica=2)
    yield pair
    pair.stop_service("executor", replica=2)


async def test_another_executor_goes_on_when_one_is_killed(
    twins: Stack, steps_on: MakeSteps, record: Record
) -> None:
    run = steps_on(twins)
    await run.start(gate_at=8)
    replica = executor_of(twins, await run.is_at(8))
    twins.kill("executor", replica=replica)
    killed_at = time.monotonic()
    record("executor_replaced_s", took_s := await run.goes_on(8, killed_at))
    run.gate.touch()
    assert await run.ended() == "success"
    assert run.journal.firsts() == [*STEPS[:8], *STEPS[7:]]
    assert run.journal.pids()[-1] in twins.pids("executor", replica=3 - replica)
    assert took_s < EXECUTOR_S_MAX
    await asyncio.to_thread(twins.start_service, "executor", replica=replica)


async def test_sigterm_hands_over_at_the_next_step_and_spends_no_attempt(
    twins: Stack, steps_on: MakeSteps, record: Record
) -> None:
    run = steps_on(twins)
    await run.start(pause_s=0.15)
    await eventually(lambda: "5" in run.journal.firsts(), within_s=PATIENCE_S)
    replica = executor_of(twins, run.journal.pids()[-1])
    began = time.monotonic()
    code = await asyncio.to_thread(twins.stop_service, "executor", replica=replica)
    record("executor_drained_s", time.monotonic() - began)
    assert code == 0
    assert await run.ended() == "success"
    assert run.journal.firsts() == STEPS, "each step once"
    assert len(set(run.journal.pids())) == 2
    assert await run.row() == {"status": "success", "attempt": 2, "failures": 0}
    await asyncio.to_thread(twins.start_service, "executor", replica=replica)


async def test_what_was_forgotten_for_dead_can_write_nothing(
    twins: Stack, steps_on: MakeSteps
) -> None:
    """The worker wakes while its successor is at work; its keeper sleeps on, so nobody tells it to
    stop: only the refusals of what it writes do."""
    run, shelf = steps_on(twins), f"shelf-{uuid4()}"
    await run.start(gate_at=8, shelf=shelf)
    zombie = await run.is_at(8)
    replica = executor_of(twins, zombie)
    keeper = twins.pids("executor", replica=replica)[0]
    twins.kill("executor", signal.SIGSTOP, replica=replica)
    try:
        await run.goes_on(8, time.monotonic())
        successor = run.journal.pids()[-1]
        assert successor in twins.pids("executor", replica=3 - replica)
        log = twins.logs("executor", replica=replica)
        os.kill(zombie, signal.SIGCONT)
        run.gate.touch()
        assert await run.ended() == "success"
        await eventually(
            lambda: refusals_of(log, run.run_id), satisfies=lambda n: n >= 1, within_s=PATIENCE_S
        )
    finally:
        twins.kill("executor", signal.SIGCONT, replica=replica)
    await eventually(
        lambda: told(twins, "runs_held", replica=replica), equals=0.0, within_s=PATIENCE_S
    )
    assert is_alive(keeper) and is_alive(zombie)
    assert "worker.recycled" not in log.read_text(), "its graph has heeded its cancellation"

    assert await run.row() == {"status": "success", "attempt": 2, "failures": 1}
    checkpoints = await written(run)
    assert [(c["step"], c["attempt"]) for c in checkpoints] == [
        (step, 1 if step <= 7 else 2) for step in range(-1, 21)
    ]
    found = await run.client.store.search_items([shelf], limit=100)
    assert {item["key"] for item in found["items"]} == {
        f"{step}-{zombie if step <= 7 else successor}" for step in range(1, 21)
    }
    events = await events_of(run)
    attempts = [event.attempt for event in events]
    assert attempts == sorted(attempts) and set(attempts) == {1, 2}
    numbers = [event.n for event in events]
    assert numbers == sorted(set(numbers))
    assert [event.name for event in events].count("end") == 1
    state: Any = await run.client.threads.get_state(run.thread_id)
    assert state["values"]["log"] == list(range(1, 21))


def refusals_of(log: Path, run_id: str) -> int:
    lines = log.read_text().splitlines()
    return len([line for line in lines if "attempt.superseded" in line and run_id in line])


def told(stack: Stack, metric: str, *, replica: int = 1) -> float:
    """What an executor says of itself."""
    text = httpx.get(f"{stack.ops_url('executor', replica=replica)}/metrics", timeout=5).text
    line = next(line for line in text.splitlines() if metric in line and line[0] != "#")
    return float(line.split()[-1])


async def written(run: Any) -> list[dict[str, Any]]:
    """The thread's checkpoints in order: which step, written by which attempt."""
    connection = await asyncpg.connect(run.stack.endpoints.database_uri)
    try:
        rows = await connection.fetch(
            "SELECT (metadata->>'step')::int AS step, (metadata->>'run_attempt')::int AS attempt"
            " FROM checkpoints WHERE thread_id = $1 ORDER BY checkpoint_id",
            run.thread_id,
        )
    finally:
        await connection.close()
    return [dict(row) for row in rows]


async def events_of(run: Any) -> list[Any]:
    """What the stream holds of the run."""
    bus = await Bus.connect(run.stack.endpoints.nats_url, name="test")
    try:
        address = RunAddress("default", UUID(run.thread_id), UUID(run.run_id))
        async with EventLog(bus).follow(address) as follower:
            return [event async for event in follower.stored()]
    finally:
        await bus.close()
