"""Tickets for the runs that are ready, and what is to be seen in /metrics of all that wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bedplate.chassis.metrics import Metrics
from bedplate.ledger import Dispatch, Queue

# Fairness groups are named by users' code: only the longest queues get a label of their own.
_GROUPS_MAX = 50


class Sharing:
    """Ticks of two loops. Whoever leaves a run ready, or claims or ends one while
    others are ready, pokes the first one."""

    def __init__(self, dispatch: Dispatch, metrics: Metrics) -> None:
        self._dispatch = dispatch
        self.poke: Callable[[], None] = lambda: None
        """Set to the poke of the loop that shares out."""
        self._shared = metrics.counter("tickets.shared", "Tickets given to runs that waited.")
        self._runs = metrics.gauge(
            "ready.runs", "Runs that wait for an executor.", labels=("tenant", "group")
        )
        self._oldest = metrics.gauge(
            "ready.oldest_seconds",
            "For how long the first of them has waited.",
            labels=("tenant", "group"),
        )
        self._shown: set[tuple[str, str]] = set()

    async def share_out(self) -> dict[str, Any] | None:
        tickets = await self._dispatch.share_out()
        self._shared.inc(tickets)
        return {"tickets": tickets} if tickets else None

    async def measure(self) -> None:
        queues = await self._dispatch.queues(limit=_GROUPS_MAX)
        now = {(queue.tenant, queue.group): queue for queue in queues}
        for place in self._shown - set(now):
            self._show(Queue(*place, runs=0, oldest_s=0.0))
        for queue in queues:
            self._show(queue)
        self._shown = set(now)

    def _show(self, queue: Queue) -> None:
        self._runs.labels(queue.tenant, queue.group).set(queue.runs)
        self._oldest.labels(queue.tenant, queue.group).set(queue.oldest_s)
