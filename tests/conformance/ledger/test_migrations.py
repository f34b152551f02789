"""Migrations go forward, once, and refuse to have been edited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from bedplate.kernel.errors import Conflict
from bedplate.sql import Migration, Statements, migrate, migrations_of, pending

ONE = Migration("tested", 1, "one", "CREATE TABLE one (n int)")
TWO = Migration("tested", 2, "two", "CREATE TABLE two (n int)")


@pytest.fixture
async def connections(database_uri: str) -> AsyncIterator[list[Any]]:
    """Two connections to an empty database."""
    name = f"empty_{uuid4().hex}"
    server = await asyncpg.connect(database_uri, timeout=10)
    await server.execute(f"CREATE DATABASE {name}")
    uri = database_uri.rsplit("/", 1)[0] + f"/{name}"
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.close)
        opened = [await asyncpg.connect(uri, timeout=10) for _ in range(2)]
        for connection in opened:
            stack.push_async_callback(connection.close)
        yield opened


async def test_what_is_missing_is_applied_once(connections: list[Any]) -> None:
    connection, _ = connections
    assert await pending(connection, [ONE, TWO]) == [ONE, TWO]
    assert await migrate(connection, [ONE]) == [ONE]
    assert await pending(connection, [ONE, TWO]) == [TWO]
    assert await migrate(connection, [ONE, TWO]) == [TWO]
    assert await migrate(connection, [ONE, TWO]) == []
    assert await pending(connection, [ONE, TWO]) == []


async def test_two_at_once_apply_each_once(connections: list[Any]) -> None:
    # The table of migrations itself is made by both.
    applied = await asyncio.gather(*[migrate(each, [ONE, TWO]) for each in connections])
    assert sorted(map(len, applied)) == [0, 2]


async def test_an_edited_migration_is_refused_by_name(connections: list[Any]) -> None:
    connection, _ = connections
    await migrate(connection, [ONE])
    with pytest.raises(Conflict, match="tested/0001_one"):
        await migrate(connection, [replace(ONE, text="CREATE TABLE other (n int)"), TWO])
    assert await pending(connection, [TWO]) == [TWO]


async def test_a_migration_that_fails_leaves_nothing(connections: list[Any]) -> None:
    connection, _ = connections
    with pytest.raises(asyncpg.PostgresSyntaxError):
        await migrate(connection, [ONE, replace(TWO, text="CREATE NONSENSE")])
    assert await pending(connection, [ONE]) == [ONE]
    assert await connection.fetchval("SELECT to_regclass('one') IS NULL")


async def test_every_statement_of_the_ledger_is_one_that_postgresql_understands(
    connections: list[Any],
) -> None:
    connection, _ = connections
    for component in ("ledger", "graphs"):
        await migrate(connection, migrations_of(component, f"bedplate.{component}"))
    statements = Statements("bedplate.ledger")
    assert statements.names()
    for name in statements.names():
        await connection.prepare(statements[name])
        assert statements[name].startswith(f"-- {name}: "), name


async def test_long_values_are_compressed_by_the_faster_method_where_the_server_has_it(
    connections: list[Any],
) -> None:
    connection, _ = connections
    await migrate(
        connection,
        [
            *migrations_of("ledger", "bedplate.ledger"),
            *migrations_of("graphs", "bedplate.graphs"),
        ],
    )
    known = await connection.fetchval(
        "SELECT enumvals FROM pg_settings WHERE name = 'default_toast_compression'"
    )
    chosen = await connection.fetch(
        "SELECT attrelid::regclass::text || '.' || attname AS column FROM pg_attribute"
        " WHERE attcompression = 'l' AND attnum > 0"
    )
    expected = {"threads.values", "runs.kwargs", "checkpoint_blobs.blob"}
    expected |= {"checkpoint_writes.blob", "store.value"}
    assert {row["column"] for row in chosen} == (expected if "lz4" in known else set())
