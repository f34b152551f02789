"""The metadata that filters judge: of one object, by its id."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic_core import from_json

from ..rows import Rows

STATEMENTS = {
    "thread": "find_thread_metadata",
    "assistant": "find_assistant_metadata",
    "cron": "find_cron_metadata",
    "delivery": "find_delivery_metadata",
}


class Objects:
    def __init__(self, rows: Rows, *, tenant: str) -> None:
        self._rows = rows
        self._tenant = tenant

    async def metadata(self, kind: str, known_by: UUID) -> dict[str, Any] | None:
        """None: there is no such object. What is encrypted in it stays so: no filter looks at that,
        and what nobody can decrypt any more can still be deleted."""
        found = await self._rows.sealed_value(STATEMENTS[kind], self._tenant, known_by)
        return None if found is None else from_json(found)

    async def thread_of(self, run_id: UUID) -> UUID | None:
        """None: there is no such run."""
        return await self._rows.value("find_run_thread", self._tenant, run_id)
