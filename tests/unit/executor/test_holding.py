"""A graph that is held open: whatever its factory does, whoever waits for it goes on."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any

import pytest

from bedplate.chassis.tasks import Tasks
from bedplate_executor.holding import Held

GRAPH: Any = object()
CANCEL_S = 0.01
SOON_S = 5.0


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    async with Tasks("graphs", drain_s=0.0, cancel_s=0.0) as running:
        yield running


@asynccontextmanager
async def opening(done: list[str], *, begins: Any = None, ends: Any = None) -> AsyncGenerator[Any]:
    if begins is not None:
        await begins()
    done.append("open")
    yield GRAPH
    if ends is not None:
        await ends()
    done.append("closed")


async def fails() -> None:
    raise ValueError("no")


async def leaves() -> None:
    sys.exit(3)


async def cancels_itself() -> None:
    raise asyncio.CancelledError


class Refuses:
    """Ignores its first cancellation."""

    def __init__(self) -> None:
        self.is_at_it = asyncio.Event()

    async def __call__(self) -> None:
        self.is_at_it.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()


async def test_what_is_opened_is_closed_once(tasks: Tasks) -> None:
    done: list[str] = []
    held = Held(opening(done), tasks)
    graph, _ = await held.opened()
    assert (graph, done, held.is_gone) == (GRAPH, ["open"], False)
    await held.closed()
    assert (done, held.is_gone) == (["open", "closed"], True)


async def test_a_graph_that_is_simply_there_needs_no_task(tasks: Tasks) -> None:
    held = Held(nullcontext(GRAPH), tasks)
    assert (await held.opened())[0] is GRAPH
    assert held.is_gone and tasks.count == 0
    await held.closed()


@pytest.mark.parametrize(
    ("how", "kind"), [(fails, ValueError), (leaves, RuntimeError), (cancels_itself, RuntimeError)]
)
async def test_a_factorys_failure_is_told_once(tasks: Tasks, how: Any, kind: Any) -> None:
    held = Held(opening([], begins=how), tasks)
    with pytest.raises(kind):
        await held.opened()
    await held.closed()
    held = Held(opening([], ends=how), tasks)
    await held.opened()
    with pytest.raises(kind):
        await held.closed()


async def test_what_does_not_heed_that_it_is_cut_off_is_waited_for_once(tasks: Tasks) -> None:
    refuses = Refuses()
    held = Held(opening([], begins=refuses), tasks)
    await refuses.is_at_it.wait()
    await held.cut_off(cancel_s=CANCEL_S)
    async with asyncio.timeout(SOON_S):
        await held.closed()
    assert not held.is_gone


async def test_what_opened_at_the_moment_at_which_it_was_cut_off_is_closed(tasks: Tasks) -> None:
    held = Held(opening([]), tasks)
    await held.opened()
    await held.cut_off(cancel_s=SOON_S)
    await held.closed()
    assert held.is_gone
