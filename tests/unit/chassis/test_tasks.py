"""What was started is waited for, and what must be written is written although we are cancelled."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from bedplate.chassis.tasks import Tasks, uncancelled
from bedplate.testing.eventually import eventually


async def for_ever() -> None:
    await asyncio.Event().wait()


async def fails() -> None:
    raise OSError("lost")


class Writing:
    """Work that ends when told to, and knows whether it ended."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.go_on = asyncio.Event()
        self.is_written = False

    async def work(self) -> str:
        self.began.set()
        await self.go_on.wait()
        self.is_written = True
        return "written"


async def test_uncancelled_returns_what_the_work_returns() -> None:
    writing = Writing()
    writing.go_on.set()
    assert await uncancelled(writing.work(), limit_s=5) == "written"


async def test_uncancelled_finishes_although_cancelled_three_times_and_then_honours_it() -> None:
    writing = Writing()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(uncancelled(writing.work(), limit_s=5))
        await writing.began.wait()
        for _ in range(3):
            task.cancel()
            await asyncio.wait([task], timeout=0.005)
            assert not task.done()
        writing.go_on.set()
        await asyncio.wait([task], timeout=5)
    assert task.cancelled()
    assert writing.is_written


async def test_uncancelled_keeps_its_limit() -> None:
    with pytest.raises(TimeoutError):
        await uncancelled(for_ever(), limit_s=0.02)


async def test_uncancelled_keeps_its_limit_also_when_cancelled() -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(uncancelled(for_ever(), limit_s=0.05))
        await asyncio.wait([task], timeout=0.005)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=5)
    assert done
    assert task.cancelled()


async def test_uncancelled_raises_the_failure_and_logs_it_when_cancelled() -> None:
    with pytest.raises(OSError, match="lost"):
        await uncancelled(fails(), limit_s=5)

    async def fails_late() -> None:
        await go_on.wait()
        raise OSError("lost late")

    go_on = asyncio.Event()
    with capture_logs() as records:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(uncancelled(fails_late(), limit_s=5))
            await asyncio.wait([task], timeout=0.005)
            task.cancel()
            go_on.set()
    assert [record["event"] for record in records] == ["finish.failed"]


async def test_a_task_that_fails_is_logged_and_harms_nobody() -> None:
    tasks = Tasks("attempts")
    with capture_logs() as records:
        tasks.start(fails(), "r1")
        tasks.start(for_ever(), "r2")
        await eventually(lambda: tasks.count, equals=1, within_s=2)
    assert [(record["event"], record["task"]) for record in records] == [
        ("task.failed", "attempts:r1")
    ]
    assert await tasks.drain(0) == 1


async def test_drain_waits_for_what_ends_and_cancels_what_does_not() -> None:
    tasks, writing = Tasks("attempts"), Writing()
    tasks.start(writing.work(), "r1")
    tasks.start(for_ever(), "r2")
    await writing.began.wait()
    writing.go_on.set()
    assert await tasks.drain(0.05) == 1
    assert writing.is_written
    assert tasks.count == 0


async def test_once_drained_nothing_can_be_started() -> None:
    tasks = Tasks("attempts")
    assert await tasks.drain(0) == 0
    with pytest.raises(RuntimeError, match="r9 cannot be started"):
        tasks.start(for_ever(), "r9")


async def test_a_task_that_ignores_its_cancellation_is_told_and_left() -> None:
    go_on = asyncio.Event()

    async def stubborn() -> None:
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue

    tasks = Tasks("attempts", cancel_s=0.02)
    task = tasks.start(stubborn(), "r1")
    await asyncio.wait([task], timeout=0.005)
    with capture_logs() as records:
        assert await tasks.drain(0) == 1
    assert [(record["event"], record["tasks"]) for record in records] == [
        ("task.stuck", ["attempts:r1"])
    ]
    go_on.set()
    await asyncio.wait([task])


async def test_nothing_outlives_an_owner_that_is_cancelled_while_draining() -> None:
    tasks = Tasks("attempts")
    left = tasks.start(for_ever(), "r1")
    async with asyncio.TaskGroup() as group:
        draining = group.create_task(tasks.drain(60))
        await asyncio.wait([draining], timeout=0.005)
        draining.cancel()
    await asyncio.wait([left], timeout=2)
    assert left.cancelled()


async def test_leaving_the_block_drains() -> None:
    writing = Writing()
    async with Tasks("attempts", drain_s=5) as tasks:
        tasks.start(writing.work(), "r1")
        writing.go_on.set()
    assert writing.is_written
