"""Cancelling, deleting and waiting: what stops work stops it, what waits costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.errors import NotFoundError

from bedplate.devstack.stack import Stack
from bedplate.testing.eventually import eventually

# Told at once by a signal; the lease's renewal (every 2 s) tells it again.
CANCELLED_S_MAX = 5.0


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    """A stubborn graph is left behind after a second instead of ten; two runs fill the worker."""
    return {"env": {"BEDPLATE_EXECUTOR_CANCEL_S": "1", "N_JOBS_PER_WORKER": "2"}}


async def slots_free(stack: Stack) -> float:
    async with httpx.AsyncClient() as http:
        text = (await http.get(f"{stack.ops_url('executor')}/metrics")).text
    line = next(line for line in text.splitlines() if "slots_free" in line and line[0] != "#")
    return float(line.split()[-1])


async def nobody_works(stack: Stack) -> None:
    await eventually(lambda: slots_free(stack), equals=2.0, within_s=10)


async def is_gone(run: Any) -> bool:
    try:
        await run.status()
    except NotFoundError:
        return True
    return False


async def test_a_running_run_is_interrupted_and_keeps_its_steps(api: Any, stack: Stack) -> None:
    run = await api.start("steps", gate_at=5)
    await run.journal.has("5")
    await api.client.runs.cancel(run.thread_id, run.run_id, wait=True)
    assert await run.status() == "interrupted"
    thread = await run.thread()
    assert thread["status"] == "interrupted" and thread["values"]["count"] == 4
    assert [event.name for event in await run.events()][-1] == "end"
    run.gate.touch()
    rest = await api.again(run, assistant_id="steps", input=None)
    assert await rest.ended() == "success"
    assert (await rest.values())["log"] == list(range(1, 21))
    await nobody_works(stack)


async def test_a_running_run_is_rolled_back_without_a_trace(api: Any) -> None:
    first = await api.start("steps", {"steps": 2})
    assert await first.ended() == "success"
    before = await api.client.threads.get_history(first.thread_id, limit=100)
    second = await api.start("steps", {"steps": 20}, thread_id=first.thread_id, gate_at=5)
    await second.journal.has("5")
    await api.client.runs.cancel(second.thread_id, second.run_id, wait=True, action="rollback")
    await eventually(lambda: is_gone(second), within_s=CANCELLED_S_MAX)
    thread = await first.thread()
    assert thread["status"] == "idle" and thread["values"]["count"] == 2
    after = await api.client.threads.get_history(first.thread_id, limit=100)
    assert [row["checkpoint_id"] for row in after] == [row["checkpoint_id"] for row in before]


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_a_waiting_run_never_starts(api: Any, action: str) -> None:
    first = await api.start("steps", gate_at=2)
    await first.journal.has("2")
    waiting = await api.start("sleeps", thread_id=first.thread_id)
    assert await waiting.status() == "pending"
    await api.client.runs.cancel(waiting.thread_id, waiting.run_id, wait=True, action=action)
    if action == "interrupt":
        assert await waiting.status() == "interrupted"
    else:
        assert await is_gone(waiting)
    assert (await first.thread())["status"] == "busy"
    first.gate.touch()
    assert await first.ended() == "success"
    assert (await first.thread())["status"] == "idle"
    assert waiting.journal.lines() == []


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_a_sleeping_graph_sees_its_cancellation(api: Any, stack: Stack, action: str) -> None:
    run = await api.start("sleeps")
    await run.journal.has("sleeps")
    await api.client.runs.cancel(run.thread_id, run.run_id, action=action)
    await eventually(lambda: "cancelled" in run.journal.firsts(), within_s=CANCELLED_S_MAX)
    if action == "interrupt":
        assert await run.ended() == "interrupted"
    else:
        await eventually(lambda: is_gone(run), within_s=CANCELLED_S_MAX)
    await nobody_works(stack)


async def test_a_stubborn_graph_is_left_behind_and_can_change_nothing_any_more(
    api: Any, stack: Stack
) -> None:
    run = await api.start("stubborn", {"seconds": 3})
    await run.journal.has("stubborn")
    await api.client.runs.cancel(run.thread_id, run.run_id)
    assert await run.ended(5) == "interrupted"
    assert "ignored" in run.journal.firsts()
    # Its thread is free at once; while the next run works there, the graph comes to its end.
    more = await api.start(
        "steps", {"steps": 10, "pause_s": 0.3}, thread_id=run.thread_id, durability="sync"
    )
    assert await more.ended() == "success"
    history = await api.client.threads.get_history(run.thread_id, limit=50)
    written = {row["metadata"]["run_id"] for row in history[:11]}
    assert written == {more.run_id}
    assert "value" not in history[0]["values"], "what it said at last was not heard"
    await nobody_works(stack)


@pytest.mark.parametrize("what", ["run", "thread"])
async def test_deleting_stops_the_work(api: Any, stack: Stack, what: str) -> None:
    run = await api.start("sleeps")
    await run.journal.has("sleeps")
    if what == "run":
        await api.client.runs.delete(run.thread_id, run.run_id)
    else:
        await api.client.threads.delete(run.thread_id)
    await eventually(lambda: "cancelled" in run.journal.firsts(), within_s=CANCELLED_S_MAX)
    await eventually(lambda: is_gone(run), within_s=CANCELLED_S_MAX)
    await nobody_works(stack)
    if what == "run":
        assert (await run.thread())["status"] == "idle"
    left = await api.fetchrow(
        "SELECT count(*) AS n FROM checkpoints WHERE thread_id = $1", run.thread_id
    )
    assert left["n"] == 0


async def test_a_run_at_an_interrupt_holds_no_slot(api: Any, stack: Stack) -> None:
    for n in range(3):
        run = await api.start("approval", {"question": f"{n}?"})
        assert await run.ended() == "success"
        assert (await run.thread())["status"] == "interrupted"
    await nobody_works(stack)


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_everything_goes_on_after_everything_was_restarted(
    make_api: Callable[..., Any], tmp_path: Path, how: str
) -> None:
    """Services and servers: the data directory is all that is left."""
    project = Path(__file__).parents[2] / "graphs" / "langgraph.json"
    before = Stack(tmp_path / "data", project=project)
    await asyncio.to_thread(before.start)
    async with get_client(url=before.url, api_key=None) as client:
        api = make_api(before, client, tmp_path)
        asks = await api.start("approval", {"question": "Pay?"})
        assert await asks.ended() == "success"
        runs = await api.start("steps", gate_at=5)
        await runs.journal.has("5")
        waits = await api.start("steps", {"steps": 3}, thread_id=runs.thread_id)
    if how == "killed":
        for service in before.services():
            await asyncio.to_thread(before.kill, service)
        for server in ("postgres", "nats", "valkey"):
            await asyncio.to_thread(before.servers.kill, server)
    runs.gate.touch()
    await asyncio.to_thread(before.stop)

    async with Stack(tmp_path / "data", project=project) as after:
        async with get_client(url=after.url, api_key=None) as client:
            runs.api = waits.api = asks.api = make_api(after, client, tmp_path)
            assert (await asks.thread())["interrupts"]
            answer = await client.runs.wait(asks.thread_id, "approval", command={"resume": "yes"})
            assert answer == {"question": "Pay?", "answer": "yes"}
            assert await runs.ended() == "success"
            assert await waits.ended() == "success"
            steps = [step for step in runs.journal.firsts() if step != "5"]
            assert steps == [str(n) for n in range(1, 21) if n != 5]
