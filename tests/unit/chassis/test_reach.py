from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from bedplate.chassis.errors import Unreachable
from bedplate.chassis.reach import Reaching


class Depot:
    """Refuses the first `refusals` connections, then hands out its number."""

    def __init__(self, refusals: int, failure: Exception) -> None:
        self.refusals = refusals
        self.failure = failure
        self.asked = 0
        self.is_open = False

    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[int]:
        self.asked += 1
        if self.asked <= self.refusals:
            raise self.failure
        self.is_open = True
        yield self.asked
        self.is_open = False


async def test_it_is_entered_again_until_the_server_answers() -> None:
    server = Depot(2, ConnectionRefusedError("no"))
    async with Reaching("depot", server.connect, limit_s=5, retry_s=0.001) as number:
        assert number == 3
        assert server.is_open
    assert not server.is_open


async def test_after_the_limit_it_is_unreachable_and_says_why() -> None:
    server = Depot(10**6, ConnectionRefusedError("nobody listens"))
    with pytest.raises(Unreachable, match=r"depot cannot be reached.*nobody listens"):
        async with Reaching("depot", server.connect, limit_s=0.05, retry_s=0.001):
            pass


async def test_a_connection_that_hangs_is_bounded_too() -> None:
    @asynccontextmanager
    async def hang() -> AsyncGenerator[None]:
        await asyncio.Event().wait()
        yield

    with pytest.raises(Unreachable, match="TimeoutError"):
        async with Reaching("depot", hang, limit_s=0.05):
            pass


async def test_an_error_that_waiting_does_not_mend_is_raised_at_once() -> None:
    server = Depot(10**6, PermissionError("wrong password"))
    with pytest.raises(PermissionError):
        async with Reaching("depot", server.connect, limit_s=5, on=(ConnectionError,)):
            pass
    assert server.asked == 1
