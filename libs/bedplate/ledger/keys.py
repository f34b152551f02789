"""Keys of the installation, made by a migration: what one service signs, another can check."""

from __future__ import annotations

from typing import Any

from bedplate.sql import Statements

_sql = Statements("bedplate.ledger")


async def run_credential_key(pool: Any) -> bytes:
    """The key of `kernel.run_credential`."""
    return await pool.fetchval(_sql["get_key"], "run_credential")
