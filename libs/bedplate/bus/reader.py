"""What readers of one run's events and of a whole thread's have in common: a small buffer of live
messages, and the choice between it and the stream.

Nothing grows with a slow reader: when its buffer overflows, or when a live message does not prove
that it is the next one, the reader drops the buffer and reads from the stream at its own pace.
Source: facts/infra.md 3.2 and facts/lab/handoff.py (measured under drops and broker kills).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator

from nats.aio.msg import Msg

from .broker import Bus
from .event_line import Event
from .stored_events import Piece, StoredEvents, event_at, piece_of

BUFFER_BYTES_MAX = 1_000_000
_NO_STREAM_S = 1.0


class Lines:
    """Puts a run's lines together again: a long one travels in several messages."""

    def __init__(self) -> None:
        self._rest = b""
        self.begins_at = 0
        """Where the line that is not whole yet begins."""

    @property
    def is_inside(self) -> bool:
        """Whether the next message goes on with a line."""
        return bool(self._rest)

    def add(self, piece: Piece) -> list[Event]:
        """The events that are whole now."""
        body = piece.body
        if not (piece.is_continued and self._rest):
            self._rest, self.begins_at = b"", piece.sequence
            if piece.is_continued:
                # We came in the middle of a line (its beginning is gone): up to its end there is
                # nothing to read.
                cut = body.find(b"\n") + 1
                body = body[cut:] if cut else b""
        *lines, self._rest = (self._rest + body).split(b"\n")
        events: list[Event] = []
        for line in lines:
            at, self.begins_at = self.begins_at, piece.sequence
            if line and (event := event_at(line, piece, sequence=at)):
                events.append(event)
        if not piece.is_continued:
            self.begins_at = piece.sequence
        return events


class Reader(ABC):
    """One reader with its position: event number and stream sequence."""

    def __init__(
        self,
        bus: Bus,
        subject: str,
        *,
        after_n: int,
        from_sequence: int,
        is_new: bool,
        check_s: float | None,
    ) -> None:
        """`from_sequence`: a hint where the event `after_n` stands, 0 if unknown. `is_new`: nothing
        is stored yet. `check_s`: read again this often though nothing came."""
        self._stored = StoredEvents(bus)
        self._subject = subject
        self._n = after_n
        self._sequence = max(from_sequence - 1, 0)
        self._has_hint = from_sequence > 0
        # Not a deque: an empty one takes what forty pointers take, and most readers are idle.
        self._buffer: list[Msg] = []
        self._buffer_bytes = 0
        self._must_read = not is_new
        self._is_doubtful = False
        self._check_s = check_s
        self._check_at = self._later(check_s)
        self._is_nudged = False
        self._wanted = asyncio.Event()

    @property
    def n(self) -> int:
        """Number of the last event that was returned."""
        return self._n

    def feed(self, message: Msg) -> None:
        """A live message; dropped when the buffer is full, the stream has it."""
        self._buffer_bytes += len(message.data)
        if self._buffer_bytes > BUFFER_BYTES_MAX:
            self._buffer.clear()
            self._buffer_bytes = 0
            self._must_read = True
        else:
            self._buffer.append(message)
        self._wanted.set()

    def check(self) -> None:
        """Read the stream again soon, in doubt whether it still is the one we know."""
        self.distrust()
        self._wanted.set()

    def distrust(self) -> None:
        """The same, but only when there is a reason to do something at all."""
        self._must_read = self._is_doubtful = True

    def nudge(self) -> None:
        """Make `more` return soon, also with nothing."""
        self._is_nudged = True
        self._wanted.set()

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
        async for events in self.stored_parts():
            for event in events:
                yield event

    async def stored_parts(self) -> AsyncIterator[list[Event]]:
        """The same, several at once."""
        while True:
            if events := await self._read_on():
                yield events
            if not self._must_read:
                return

    # -- what a run and a thread do in their own way

    @abstractmethod
    def _is_next(self, piece: Piece) -> bool:
        """Whether a live message proves that nothing before it is missing."""

    @abstractmethod
    def _take(self, piece: Piece) -> list[Event] | None:
        """The new events of the next message; None when it cannot be taken yet."""

    @abstractmethod
    def _begin_again(self, sequence: int) -> None:
        """Go back: the next message is read after `sequence`; half lines are forgotten."""

    @abstractmethod
    def _place(self) -> int:
        """Where the last message stands that must be read to go on here."""

    # -- the stream

    async def _read_on(self) -> list[Event]:
        """The next events of the stream; `_must_read` stays when there are more."""
        # Before the read: a message that is dropped meanwhile asks for another one.
        self._must_read = False
        self._step_back_in_doubt()
        try:
            batch = await self._stored.after(self._sequence, self._subject)
        except BaseException:
            self._must_read = True
            raise
        # While the stream is away nothing tells us when it is back.
        self._check_at = self._later(_NO_STREAM_S if batch.is_gone else self._check_s)
        if not batch.is_last:
            self._must_read = True
        if self._has_hint:
            self._has_hint = False
            # The hint is where the client's last event stands; if it does not stand there, the
            # stream is another one than the client saw: read all of it, the number decides.
            first = batch.pieces[0].first if batch.pieces else None
            if not batch.pieces or (first is not None and first.n > self._n):
                self._begin_again(0)
                self._must_read = True
                return []
        events: list[Event] = []
        for piece in batch.pieces:
            taken = self._take(piece)
            if taken is None:
                self._must_read = True
                break
            events += taken
        return events

    def _step_back_in_doubt(self) -> None:
        """Read our last message once more: a stream made anew counts from 1, and may hold what we
        have not seen below the sequence where we are."""
        if self._is_doubtful and self._sequence > 0:
            self._begin_again(self._place() - 1)
            self._has_hint = True
        self._is_doubtful = False

    def _later(self, delay_s: float | None) -> float | None:
        return None if delay_s is None else asyncio.get_running_loop().time() + delay_s

    # -- the buffer

    def _take_buffered(self) -> list[Event]:
        events: list[Event] = []
        while self._buffer and not self._must_read:
            message = self._buffer.pop(0)
            self._buffer_bytes -= len(message.data)
            events += self._take_live(piece_of(message))
        return events

    def _take_live(self, piece: Piece) -> list[Event]:
        if piece.sequence <= self._sequence:
            last = piece.last
            if last is not None and last.n > self._n:
                # Lower than where we were, yet news: the stream was made anew and counts from 1.
                self._begin_again(0)
                self._must_read = True
            return []
        taken = self._take(piece) if self._is_next(piece) else None
        if taken is None:
            self._must_read = True
            return []
        return taken
