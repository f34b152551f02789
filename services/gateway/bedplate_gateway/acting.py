"""Requests that come out of a run: a node, a tool or a middleware that uses `get_client()`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from bedplate.kernel.errors import Conflict
from bedplate.kernel.run_credential import HEADER, read
from bedplate.ledger.keys import run_credential_key

from .rows import Rows

_WAITS_FOR_ITSELF = (
    "A run cannot wait for a run of its own thread, which begins when it is over: use another"
    " thread, or do not wait for it."
)


@dataclass(frozen=True)
class ActingRun:
    """The run at work on whose behalf a request comes."""

    run_id: UUID
    thread_id: UUID
    user: str | None
    """Who it is for, as `Caller.carried` has it; None: nobody was asked who they are."""
    encryption_context: str | None = None
    """JSON text of what the project's encryption handlers are told for it."""


class ActingRuns:
    def __init__(self, rows: Rows, pool: Any, *, tenant: str) -> None:
        self._rows = rows
        self._pool = pool
        self._tenant = tenant
        self._key: bytes | None = None

    async def of(self, headers: Mapping[str, str]) -> ActingRun | None:
        """None without a credential, and with one whose attempt is over or never was."""
        if (shown := headers.get(HEADER)) is None:
            return None
        if self._key is None:
            self._key = await run_credential_key(self._pool)
        if (attempt := read(self._key, shown)) is None:
            return None
        row = await self._rows.one("find_acting_run", *attempt, self._tenant)
        return None if row is None else ActingRun(**dict(row))

    async def check_may_wait(self, headers: Mapping[str, str], thread_id: UUID) -> None:
        """Raises `Conflict` when a run of this thread would never come to its turn."""
        acting = await self.of(headers)
        if acting is not None and acting.thread_id == thread_id:
            raise Conflict(_WAITS_FOR_ITSELF, thread_id=str(thread_id))
