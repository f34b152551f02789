"""What the stream holds of runs' events, read by direct get: no consumer, no state in the broker.

A run has a subject of its own; a thread is the wildcard over its runs' subjects. Source:
NATS ADR-31 (batched direct get); facts/infra.md 3.2.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import nats.errors
import orjson
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from bedplate.kernel.errors import Unavailable
from bedplate_proto.envelope import CONTINUES_HEADER
from bedplate_proto.streams import RUN_EVENTS

from .broker import Bus
from .event_line import Event, event_of

log = structlog.get_logger()

# One read is bounded in both: what is read waits in memory for a client that may be slow.
_BATCH = 256
_BATCH_BYTES = 1_000_000
_READ_S_MAX = 5.0
_RETRY_S = 0.2


@dataclass(frozen=True, slots=True)
class Piece:
    """One message of a run's events, stored or live: whole lines, or a part of a long one.

    `previous` is the sequence of the message before it on the same subject. `at` is when it was
    stored, RFC 3339.
    """

    run_id: str
    sequence: int
    previous: int
    body: bytes
    is_continued: bool
    at: str

    @property
    def first(self) -> Event | None:
        """The first event, if it is whole."""
        return event_at(self.body.split(b"\n", 1)[0], self)

    @property
    def last(self) -> Event | None:
        """The last event, if it is whole."""
        lines = [line for line in self.body.split(b"\n") if line]
        return event_at(lines[-1], self) if lines else None


@dataclass(frozen=True, slots=True)
class Batch:
    """`pending`: how many more the stream held when this was read. `is_gone`: there is no stream
    now, it is being declared again."""

    pieces: Sequence[Piece]
    pending: int
    is_gone: bool

    @property
    def is_last(self) -> bool:
        return self.pending == 0


def piece_of(message: Msg) -> Piece:
    """Of a stored message as direct get answers with it, or of a live copy."""
    headers: Any = message.headers or {}
    subject: str = headers["Nats-Subject"]
    return Piece(
        run_id=subject[subject.rindex(".") + 1 :],
        sequence=int(headers["Nats-Sequence"]),
        previous=int(headers.get("Nats-Last-Sequence", 0)),
        body=message.data,
        is_continued=CONTINUES_HEADER in headers,
        at=headers.get("Nats-Time-Stamp", ""),
    )


def event_at(line: bytes, piece: Piece, *, sequence: int = 0) -> Event | None:
    """The event of a line that ends in `piece` and begins at `sequence` (0: there, too)."""
    try:
        return event_of(line, sequence or piece.sequence, run_id=piece.run_id, at=piece.at)
    except ValueError:
        # Half a line that a dead attempt left: its successor ended it with a line feed.
        log.debug("event.unreadable", sequence=piece.sequence)
        return None


class StoredEvents:
    """Reads of the stream; subjects may be wildcards."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def newest(self, subject: str) -> Piece | None:
        """The newest message. Raises `Unavailable`."""
        request = orjson.dumps({"last_by_subj": subject})
        try:
            reply = await self._bus.client.request(self._where(), request, timeout=_READ_S_MAX)
        except (TimeoutError, nats.errors.Error, OSError) as error:
            raise Unavailable(f"the events cannot be read: {type(error).__name__}") from error
        headers = reply.headers or {}
        return None if headers.get("Status") == "404" else piece_of(reply)

    async def newest_sequence(self, subject: str) -> int:
        """Where the newest message stands, 0 if there is none; waits as `after` does."""
        while True:
            try:
                newest = await self.newest(subject)
            except Unavailable as error:
                log.warning("events.replay_delayed", why=error.message)
                await asyncio.sleep(_RETRY_S)
            else:
                return 0 if newest is None else newest.sequence

    async def after(self, sequence: int, subject: str, *, limit: int = _BATCH) -> Batch:
        """The next messages after `sequence`, in order; waits for the broker as long as it takes.

        At most `limit` of them and about a megabyte, but at least one if there is one.
        """
        request = orjson.dumps(
            {
                "seq": sequence + 1,
                "next_by_subj": subject,
                "batch": limit,
                "max_bytes": _BATCH_BYTES,
            }
        )
        while True:
            try:
                return await self._asked(request)
            except (TimeoutError, nats.errors.Error, OSError) as error:
                log.warning("events.replay_delayed", why=f"{type(error).__name__}: {error}")
                await asyncio.sleep(_RETRY_S)

    async def _asked(self, request: bytes) -> Batch:
        found: list[Piece] = []
        closing: asyncio.Future[tuple[int, bool]] = asyncio.get_running_loop().create_future()

        async def heard(message: Msg) -> None:
            headers = message.headers or {}
            if status := headers.get("Status"):
                if not closing.done():
                    pending = int(headers.get("Nats-Num-Pending", "0") or 0)
                    closing.set_result((pending if status == "204" else 0, status == "503"))
                return
            found.append(piece_of(message))

        inbox = self._bus.client.new_inbox()
        subscription: Subscription | None = None
        try:
            subscription = await self._bus.client.subscribe(inbox, cb=heard)
            await self._bus.client.publish(self._where(), request, reply=inbox)
            async with asyncio.timeout(_READ_S_MAX):
                pending, is_gone = await closing
        finally:
            if subscription is not None:
                with suppress(nats.errors.Error, OSError):
                    await subscription.unsubscribe()
        return Batch(found, pending, is_gone)

    def _where(self) -> str:
        return f"$JS.API.DIRECT.GET.{self._bus.stream(RUN_EVENTS.name)}"
