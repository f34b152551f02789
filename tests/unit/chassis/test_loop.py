"""A loop ticks when due or poked, survives failures, and never spins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from bedplate.chassis.clock import ManualClock
from bedplate.chassis.loop import Loop
from bedplate.testing.eventually import eventually

HOUR_S = 3600.0


class Ticks:
    """A tick that counts, and fails while `failure` is set."""

    def __init__(self) -> None:
        self.count = 0
        self.failure: Exception | None = None
        self.at: list[float] = []

    async def __call__(self) -> dict[str, Any] | None:
        self.count += 1
        self.at.append(asyncio.get_running_loop().time())
        if self.failure is not None:
            raise self.failure
        return {"swept": self.count}


@asynccontextmanager
async def running(tick: Callable[[], Awaitable[Any]], **given: Any) -> AsyncIterator[Loop]:
    loop = Loop("sweeper", tick, rng=Random(1), **{"period_s": HOUR_S, **given})
    async with asyncio.TaskGroup() as group:
        task = group.create_task(loop.run())
        yield loop
        loop.stop()
        async with asyncio.timeout(5):
            await asyncio.wait([task])
        assert task.done()


async def test_it_ticks_at_once_and_shows_its_report() -> None:
    ticks, clock = Ticks(), ManualClock(datetime(2026, 5, 1, tzinfo=UTC))
    async with running(ticks, clock=clock) as loop:
        await eventually(lambda: loop.last_report, equals={"swept": 1}, within_s=2)
        assert loop.last_ok_at == datetime(2026, 5, 1, tzinfo=UTC)
        assert await loop.ready() is None


async def test_it_ticks_every_period() -> None:
    ticks = Ticks()
    async with running(ticks, period_s=0.02, jitter=0.5):
        await eventually(lambda: ticks.count >= 4, within_s=5)
    gaps = [after - before for before, after in zip(ticks.at, ticks.at[1:], strict=False)]
    assert min(gaps) >= 0.018


async def test_a_poke_wakes_it_and_many_pokes_make_one_tick() -> None:
    ticks = Ticks()
    async with running(ticks) as loop:
        await eventually(lambda: ticks.count, equals=1, within_s=2)
        for _ in range(100):
            loop.poke()
        await eventually(lambda: ticks.count, equals=2, within_s=2)
        with pytest.raises(AssertionError):
            await eventually(lambda: ticks.count > 2, within_s=0.1)


async def test_a_poke_during_a_tick_is_not_lost() -> None:
    count = 0
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def tick() -> None:
        nonlocal count
        count += 1
        entered.set()
        await go_on.wait()

    async with running(tick) as loop:
        await entered.wait()
        loop.poke()
        go_on.set()
        await eventually(lambda: count, equals=2, within_s=2)


async def test_a_tick_that_pokes_itself_leaves_room_for_others() -> None:
    count = 0

    async def tick() -> None:
        nonlocal count
        count += 1
        loop_.poke()

    async with running(tick, gap_s=0.01) as loop_:
        began = asyncio.get_running_loop().time()
        await eventually(lambda: count >= 5, within_s=5)
        passed_s = asyncio.get_running_loop().time() - began
        assert count <= passed_s / 0.01 + 2


async def test_a_failure_is_repeated_with_growing_delays_and_pokes_do_not_hurry_it() -> None:
    ticks = Ticks()
    ticks.failure = OSError("away")
    async with running(ticks, retry_s=0.02, retry_s_max=0.08, jitter=0.0) as loop:

        def poked() -> bool:
            loop.poke()
            return ticks.count >= 5

        await eventually(poked, within_s=5, every_s=0.001)
        assert loop.failing == "OSError: away"
        assert await loop.ready() == "OSError: away"
        gaps = [after - before for before, after in zip(ticks.at, ticks.at[1:], strict=False)]
        assert gaps[0] >= 0.019
        assert gaps[1] >= 0.039
        assert gaps[2] >= 0.079

        ticks.failure = None
        await eventually(lambda: loop.failing, equals=None, within_s=2)
        assert await loop.ready() is None


async def test_a_tick_that_hangs_is_a_failure() -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    async with running(hang, limit_s=0.02, retry_s=0.01) as loop:
        await eventually(lambda: loop.failing, equals="TimeoutError", within_s=2)


async def test_before_its_first_tick_it_is_not_ready() -> None:
    assert await Loop("sweeper", Ticks(), period_s=1).ready() == "has not completed its first tick"


async def test_stop_lets_the_tick_under_way_finish() -> None:
    entered, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def tick() -> None:
        entered.set()
        await go_on.wait()
        ended.set()

    async with running(tick) as loop:
        await entered.wait()
        loop.stop()
        go_on.set()
    assert ended.is_set()


@pytest.mark.parametrize("wrong", [{"period_s": 0}, {"jitter": 2}, {"gap_s": 0}, {"retry_s": 0}])
def test_a_loop_that_could_spin_cannot_be_made(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="sweeper"):
        Loop("sweeper", Ticks(), **{"period_s": 1.0, **wrong})
