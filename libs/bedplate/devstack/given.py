"""Servers given by URL: reached, and new enough, before anything is built on them."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import asyncpg

from bedplate.devstack.errors import ServerTooOld, ServerUnreachable
from bedplate.devstack.nats import read_info, refuse_too_old
from bedplate.devstack.programs import POSTGRES_OLDEST
from bedplate.devstack.valkey import is_answering

_LIMIT_S = 10


def check_postgres(uri: str) -> str:
    """Its version. Raises `ServerUnreachable`, `ServerTooOld`. Not from inside an event loop."""
    version = asyncio.run(_postgres_version(uri))
    if int(version.partition(".")[0]) < POSTGRES_OLDEST:
        raise ServerTooOld(
            f"PostgreSQL {version} at {place(uri)} is too old:"
            f" {POSTGRES_OLDEST} or newer is needed",
            version=version,
        )
    return version


def check_nats(uri: str) -> str:
    """The version of the first server of the list. Raises `ServerUnreachable`, `ServerTooOld`."""
    first = uri.split(",")[0].strip()
    address = urlsplit(first if "://" in first else f"nats://{first}")
    try:
        greeting = read_info(
            address.hostname or "localhost", address.port or 4222, limit_s=_LIMIT_S
        )
    except (OSError, ValueError) as error:
        raise ServerUnreachable(
            f"NATS_URL: no NATS server answers at {place(uri)}: {error}"
        ) from error
    version = str(greeting.get("version", "0"))
    refuse_too_old(version, place(uri))
    if not greeting.get("jetstream"):
        raise ServerUnreachable(
            f"NATS_URL: the server at {place(uri)} has no JetStream: start it with -js"
        )
    return version


def check_redis(uri: str) -> None:
    """Raises `ServerUnreachable`."""
    address = urlsplit(uri)
    try:
        if is_answering(address.hostname or "localhost", address.port or 6379, limit_s=_LIMIT_S):
            return
    except OSError as error:
        raise ServerUnreachable(f"REDIS_URI: no server answers at {place(uri)}: {error}") from error
    raise ServerUnreachable(f"REDIS_URI: what answers at {place(uri)} is no Redis or Valkey")


async def _postgres_version(uri: str) -> str:
    try:
        connection = await asyncpg.connect(uri, timeout=_LIMIT_S, command_timeout=_LIMIT_S)
    except (
        OSError,
        ValueError,
        TimeoutError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
    ) as error:
        raise ServerUnreachable(
            f"DATABASE_URI: no PostgreSQL answers at {place(uri)}: {error or type(error).__name__}"
        ) from error
    try:
        # Said by the server in its greeting; a distribution may add a word: "15.9 (Debian …)".
        return str(connection.get_settings().server_version).split()[0]
    finally:
        await connection.close(timeout=_LIMIT_S)


def place(uri: str) -> str:
    """Host, port and database of a URL, without its password."""
    return uri.split(",")[0].rpartition("://")[2].rpartition("@")[2].partition("?")[0] or "(no URL)"
