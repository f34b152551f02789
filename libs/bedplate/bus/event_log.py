"""The reading end of a run's events: replay by direct get, live tail by a core subscription, no
hole provable.

Cast: a `Tail` is this process's one subscription to a run's live subject, shared by everyone who
follows it; a `Follower` is one reader with its position. Each live copy carries its stream sequence
and that of the message before it on the same subject, so a follower knows whether it missed one; if
so, or when its small buffer overflows because its client reads slowly, it drops the buffer and
reads from the stream at its own pace. Nothing grows with a slow reader.

Promised: every event after the given position, once, in order of `n`, up to `end`. Not promised:
events the stream no longer holds (age, bytes); a reader that finds a hole at the beginning gets
what is there. Source: facts/infra.md 3.2 and facts/lab/handoff.py (measured under drops and broker
kills).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress

import nats.errors
import orjson
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from bedplate.kernel.errors import Unavailable
from bedplate_proto.envelope import CONTINUES_HEADER
from bedplate_proto.streams import RUN_EVENTS
from bedplate_proto.subjects import RunAddress
from bedplate_proto.vocabulary import EventName

from .broker import Bus
from .event_line import Event, event_of

log = structlog.get_logger()

FOLLOWER_BYTES_MAX = 1_000_000
# A follower reads again this often though nothing came, in case the very last live message was
# dropped.
_CHECK_S = 30.0
_NO_STREAM_S = 1.0
_REPLAY_BATCH = 256
_REPLAY_S_MAX = 5.0


class EventLog:
    """All followers of this process."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._tails: dict[str, Tail] = {}
        bus.on_reconnected.append(self.check_all)

    @asynccontextmanager
    async def follow(
        self,
        address: RunAddress,
        *,
        after_n: int = 0,
        from_sequence: int = 0,
        is_new: bool = False,
    ) -> AsyncGenerator[Follower]:
        """A follower that misses nothing from here on: subscribe first, then order the run.

        The subscription leaves on the connection before any later request does, so a run ordered
        inside this block cannot publish unseen. `is_new`: the run is not ordered yet, so there is
        nothing to read before the first live event.
        """
        subject = address.live(self._bus.prefix)
        tail = self._tails.get(subject)
        if tail is None:
            tail = self._tails[subject] = Tail()
        follower = Follower(
            self._bus, address, after_n=after_n, from_sequence=from_sequence, is_new=is_new
        )
        tail.followers.add(follower)
        try:
            await tail.open(self._bus, subject)
            yield follower
        finally:
            tail.followers.discard(follower)
            if not tail.followers and self._tails.get(subject) is tail:
                del self._tails[subject]
                if tail.subscription is not None:
                    with suppress(nats.errors.Error, OSError):
                        await tail.subscription.unsubscribe()

    def check_all(self) -> None:
        """Everyone reads the stream again: the connection was away."""
        for tail in self._tails.values():
            for follower in tail.followers:
                follower.check()

    def check(self, address: RunAddress) -> None:
        """The followers of one run read the stream again: its row says it is over."""
        if tail := self._tails.get(address.live(self._bus.prefix)):
            for follower in tail.followers:
                follower.check()

    async def last(self, address: RunAddress) -> Event | None:
        """The newest whole event of a run that the stream still holds; a long one is read whole."""
        message = await self._newest_message(address.stored(self._bus.prefix))
        if message is None:
            return None
        sequence, body, is_continued = message
        if not is_continued and body.endswith(b"\n"):
            return _event(body[:-1].rsplit(b"\n", 1)[-1], sequence)
        newest: Event | None = None
        follower = Follower(self._bus, address)
        async for event in follower.stored():
            newest = event
        return newest

    async def _newest_message(self, subject: str) -> tuple[int, bytes, bool] | None:
        """(sequence, body, whether it goes on with a line). Raises `Unavailable`."""
        where = f"$JS.API.DIRECT.GET.{self._bus.stream(RUN_EVENTS.name)}"
        request = orjson.dumps({"last_by_subj": subject})
        try:
            reply = await self._bus.client.request(where, request, timeout=_REPLAY_S_MAX)
        except (TimeoutError, nats.errors.Error, OSError) as error:
            raise Unavailable(f"the events cannot be read: {type(error).__name__}") from error
        headers = reply.headers or {}
        if headers.get("Status") == "404":
            return None
        return int(headers["Nats-Sequence"]), reply.data, CONTINUES_HEADER in headers


