"""Assistants as they are when a cron is due. The gateway writes them; here they are only read."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from bedplate.ledger import AssistantNow
from bedplate.sql import Statements

_sql = Statements("bedplate_run_scheduler")


async def find_assistant(connection: Any, tenant: str, assistant_id: UUID) -> AssistantNow | None:
    """On the given connection, because a cron is fired in one transaction."""
    row = await connection.fetchrow(_sql["find_assistant"], tenant, assistant_id)
    if row is None:
        return None
    return AssistantNow(row["graph_id"], row["config"], row["context"], row["metadata"])
