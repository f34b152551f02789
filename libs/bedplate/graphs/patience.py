"""Waiting out a PostgreSQL that restarts, for a bounded time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, TypeVar

import asyncpg
import structlog

from bedplate.kernel.errors import Unavailable
from bedplate.kernel.retry import retry_delay_s

log = structlog.get_logger(__name__)

T = TypeVar("T")

# PostgreSQL restarts in a few seconds; a lease is renewable until somebody else has taken the run.
RETRY_S_MAX = 15.0
ACQUIRE_S_MAX = 10.0

_PASSING = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # "another operation is in progress": what a connection whose end was read at the wrong moment
    # says of itself (test_a_connection_that_is_dropped_is_not_noticed).
    asyncpg.InternalClientError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.ReadOnlySQLTransactionError,
)


def is_passing(error: BaseException) -> bool:
    """Whether the same statement may succeed a moment later.

    A client error (InterfaceError) is what a statement on a connection that just died gets, but
    also one with a value that cannot be sent: only the first of them passes.
    """
    if isinstance(error, asyncpg.InterfaceError):
        return "closed" in str(error) or "released" in str(error)
    return isinstance(error, _PASSING)


class Patience:
    """A pool whose work is done again, from its beginning, while PostgreSQL is away.

    What is handed to `run` must be harmless to do twice: a commit may have happened although its
    answer was lost.
    """

    def __init__(self, pool: Any, *, retry_s_max: float = RETRY_S_MAX) -> None:
        self._pool = pool
        self._retry_s_max = retry_s_max
        self._rng = Random()

    async def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """`work(connection)`. Raises `Unavailable` when PostgreSQL stays away for `retry_s_max`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._retry_s_max
        tried = 0
        while True:
            try:
                return await self._once(work)
            except _PASSING as error:
                if not is_passing(error):
                    raise
                tried += 1
                delay_s = retry_delay_s(tried, rng=self._rng, base_s=0.1, cap_s=1.0)
                if loop.time() + delay_s >= deadline:
                    raise Unavailable(
                        f"PostgreSQL did not answer within {self._retry_s_max:g} s"
                        f" ({type(error).__name__}: {error})"
                    ) from error
                log.warning("postgres.retried", tried=tried, why=type(error).__name__)
                await asyncio.sleep(delay_s)

    async def _once(self, work: Callable[[Any], Awaitable[T]]) -> T:
        connection = await self._pool.acquire(timeout=ACQUIRE_S_MAX)
        try:
            return await work(connection)
        except _PASSING as error:
            if is_passing(error):
                # Never into the pool again, whatever it thinks of its state. One that is closed has
                # left it by itself, and then there is nothing to end.
                with contextlib.suppress(asyncpg.InterfaceError):
                    connection.terminate()
            raise
        finally:
            # The work is decided; a connection that breaks while it is tidied up changes nothing.
            with contextlib.suppress(*_PASSING):
                await self._pool.release(connection)
