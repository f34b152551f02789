"""A pool of connections with the limits every service needs."""

from __future__ import annotations

from typing import Any

import asyncpg

# A statement slower than this is a fault, not patience: leases are 6 s.
STATEMENT_S_MAX = 10.0


# What a server says that is not there yet, or is just starting.
NOT_THERE_YET: tuple[type[Exception], ...] = (
    OSError,
    TimeoutError,
    asyncpg.CannotConnectNowError,
    asyncpg.PostgresConnectionError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,
)


def make_pool(uri: str, *, size_max: int, application: str, size_min: int = 1) -> Any:
    """An asyncpg pool, not connected yet: enter it, or await it.

    UTC, because rows are shown as JSON text made by the server. `jit` is off: our statements are
    short, and planning one with jit costs more than running it. A connection that comes back is
    rolled back if need be and otherwise kept as it is: nothing of ours may change its session.
    """
    return asyncpg.create_pool(
        uri,
        min_size=size_min,
        max_size=size_max,
        command_timeout=STATEMENT_S_MAX,
        timeout=STATEMENT_S_MAX,
        max_inactive_connection_lifetime=300.0,
        reset=_keep_session,
        server_settings={
            "application_name": application,
            "timezone": "UTC",
            "jit": "off",
            "idle_in_transaction_session_timeout": "30000",
        },
    )


async def _keep_session(_connection: Any) -> None:
    """In place of asyncpg's own reset, a second statement for each of ours: it gives back session
    locks, listeners, cursors and settings, of which we have none."""
