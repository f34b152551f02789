"""What a crash left undone: messages not flushed, runs due but not dispatched, tickets and streams
the broker lost."""

from __future__ import annotations

from typing import Any

import structlog

from bedplate.backbone import Backbone, StreamSettings
from bedplate.bus import topology
from bedplate.bus.tickets import oldest_ticket_s
from bedplate.kernel.errors import Unavailable
from bedplate.ledger import Dispatch

from .sharing import Sharing

log = structlog.get_logger()

_BATCH = 200
# A writer flushes within milliseconds; a second later it is dead or the broker was away.
UNSENT_S = 1.0
_PARCEL_S = 600.0


class Relay:
    """Ticks of the scheduler's loops. Each does the same whether it is woken by time or by a
    poke."""

    def __init__(
        self,
        backbone: Backbone,
        dispatch: Dispatch,
        sharing: Sharing,
        *,
        lost_ticket_s: float,
        doomed_s: float,
        streams: StreamSettings | None = None,
    ) -> None:
        """`streams` says how lost streams are declared again; the defaults if it is left out."""
        self._streams = streams or StreamSettings.from_env({})
        self._dispatch = dispatch
        self._sharing = sharing
        self._threads = backbone.threads
        self._outbox = backbone.outbox
        self._parcels = backbone.parcels
        self._bus = backbone.bus
        self._lost_ticket_s = lost_ticket_s
        self._doomed_s = doomed_s

    async def flush(self) -> dict[str, Any] | None:
        """Outbox rows whose writer did not publish them."""
        count = await self._outbox.relay(older_than_s=UNSENT_S, limit=_BATCH)
        return {"relayed": count} if count else None

    async def dispatch(self) -> dict[str, Any] | None:
        """Delayed runs that are due now, and freed threads nobody was told of."""
        thread_ids = await self._dispatch.find_undispatched(limit=_BATCH)
        found = [await self._dispatch.dispatch_next(thread_id) for thread_id in thread_ids]
        turns = [turn for turn in found if turn is not None]
        if any(turn.is_ready for turn in turns):
            self._sharing.poke()
        return {"dispatched": len(turns)} if turns else None

    async def reissue(self) -> dict[str, Any] | None:
        """Streams that are gone with the broker's data, then tickets that are in no queue.

        The queue is first in, first out: a ticket that was issued before the oldest one came in is
        not in it. So a full queue hides a lost ticket only until its turn has passed, and never
        gets doubles of what waits in it.
        """
        missing = await topology.missing_streams(self._bus)
        if missing:
            log.error("streams.lost", streams=missing)
            await topology.declare_on(
                self._bus, replicas=self._streams.stream_replicas, events_s=self._streams.events_s
            )
        # Beyond that, the time that a ticket may take from its row into the queue, or out of the
        # queue until its run is claimed.
        older_than_s = (await oldest_ticket_s(self._bus) or 0.0) + self._lost_ticket_s
        count = await self._dispatch.reissue_tickets(older_than_s=older_than_s, limit=_BATCH)
        if count:
            log.warning("tickets.reissued", count=count)
        done = {"declared": missing, "reissued": count}
        return {what: value for what, value in done.items() if value} or None

    async def sweep(self) -> dict[str, Any] | None:
        """Threads of stateless runs that are over, and parcels nobody fetched."""
        swept = 0
        while (
            count := await self._threads.sweep_doomed(older_than_s=self._doomed_s, limit=_BATCH)
        ) > 0:
            swept += count
            if count < _BATCH:
                break
        await self._parcels.sweep(older_than_s=_PARCEL_S)
        return {"swept": swept} if swept else None

    async def ready(self) -> str | None:
        """Why the broker's streams cannot be used."""
        try:
            missing = await topology.missing_streams(self._bus)
        except Unavailable as error:
            return error.message
        return f"streams are missing: {', '.join(missing)}" if missing else None