class Tail:
    """One live subscription and who follows it."""

    def __init__(self) -> None:
        self.subscription: Subscription | None = None
        self.followers: set[Follower] = set()
        self._opening = asyncio.Lock()

    async def open(self, bus: Bus, subject: str) -> None:
        """Subscribe once, also when the first to come was cancelled or failed."""
        async with self._opening:
            if self.subscription is None:
                self.subscription = await bus.client.subscribe(subject, cb=self.heard)

    async def heard(self, message: Msg) -> None:
        for follower in self.followers:
            follower.feed(message)


class Follower:
    """One reader of one run, positioned by event number and stream sequence."""

    def __init__(
        self,
        bus: Bus,
        address: RunAddress,
        *,
        after_n: int = 0,
        from_sequence: int = 0,
        is_new: bool = False,
    ) -> None:
        self._bus = bus
        self.address = address
        self._subject = address.stored(bus.prefix)
        self._n = after_n
        self._sequence = max(from_sequence - 1, 0)
        self._has_hint = from_sequence > 0
        self._line = b""
        self._line_at = 0
        self._buffer: deque[Msg] = deque()
        self._buffer_bytes = 0
        self._must_read = not is_new
        self._is_doubtful = False
        self._check_at = asyncio.get_running_loop().time() + _CHECK_S
        self._is_nudged = False
        self._wanted = asyncio.Event()

    def feed(self, message: Msg) -> None:
        """A live message; dropped when the buffer is full, the stream has it."""
        self._buffer_bytes += len(message.data)
        if self._buffer_bytes > FOLLOWER_BYTES_MAX:
            self._buffer.clear()
            self._buffer_bytes = 0
            self._must_read = True
        else:
            self._buffer.append(message)
        self._wanted.set()

    def check(self) -> None:
        """Read the stream again soon, in doubt whether it still is the one we know."""
        self._must_read = self._is_doubtful = True
        self._wanted.set()

    def nudge(self) -> None:
        """Make `more` return soon, also with nothing."""
        self._is_nudged = True
        self._wanted.set()

    async def events(self) -> AsyncIterator[Event]:
        """Events after the position, then live ones; ends after `end`."""
        while True:
            for event in await self.more():
                yield event
                if event.name == EventName.END:
                    return

    async def more(self) -> list[Event]:
        """Wait for events after the position; all that are there, at least one unless `nudge`d.

        Nothing is lost when it is cancelled: the position moves only with what is returned.
        """
        while True:
            self._wanted.clear()
            events = await self._read_on() if self._must_read else self._take_buffered()
            if events or self._is_nudged:
                self._is_nudged = False
                return events
            if self._must_read or self._buffer:
                continue
            try:
                async with asyncio.timeout_at(self._check_at):
                    await self._wanted.wait()
            except TimeoutError:
                self.check()

    async def stored(self) -> AsyncIterator[Event]:
        """What the stream holds after the position."""
        while True:
            for event in await self._read_on():
                yield event
            if not self._must_read:
                return

    async def _read_on(self) -> list[Event]:
        """The next events of the stream; `_must_read` stays when there are more."""
        # Before the read: a message that is dropped meanwhile asks for another one.
        self._must_read = False
        self._step_back_in_doubt()
        try:
            batch, is_last = await self._read_batch()
        except BaseException:
            self._must_read = True
            raise
        if not is_last:
            self._must_read = True
        if self._has_hint:
            self._has_hint = False
            # The hint is where the client's last event stands; if it does not stand there, the
            # stream is another one than the client saw: read all of it, the number decides.
            if not batch or _first_n(batch[0][1]) > self._n:
                self._sequence = 0
                self._must_read = True
                return []
        events: list[Event] = []
        for sequence, body, is_continued in batch:
            events += self._take(sequence, body, is_continued)
        return events

    def _step_back_in_doubt(self) -> None:
        """Read our last message once more: a stream made anew counts from 1, and may hold what we
        have not seen below the sequence where we are."""
        if self._is_doubtful and self._sequence > 0:
            self._sequence = (self._line_at if self._line else self._sequence) - 1
            self._line = b""
            self._has_hint = True
        self._is_doubtful = False

    def _take_buffered(self) -> list[Event]:
        events: list[Event] = []
        while self._buffer and not self._must_read:
            message = self._buffer.popleft()
            self._buffer_bytes -= len(message.data)
            events += self._take_live(message)
        return events

    def _take_live(self, message: Msg) -> list[Event]:
        headers = message.headers or {}
        sequence, previous = int(headers["Nats-Sequence"]), int(headers["Nats-Last-Sequence"])
        if sequence <= self._sequence:
            if _last_n(message.data) > self._n:
                # Lower than where we were, yet news: the stream was made anew and counts from 1.
                self._sequence = 0
                self._must_read = True
            return []
        if previous > self._sequence:
            self._must_read = True
            return []
        return self._take(sequence, message.data, CONTINUES_HEADER in headers)

    def _take(self, sequence: int, body: bytes, is_continued: bool) -> list[Event]:
        """The new events of a message; the end of a line that goes on is kept for the next one."""
        self._sequence = sequence
        if not (is_continued and self._line):
            self._line, self._line_at = b"", sequence
            if is_continued:
                # We came in the middle of a line (its beginning is gone): up to its end there is
                # nothing to read.
                cut = body.find(b"\n") + 1
                body = body[cut:] if cut else b""
        *lines, rest = (self._line + body).split(b"\n")
        events: list[Event] = []
        for line in lines:
            at = self._line_at or sequence
            self._line_at = sequence
            event = _event(line, at) if line else None
            # The end of a run that never started has no number of its own.
            if event and (event.n > self._n or event.name == EventName.END):
                self._n = max(event.n, self._n)
                events.append(event)
        self._line = rest
        if rest and not is_continued:
            self._line_at = sequence
        return events

    async def _read_batch(self) -> tuple[list[tuple[int, bytes, bool]], bool]:
        """Up to 256 messages after the position, and whether these were all."""
        request = orjson.dumps(
            {"seq": self._sequence + 1, "next_by_subj": self._subject, "batch": _REPLAY_BATCH}
        )
        where = f"$JS.API.DIRECT.GET.{self._bus.stream(RUN_EVENTS.name)}"
        while True:
            found: list[tuple[int, bytes, bool]] = []
            closing: asyncio.Future[int] = asyncio.get_running_loop().create_future()

            async def heard(
                message: Msg,
                found: list[tuple[int, bytes, bool]] = found,
                closing: asyncio.Future[int] = closing,
            ) -> None:
                headers = message.headers or {}
                if status := headers.get("Status"):
                    if not closing.done():
                        pending = int(headers.get("Nats-Num-Pending", "0") or 0)
                        closing.set_result(pending if status == "204" else 0)
                        # 503: there is no such stream now, it is being declared again.
                        patience_s = _NO_STREAM_S if status == "503" else _CHECK_S
                        self._check_at = asyncio.get_running_loop().time() + patience_s
                    return
                found.append(
                    (int(headers["Nats-Sequence"]), message.data, CONTINUES_HEADER in headers)
                )

            inbox = self._bus.client.new_inbox()
            subscription: Subscription | None = None
            try:
                subscription = await self._bus.client.subscribe(inbox, cb=heard)
                await self._bus.client.publish(where, request, reply=inbox)
                async with asyncio.timeout(_REPLAY_S_MAX):
                    pending = await closing
            except (TimeoutError, nats.errors.Error, OSError) as error:
                log.warning("events.replay_delayed", why=f"{type(error).__name__}: {error}")
                await asyncio.sleep(0.2)
            else:
                return found, pending == 0
            finally:
                if subscription is not None:
                    with suppress(nats.errors.Error, OSError):
                        await subscription.unsubscribe()


def _event(line: bytes, sequence: int) -> Event | None:
    try:
        return event_of(line, sequence)
    except ValueError:
        # Half a line that a dead attempt left: its successor ended it with a line feed.
        log.debug("event.unreadable", sequence=sequence)
        return None


def _first_n(body: bytes) -> int:
    """Number of the first whole event of a message; 0 when it begins inside a line."""
    event = _event(body.split(b"\n", 1)[0], 0)
    return event.n if event else 0


def _last_n(body: bytes) -> int:
    """Number of the last whole event of a message, likewise."""
    lines = [line for line in body.split(b"\n") if line]
    event = _event(lines[-1], 0) if lines else None
    return event.n if event else 0
