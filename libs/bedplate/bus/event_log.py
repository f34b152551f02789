"""The reading end of runs' events: replay by direct get, live tail by a core subscription, no hole
provable.

Cast: a `Tail` is this process's one subscription to a run's or a thread's live subject, shared by
everyone who follows it; a `Follower` (here) reads one run, a `ThreadFollower` (`thread_log`) all
runs of a thread. Each live copy carries its stream sequence and that of the message before it on
the same subject, so a reader knows whether it missed one.

Promised: every event after the given position, once, in order of `n`, up to `end`. Not promised:
events the stream no longer holds (age, bytes); a reader that finds a hole at the beginning gets
what is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TypeVar
from uuid import UUID

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from bedplate_proto.subjects import RunAddress, ThreadAddress
from bedplate_proto.vocabulary import EventName

from .broker import Bus
from .event_line import Event
from .reader import BUFFER_BYTES_MAX, Lines, Reader
from .stored_events import Piece, StoredEvents
from .thread_log import ThreadFollower

R = TypeVar("R", bound=Reader)
FOLLOWER_BYTES_MAX = BUFFER_BYTES_MAX
# A follower of a run reads again this often though nothing came, in case the very last live message
# was dropped.
_CHECK_S = 30.0


class EventLog:
    """All readers of this process."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._stored = StoredEvents(bus)
        self._tails: dict[str, Tail] = {}
        bus.on_disconnected.append(self.distrust_all)
        bus.on_reconnected.append(self.check_all)

    def follow(
        self,
        address: RunAddress,
        *,
        after_n: int = 0,
        from_sequence: int = 0,
        is_new: bool = False,
    ) -> AbstractAsyncContextManager[Follower]:
        """A follower that misses nothing from here on: subscribe first, then order the run.

        The subscription leaves on the connection before any later request does, so a run ordered
        inside this block cannot publish unseen. `is_new`: the run is not ordered yet, so there is
        nothing to read before the first live event.
        """
        follower = Follower(
            self._bus, address, after_n=after_n, from_sequence=from_sequence, is_new=is_new
        )
        return self._heard(address.live(self._bus.prefix), follower)

    def follow_thread(
        self, address: ThreadAddress, *, after_n: int = 0, from_sequence: int = 0
    ) -> AbstractAsyncContextManager[ThreadFollower]:
        """The same for all runs of a thread, also of one that does not exist yet."""
        follower = ThreadFollower(self._bus, address, after_n=after_n, from_sequence=from_sequence)
        return self._heard(address.live(self._bus.prefix), follower)

    def thread_reader(self, address: ThreadAddress, *, after_n: int = 0) -> ThreadFollower:
        """One that hears nothing live, for `stored`."""
        return ThreadFollower(self._bus, address, after_n=after_n)

    @asynccontextmanager
    async def _heard(self, subject: str, reader: R) -> AsyncGenerator[R]:
        tail = self._tails.get(subject)
        if tail is None:
            tail = self._tails[subject] = Tail()
        tail.readers.add(reader)
        try:
            await tail.open(self._bus, subject)
            yield reader
        finally:
            tail.readers.discard(reader)
            if not tail.readers and self._tails.get(subject) is tail:
                del self._tails[subject]
                if tail.subscription is not None:
                    with suppress(nats.errors.Error, OSError):
                        await tail.subscription.unsubscribe()

    def distrust_all(self) -> None:
        """The connection is away: what is heard next does not tell what went by meanwhile."""
        for tail in self._tails.values():
            for reader in tail.readers:
                reader.distrust()

    def check_all(self) -> None:
        """Everyone reads the stream again: the connection was away."""
        for tail in self._tails.values():
            for reader in tail.readers:
                reader.check()

    def check(self, address: RunAddress) -> None:
        """The followers of one run read the stream again: its row says it is over."""
        if tail := self._tails.get(address.live(self._bus.prefix)):
            for reader in tail.readers:
                reader.check()

    async def last(self, address: RunAddress | ThreadAddress) -> Event | None:
        """The newest whole event that the stream still holds; a long one is read whole. Raises
        `Unavailable`."""
        piece = await self._stored.newest(address.stored(self._bus.prefix))
        if piece is None:
            return None
        if not piece.is_continued and piece.body.endswith(b"\n"):
            return piece.last
        run = RunAddress(address.tenant, address.thread_id, UUID(piece.run_id))
        newest: Event | None = None
        async for event in Follower(self._bus, run).stored():
            newest = event
        return newest


class Tail:
    """One live subscription and who reads from it."""

    def __init__(self) -> None:
        self.subscription: Subscription | None = None
        self.readers: set[Reader] = set()
        self._opening = asyncio.Lock()

    async def open(self, bus: Bus, subject: str) -> None:
        """Subscribe once, also when the first to come was cancelled or failed."""
        async with self._opening:
            if self.subscription is None:
                self.subscription = await bus.client.subscribe(subject, cb=self.heard)

    async def heard(self, message: Msg) -> None:
        for reader in self.readers:
            reader.feed(message)


class Follower(Reader):
    """One reader of one run."""

    def __init__(
        self,
        bus: Bus,
        address: RunAddress,
        *,
        after_n: int = 0,
        from_sequence: int = 0,
        is_new: bool = False,
    ) -> None:
        super().__init__(
            bus,
            address.stored(bus.prefix),
            after_n=after_n,
            from_sequence=from_sequence,
            is_new=is_new,
            check_s=_CHECK_S,
        )
        self.address = address
        self._lines = Lines()

    async def events(self) -> AsyncIterator[Event]:
        """Events after the position, then live ones; ends after `end`."""
        while True:
            for event in await self.more():
                yield event
                if event.name == EventName.END:
                    return

    def _is_next(self, piece: Piece) -> bool:
        return piece.previous <= self._sequence

    def _take(self, piece: Piece) -> list[Event]:
        self._sequence = piece.sequence
        events: list[Event] = []
        for event in self._lines.add(piece):
            # The end of a run that never started has no number of its own.
            if event.n > self._n or event.name == EventName.END:
                self._n = max(event.n, self._n)
                events.append(event)
        return events

    def _place(self) -> int:
        return self._lines.begins_at if self._lines.is_inside else self._sequence

    def _begin_again(self, sequence: int) -> None:
        self._sequence = sequence
        self._lines = Lines()
