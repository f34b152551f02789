"""What readers of a thread's events must know of each run, kept because it never changes."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from uuid import UUID

from ..rows import Rows

_KEPT_MAX = 10_000


@dataclass(frozen=True, slots=True)
class RunFacts:
    """`speaks_protocol`: its events hold `v2` lines, the others are for older readers."""

    graph_id: str | None
    speaks_protocol: bool
    is_resumable: bool


# A run whose row is gone was removed: only what it told itself is left.
_GONE = RunFacts(None, speaks_protocol=True, is_resumable=False)


class KnownRuns:
    def __init__(self, rows: Rows, *, tenant: str) -> None:
        self._rows = rows
        self._tenant = tenant
        self._kept: OrderedDict[str, RunFacts] = OrderedDict()

    async def facts(self, run_id: str) -> RunFacts:
        """Raises `Unavailable`."""
        if (known := self._kept.get(run_id)) is not None:
            self._kept.move_to_end(run_id)
            return known
        row = await self._rows.one("find_run_facts", self._tenant, UUID(run_id))
        if row is None:
            return _GONE
        found = RunFacts(row["graph_id"], row["is_protocol"], row["is_resumable"])
        self._kept[run_id] = found
        if len(self._kept) > _KEPT_MAX:
            self._kept.popitem(last=False)
        return found
