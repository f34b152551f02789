"""What tests of encryption ask with, and how they look for what must stand readable nowhere."""

from __future__ import annotations

import base64
import json
from typing import Any

import asyncpg

from bedplate.devstack.stack import Stack


def headers_of(name: str, **context: Any) -> dict[str, str]:
    headers = {"authorization": f"Bearer {name}"}
    if context:
        told = base64.b64encode(json.dumps(context).encode()).decode()
        headers["x-encryption-context"] = told
    return headers


async def places_of(stack: Stack, needle: str) -> list[str]:
    """Tables and columns of the whole database that hold the needle, as text or as bytes."""
    connection = await asyncpg.connect(stack.endpoints.database_uri, timeout=10)
    try:
        columns = await connection.fetch(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND data_type IN ('text', 'json', 'jsonb', 'bytea',"
            " 'character varying', 'ARRAY')"
        )
        found: list[str] = []
        for table, column in columns:
            text = f"position('{needle}' IN \"{column}\"::text) > 0"
            raw = f"position('{needle.encode().hex()}' IN \"{column}\"::text) > 0"
            if await connection.fetchval(
                f'SELECT EXISTS (SELECT FROM "{table}" WHERE {text} OR {raw})'
            ):
                found.append(f"{table}.{column}")
        return found
    finally:
        await connection.close()


async def value_of(stack: Stack, statement: str, *given: Any) -> Any:
    connection = await asyncpg.connect(stack.endpoints.database_uri, timeout=10)
    try:
        return await connection.fetchval(statement, *given)
    finally:
        await connection.close()
