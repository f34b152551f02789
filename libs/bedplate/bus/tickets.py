"""The executors' end of the work queue: tickets are pulled, as many as there are free slots.

Pull requests are written here, not by the client library: its `fetch` does not survive a restart of
the server and forgets a request it gave up on, whose tickets then wait for the ack limit (facts,
infra.md 2.5).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import nats.errors
import orjson
import structlog
from nats.aio.msg import Msg
from pydantic import ValidationError

from bedplate.kernel.errors import Unavailable
from bedplate_proto.runs import RunReady
from bedplate_proto.streams import EXECUTORS, RUN_DISPATCH

from .broker import Bus

log = structlog.get_logger()

# How long a pull request waits at the server. Short, because a restarted server forgets it.
_PULL_S = 5.0
_RETRY_S = 0.5
_CLOSE_S_MAX = 1.0
_INFO_S_MAX = 5.0


class Ticket:
    """A ticket taken from the queue. `done` takes it off; untouched it comes back after the ack
    wait."""

    def __init__(self, message: Msg, ready: RunReady) -> None:
        self._message = message
        self.ready = ready

    async def done(self) -> None:
        try:
            await self._message.ack()
        except (nats.errors.Error, OSError):
            log.debug("ticket.not_acked", run_id=str(self.ready.run_id))

    async def put_back(self) -> None:
        """Somebody else, or we a moment later, shall have it."""
        try:
            await self._message.nak(delay=0.05)
        except (nats.errors.Error, OSError):
            log.debug("ticket.not_put_back", run_id=str(self.ready.run_id))


class Tickets:
    """Pulls up to `free()` tickets and keeps those that wait to be claimed together."""

    def __init__(self, bus: Bus, *, free: Callable[[], int]) -> None:
        self._bus = bus
        self._free = free
        self._arrived: asyncio.Queue[Ticket] = asyncio.Queue()
        self._asked = 0
        # Those that were taken last: their runs take slots, but are not seen in them yet.
        self._taken = 0
        self._changed = asyncio.Event()
        self._lost = asyncio.Event()
        self._withdrawn = asyncio.Event()
        self._is_closed = False
        bus.on_reconnected.append(self._begin_again)

    async def close(self) -> None:
        """Ask for nothing more, and withdraw what was asked for: a ticket that is sent to us later
        would lie here until the ack wait is over."""
        self._is_closed = True
        self._begin_again()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._withdrawn.wait(), _CLOSE_S_MAX)

    def _begin_again(self) -> None:
        """What was asked for is forgotten: the server knows nothing of it any more."""
        self._lost.set()
        self._changed.set()

    def slots_changed(self) -> None:
        """There may be room for more."""
        self._changed.set()

    async def take(self) -> list[Ticket]:
        """Waits for a ticket, and takes those that arrived with it. Called again when those taken
        before are claimed and in their slots, or put back."""
        self._taken = 0
        self._changed.set()
        tickets = [await self._arrived.get()]
        while not self._arrived.empty():
            tickets.append(self._arrived.get_nowait())
        self._taken = len(tickets)
        return tickets

    async def run(self) -> None:
        """Keep as many tickets asked for as there are free slots; until cancelled, also when
        closed."""
        stream = self._bus.stream(RUN_DISPATCH.name)
        where = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{EXECUTORS.name}"
        while not self._is_closed:
            inbox = self._bus.client.new_inbox()
            subscription = await self._bus.client.subscribe(inbox, cb=self._heard)
            self._asked = 0
            self._lost.clear()
            try:
                await self._ask(where, inbox)
            except (nats.errors.Error, OSError) as error:
                log.warning("tickets.delayed", why=f"{type(error).__name__}: {error}")
                await asyncio.sleep(_RETRY_S)
            finally:
                try:
                    await subscription.unsubscribe()
                except (nats.errors.Error, OSError):
                    log.debug("tickets.not_unsubscribed")
        self._withdrawn.set()
        await asyncio.Event().wait()

    async def _ask(self, where: str, inbox: str) -> None:
        """Pull requests on one inbox, until the connection was lost."""
        while not self._lost.is_set():
            self._changed.clear()
            wanted = self._free() - self._asked - self._arrived.qsize() - self._taken
            if wanted > 0:
                request = {"batch": wanted, "expires": int(_PULL_S * 1e9)}
                self._asked += wanted
                await self._bus.client.publish(where, orjson.dumps(request), reply=inbox)
            try:
                async with asyncio.timeout(2 * _PULL_S):
                    await self._changed.wait()
            except TimeoutError:
                # Every request has ended by now, answered or not: count anew.
                self._asked = 0

    async def _heard(self, message: Msg) -> None:
        headers = message.headers or {}
        status = headers.get("Status")
        if status is None:
            self._asked = max(0, self._asked - 1)
            try:
                self._arrived.put_nowait(
                    Ticket(message, RunReady.model_validate_json(message.data))
                )
            except ValidationError:
                log.exception("ticket.malformed")
                await message.term()
        elif status == "503":
            # No such consumer (the broker lost its data; the scheduler declares it again).
            self._asked = 0
            await asyncio.sleep(_RETRY_S)
        elif status != "100":
            self._asked = max(0, self._asked - int(headers.get("Nats-Pending-Messages", "0") or 0))
            if status != "408":
                log.warning("tickets.refused", status=status, why=headers.get("Description"))
        self._changed.set()


async def oldest_ticket_s(bus: Bus) -> float | None:
    """For how long the queue's oldest ticket has been in it, taken ones included; None: it is
    empty. Raises `Unavailable`."""
    where = f"$JS.API.STREAM.INFO.{bus.stream(RUN_DISPATCH.name)}"
    try:
        reply = await bus.client.request(where, b"", timeout=_INFO_S_MAX)
    except (TimeoutError, nats.errors.Error, OSError) as error:
        raise Unavailable(f"JetStream does not answer: {type(error).__name__}") from error
    answer = orjson.loads(reply.data)
    if "error" in answer:
        raise Unavailable(f"the queue of tickets: {answer['error'].get('description')}")
    if answer["state"]["messages"] == 0:
        return None
    # Both by the broker's clock: the others' may differ from it.
    now, first = (datetime.fromisoformat(at) for at in (answer["ts"], answer["state"]["first_ts"]))
    return max(0.0, (now - first).total_seconds())
