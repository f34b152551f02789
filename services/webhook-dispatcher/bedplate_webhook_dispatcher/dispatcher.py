"""Takes what is due, tries it, writes down how it went.

Nobody waits for anybody: a destination (scheme, host, port) gets a few of the places, and only one
while it fails, so receivers that hang fill their own places and no others'. What dies in the middle
of a try is due again when its claim ends: receivers may see a delivery twice, under the same id.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from bedplate.chassis.clock import Clock
from bedplate.chassis.log import get_logger
from bedplate.chassis.tasks import Tasks
from bedplate.graphs.sealing import Sealing
from bedplate.kernel.errors import HandlerFailed
from bedplate.ledger import NOT_THERE_YET
from bedplate.ledger.deliveries import Backlog, Deliveries, Due, Verdict
from bedplate_proto.webhooks import Redeliver, WebhookPoke

from .courier import Courier, Failed, Parcel
from .payload import body_of, opened
from .signing import message_id, signature
from .tally import Tally
from .verdict import Patience, verdict_of

log = get_logger()

# Beyond a try's own limit: for writing down how it went, also through a restart of PostgreSQL.
_SETTLE_S = 15.0
_SETTLE_AGAIN_S = 0.5
# Failing destinations that are remembered; one that is forgotten gets its places back.
_FAILING_MAX = 1000
_SWEEP_BATCH = 500


@dataclass(frozen=True)
class Wording:
    """What every delivery of this installation carries."""

    headers: Mapping[str, str]
    keys: Sequence[bytes]
    allowed_fields: Sequence[str] | None


@dataclass(frozen=True)
class Limits:
    at_once: int
    per_destination: int
    try_s: float


class Dispatcher:
    """Verbs of the bus and ticks of loops. Any number of replicas may run."""

    def __init__(
        self,
        deliveries: Deliveries,
        courier: Courier,
        tasks: Tasks,
        *,
        wording: Wording,
        limits: Limits,
        patience: Patience,
        tally: Tally,
        clock: Clock,
        by: str,
        rng: Random | None = None,
        sealing: Sealing | None = None,
    ) -> None:
        self._sealing = sealing
        self._deliveries = deliveries
        self._courier = courier
        self._tasks = tasks
        self._wording = wording
        self._limits = limits
        self._patience = patience
        self._tally = tally
        self._clock = clock
        self._by = by
        self._rng = rng or Random()
        self._busy: Counter[str] = Counter()
        self._failing: OrderedDict[str, None] = OrderedDict()
        self._is_draining = False
        self.backlog = Backlog(0, 0, 0)
        self.poke: Callable[[], None] = lambda: None
        """Makes `deliver` be called soon."""

    async def on_poke(self, _: WebhookPoke) -> None:
        """A delivery was committed with the end of a run."""
        self.poke()

    async def redeliver(self, order: Redeliver) -> str:
        """Raises `NotFound`, and `Conflict` while a try is under way."""
        row = await self._deliveries.redeliver(order.delivery_id, tenant=order.tenant)
        log.info("delivery.requested", delivery_id=str(order.delivery_id))
        self.poke()
        return row

    async def deliver(self) -> dict[str, Any] | None:
        """Begin what is due and has a place. Does not wait for receivers."""
        free = self._limits.at_once - self._busy.total()
        if free <= 0 or self._is_draining:
            return None
        rooms = {
            destination: max(0, self._places(destination) - self._busy[destination])
            for destination in (*self._busy, *self._failing)
        }
        claimed = await self._deliveries.claim(
            limit=free,
            room=self._limits.per_destination,
            rooms=rooms,
            by=self._by,
            lease_s=self._limits.try_s + _SETTLE_S,
        )
        for due in claimed:
            self._busy[due.destination] += 1
            self._tasks.start(self._try(due), str(due.delivery_id))
        return {"claimed": len(claimed)} if claimed else None

    async def sweep(self, *, delivered_s: float, dead_s: float) -> dict[str, Any] | None:
        swept = await self._deliveries.sweep(
            delivered_s=delivered_s, dead_s=dead_s, limit=_SWEEP_BATCH
        )
        return {"swept": swept} if swept else None

    async def measure(self) -> None:
        self.backlog = await self._deliveries.measure()

    async def drain(self) -> None:
        """Take nothing more and let the tries under way end, at most as long as one may take."""
        self._is_draining = True
        await self._tasks.drain(self._limits.try_s + 1.0)

    @property
    def under_way(self) -> int:
        return self._busy.total()

    def _places(self, destination: str) -> int:
        return 1 if destination in self._failing else self._limits.per_destination

    async def _try(self, due: Due) -> None:
        try:
            began = self._clock.monotonic()
            verdict = await self._tried(due)
            self._tally.tried(verdict, self._clock.monotonic() - began)
            self._remember(due.destination, verdict)
            await self._settle(due, verdict)
        finally:
            self._busy[due.destination] -= 1
            if not self._busy[due.destination]:
                del self._busy[due.destination]
            self.poke()

    async def _tried(self, due: Due) -> Verdict:
        sent_at = self._clock.now_utc()
        try:
            told = await opened(due, self._sealing)
        except HandlerFailed as error:
            # The receiver has not been asked; the key service may answer the next time.
            return verdict_of(Failed(error.message), due, patience=self._patience, rng=self._rng)
        body = body_of(told, sent_at=sent_at, allowed_fields=self._wording.allowed_fields)
        result = await self._courier.deliver(
            Parcel(due.url, body, self._signed(due, int(sent_at.timestamp()), body), self._own())
        )
        return verdict_of(result, due, patience=self._patience, rng=self._rng)

    def _signed(self, due: Due, timestamp: int, body: bytes) -> dict[str, str]:
        message = message_id(due.delivery_id)
        headers = {"webhook-id": message, "webhook-timestamp": str(timestamp)}
        if self._wording.keys:
            headers["webhook-signature"] = signature(
                self._wording.keys, message, timestamp=timestamp, body=body
            )
        return headers

    def _own(self) -> Mapping[str, str]:
        return self._wording.headers

    def _remember(self, destination: str, verdict: Verdict) -> None:
        if verdict.status == "delivered":
            self._failing.pop(destination, None)
            return
        # One that answers is not slow, whatever it says; only silence holds places.
        if verdict.status_code is None:
            self._failing[destination] = None
            self._failing.move_to_end(destination)
            if len(self._failing) > _FAILING_MAX:
                self._failing.popitem(last=False)

    async def _settle(self, due: Due, verdict: Verdict) -> None:
        """Written for as long as the claim holds; afterwards the delivery is tried again."""
        told = {
            "delivery_id": str(due.delivery_id),
            "run_id": str(due.run_id),
            "tries": due.tries,
            "status_code": verdict.status_code,
        }
        try:
            async with asyncio.timeout(_SETTLE_S):
                is_ours = await self._patiently(due, verdict)
        except TimeoutError:
            log.warning("delivery.unsettled", **told)
            return
        if not is_ours:
            log.warning("delivery.superseded", **told)
            return
        self._tally.settled(verdict)
        match verdict.status:
            case "delivered":
                log.info("delivery.made", **told)
            case "pending":
                log.info("delivery.deferred", **told, why=verdict.error, retry_s=verdict.retry_s)
            case "dead":
                log.warning("delivery.buried", **told, why=verdict.error)

    async def _patiently(self, due: Due, verdict: Verdict) -> bool:
        while True:
            try:
                return await self._deliveries.settle(due, verdict)
            except NOT_THERE_YET as error:
                log.warning("delivery.unwritten", why=type(error).__name__)
            await asyncio.sleep(_SETTLE_AGAIN_S)
