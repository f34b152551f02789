"""What a database and a broker need before a service may start: tables and streams."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from bedplate import sql
from bedplate.backbone import StreamSettings
from bedplate.bus import topology
from bedplate.chassis.errors import SettingsError
from bedplate.devstack.errors import ServerUnreachable
from bedplate.devstack.given import place
from bedplate.kernel.errors import Refused
from bedplate_proto.subjects import DEFAULT_PREFIX

# Each component owns its tables and the folder `migrations` of its package; in this order.
COMPONENTS = (
    ("ledger", "bedplate.ledger"),
    ("graphs", "bedplate.graphs"),
    ("gateway", "bedplate_gateway"),
)
_CONNECT_S = 10
# A migration may have to rewrite a large table.
_MIGRATE_S = 3600


async def migrate(database_uri: str) -> list[sql.Migration]:
    """Apply and return what is missing. Raises `Conflict`, `ServerUnreachable`."""
    async with _connection(database_uri, limit_s=_MIGRATE_S) as connection:
        return await sql.migrate(connection, _migrations())


async def pending(database_uri: str) -> list[sql.Migration]:
    """The migrations that are missing. Raises `ServerUnreachable`."""
    async with _connection(database_uri, limit_s=_CONNECT_S) as connection:
        return await sql.pending(connection, _migrations())


async def declare(nats_url: str, env: Mapping[str, str]) -> None:
    """Bring streams and consumers to what is written in `proto`; messages stay. Idempotent.

    `env` may name the installation by `BEDPLATE_SUBJECT_PREFIX`, as it does for the services, and
    hold `StreamSettings`. Raises `Refused`, `Unavailable`.
    """
    try:
        settings = StreamSettings.from_env(env)
    except SettingsError as error:
        raise Refused(str(error)) from error
    await topology.declare(
        nats_url,
        prefix=env.get("BEDPLATE_SUBJECT_PREFIX") or DEFAULT_PREFIX,
        replicas=settings.stream_replicas,
        events_s=settings.events_s,
    )


def _migrations() -> list[sql.Migration]:
    return [
        migration
        for component, package in COMPONENTS
        for migration in sql.migrations_of(component, package)
    ]


@asynccontextmanager
async def _connection(database_uri: str, *, limit_s: float) -> AsyncGenerator[Any]:
    try:
        connection = await asyncpg.connect(
            database_uri, timeout=_CONNECT_S, command_timeout=limit_s
        )
    except (OSError, ValueError, TimeoutError, asyncpg.PostgresError) as error:
        raise ServerUnreachable(
            f"no PostgreSQL answers at {place(database_uri)}: {error or type(error).__name__}"
        ) from error
    try:
        yield connection
    finally:
        await connection.close(timeout=_CONNECT_S)
