"""PostgreSQL is the truth, NATS carries, Valkey remembers: what is lost with each of them.

Nothing that was acknowledged: every run ends, once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from langgraph_sdk.errors import APIStatusError

from bedplate.devstack.stack import Stack
from bedplate.testing.eventually import eventually

STEPS = list(range(1, 21))
# What the executor holds a lease for, by default.
LEASE_S = 6.0


async def end_once(run: Any) -> None:
    """It comes to its end, its result is whole, and nobody told two ends."""
    assert await run.ended() == "success"
    assert (await run.values())["log"] == STEPS
    events = await run.events()
    assert [event.name for event in events].count("end") <= 1
    numbers = [event.n for event in events]
    assert numbers == sorted(set(numbers)), "numbers never go backwards"
    facts = await run.api.fetchrow(
        "SELECT count(*) AS n FROM runs WHERE thread_id = $1::uuid AND status = 'success'",
        run.thread_id,
    )
    assert facts["n"] == 1


async def working(api: Any, n: int = 4) -> list[Any]:
    """Runs in the middle of their work, one of them with another run waiting behind it."""
    runs = [await api.start("steps", gate_at=5) for _ in range(n)]
    for run in runs:
        await run.journal.has("5")
    return runs


async def created(api: Any, **given: Any) -> Any:
    """A run that was acknowledged: while something is away, the answer may be "try again"."""

    async def order() -> Any:
        try:
            return await api.start("steps", **given)
        except APIStatusError as error:
            assert error.status_code == 503, error
            return None

    return await eventually(order, within_s=30)


@pytest.mark.parametrize("hard", [False, True], ids=["restarted", "killed"])
async def test_nats_comes_back_and_every_run_ends(
    api: Any, stack: Stack, served: Callable[[], None], hard: bool
) -> None:
    runs = await working(api)
    restart = asyncio.create_task(asyncio.to_thread(stack.servers.restart, "nats", hard=hard))
    for run in runs:
        run.gate.touch()
    later = await created(api)
    await restart
    for run in [*runs, later]:
        await end_once(run)
    for run in runs:
        assert (await run.row()) == {"status": "success", "attempt": 1, "failures": 0}
    await eventually(lambda: is_served(served), within_s=20)


async def test_nats_loses_its_disk_and_every_run_ends(
    api: Any, stack: Stack, served: Callable[[], None]
) -> None:
    runs = await working(api, 8)
    # Two more than there are slots: they wait, and their tickets are in NATS alone.
    waiting = [await api.start("steps") for _ in range(4)]
    behind = await api.start("steps", thread_id=runs[0].thread_id)
    await asyncio.to_thread(stack.servers.wipe_nats)
    for run in runs:
        run.gate.touch()
    for run in [*runs[1:], *waiting]:
        await end_once(run)
    assert await runs[0].ended() == await behind.ended() == "success"
    assert (await behind.values())["log"] == [*STEPS, 21], "it went on from the first one's end"
    await end_once(await created(api))
    await eventually(lambda: is_served(served), within_s=20)


async def test_postgres_is_restarted_at_once_and_every_run_ends(
    api: Any, stack: Stack, served: Callable[[], None]
) -> None:
    runs = await working(api)
    restart = asyncio.create_task(asyncio.to_thread(stack.servers.restart, "postgres", hard=True))
    for run in runs:
        run.gate.touch()
    later = await created(api)
    await restart
    for run in [*runs, later]:
        await end_once(run)
    for run in runs:
        row = await run.row()
        assert row["failures"] == 0, "a short outage costs no attempt"
    await eventually(lambda: is_served(served), within_s=20)


async def test_postgres_away_for_longer_than_a_lease_costs_no_run(
    api: Any, stack: Stack, served: Callable[[], None]
) -> None:
    runs = await working(api)
    stack.servers.pause("postgres")
    paused_at = time.monotonic()
    log = stack.logs("executor")
    try:
        # The executor stops what it cannot know to be its own any more.
        await eventually(lambda: "leases.lapsed" in log.read_text(), within_s=30)
        await eventually(lambda: time.monotonic() - paused_at > LEASE_S, within_s=30)
    finally:
        stack.servers.resume("postgres")
    for run in runs:
        run.gate.touch()
    for run in runs:
        await end_once(run)
    await eventually(lambda: is_served(served), within_s=20)


async def test_a_scheduler_that_dies_between_creating_and_dispatching_loses_nothing(
    api: Any, stack: Stack
) -> None:
    """While NATS refuses the ticket, the run is acknowledged; then the scheduler dies with it."""
    runs = await working(api, 1)
    behind = await api.start("steps", {"steps": 3}, thread_id=runs[0].thread_id)
    delayed = await api.start("steps", after_seconds=2)
    await asyncio.to_thread(stack.kill, "run-scheduler")
    runs[0].gate.touch()
    assert await runs[0].ended() == "success"
    assert await behind.status() == "pending", "nobody is there to dispatch it"
    await asyncio.to_thread(stack.start_service, "run-scheduler")
    assert await behind.ended() == "success"
    await end_once(delayed)


async def test_schedulers_killed_under_load_lose_no_acknowledged_run(
    api: Any, stack: Stack
) -> None:
    acknowledged: list[Any] = []

    async def order() -> None:
        for _ in range(10):
            run = await created(api)
            acknowledged.append(run)

    ordering = [asyncio.create_task(order()) for _ in range(4)]
    await eventually(lambda: len(acknowledged) >= 5, within_s=20)
    await asyncio.to_thread(stack.kill, "run-scheduler")
    await asyncio.to_thread(stack.start_service, "run-scheduler")
    await asyncio.gather(*ordering)
    assert len(acknowledged) == 40
    for run in acknowledged:
        await end_once(run)


async def test_nothing_happens_without_valkey(
    api: Any, stack: Stack, served: Callable[[], None]
) -> None:
    await asyncio.to_thread(stack.servers.kill, "valkey")
    try:
        run = await api.start("steps")
        await end_once(run)
        served()
    finally:
        await asyncio.to_thread(stack.servers.start_one, "valkey")


def is_served(served: Callable[[], None]) -> bool:
    served()
    return True
