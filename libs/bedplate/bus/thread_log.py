"""One reader of all runs of a thread, one after another: replay, live tail, no hole provable.

A thread's events are numbered densely over its runs, one run executes at a time, and its `end` has
the next number whether or not it was stored already. So a live message is the next one if it goes
on with the run that is open, or begins another with the next number; anything else is looked up in
the stream. Two things arrive out of order:

* the `end` of a run may be stored after the first events of the next one. Those are held back: the
  rest of the open run is read from its own subject first. If its end does not come (its worker died
  between the row and the event), the reader gives it up after `LATE_S` and returns an `end` without
  data: the row knows the rest. Every reader, on every gateway, gives that end the same number.
* the end of a run that never started has no number where another run has the thread. It is returned
  with that of the event before it in the stream, and so it is always read from there: no live
  message tells what was stored before it. A reader that resumes after that number is told again.

For the same reason the position of an `end` (and of the `error` before it) is where the event
before them stands: what comes after an `end` may be stored before it, nothing before that.

Promised: every event after the position once, in order of `n`. Not promised: what the stream no
longer holds.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from bedplate_proto.subjects import RunAddress, ThreadAddress
from bedplate_proto.vocabulary import EventName

from .broker import Bus
from .event_line import Event
from .reader import Lines, Reader
from .stored_events import Piece

LATE_S = 3.0
# So many messages are read faster than a shorter way is looked for.
_NEAR = 256
# Nothing of another run is stored before any other event of a run.
_LAST = (EventName.ERROR, EventName.END)
_NUMBER = re.compile(rb'{"n":([0-9]+),')


class ThreadFollower(Reader):
    """Reads on for ever. The id of an event (`n` and sequence) is a position for another one."""

    def __init__(
        self,
        bus: Bus,
        address: ThreadAddress,
        *,
        after_n: int = 0,
        from_sequence: int = 0,
    ) -> None:
        super().__init__(
            bus,
            address.stored(bus.prefix),
            after_n=after_n,
            from_sequence=from_sequence,
            is_new=False,
            # Most threads that are followed are idle: who knows which are not asks for checks.
            check_s=None,
        )
        self.address = address
        self._prefix = bus.prefix
        self._open: str | None = None
        self._ended: str | None = None
        # When the newest event of the open run was stored.
        self._heard_at = ""
        # Who follows has heard of everything up to this number.
        self._begun_n = after_n
        # The greatest number stored up to `_sequence`.
        self._placed_n = 0
        self._must_seek = after_n > 0 and from_sequence == 0
        # Where the last event stands that is neither the error nor the end of its run.
        self._safe_at = from_sequence
        # Where the last end without a number stands that was told.
        self._told_at = from_sequence
        self._resumed_at = from_sequence
        self._lines: dict[str, Lines] = {}
        # Messages above `_sequence` that were taken before their turn: their run, and how far their
        # numbers go.
        self._ahead: dict[int, tuple[str, int]] = {}
        self._rest_sequence: int | None = None
        self._give_up_at = 0.0

    @property
    def position(self) -> tuple[int, int]:
        """Number and sequence: where another follower goes on."""
        return self._n, self._sequence

    @property
    def open_run(self) -> str | None:
        """The run whose end is still to come."""
        return self._open

    @property
    def ended_run(self) -> str | None:
        """The run whose end was met last."""
        return self._ended

    def lost_end(self) -> Event | None:
        """The open run is over, but its end was never stored: its `end` without data."""
        if self._open is None:
            return None
        event = Event(
            n=self._n + 1,
            attempt=1,
            name=EventName.END,
            data=b"",
            sequence=self._safe_at,
            run_id=self._open,
            # Where there is no row any more, this is the last that is known of it.
            at=self._heard_at,
        )
        self._n = self._placed_n = event.n
        self._ended, self._open = self._open, None
        return event

    def pass_over(self, n: int) -> None:
        """Everything up to `n` is known from elsewhere."""
        if n > self._n:
            self._n = self._placed_n = n
            self._open = None

    # -- one message after another

    def _is_next(self, piece: Piece) -> bool:
        n = _number(piece)
        is_gapless = piece.previous <= self._sequence or piece.previous in self._ahead
        if n is None:
            lines = self._lines.get(piece.run_id)
            return lines is not None and lines.is_inside and is_gapless
        if piece.run_id == self._open:
            return is_gapless
        return self._open is None and n == self._n + 1

    def _take(self, piece: Piece) -> list[Event] | None:
        events: list[Event] = []
        if (taken := self._ahead.get(piece.sequence)) is not None:
            self._placed_n = max(self._placed_n, taken[1])
        elif _number(piece) == 0:
            if piece.sequence == self._resumed_at:
                self._go_before(piece)
                return None
            events = self._unnumbered(piece)
        elif self._is_too_early(piece):
            self._await_rest(piece)
            return None
        else:
            events, reached_n = self._new(piece)
            self._placed_n = max(self._placed_n, reached_n)
        self._move_to(piece.sequence)
        return events

    def _unnumbered(self, piece: Piece) -> list[Event]:
        """The end of a run that never started, unless it was told, or stands before our
        beginning."""
        if piece.sequence <= self._told_at or self._placed_n < self._begun_n:
            return []
        self._told_at = piece.sequence
        self._ended = piece.run_id
        ends = Lines().add(piece)
        return [replace(event, n=self._placed_n, is_placed=True) for event in ends]

    def _go_before(self, piece: Piece) -> None:
        """It does not tell which run is open: that run may end behind the first events of the next
        one."""
        assert piece.sequence == self._told_at
        self._resumed_at = self._sequence = 0
        self._must_seek = True

    def _take_live(self, piece: Piece) -> list[Event]:
        if piece.sequence <= self._sequence:
            return super()._take_live(piece)
        if piece.sequence in self._ahead:
            return []
        if _number(piece) == 0 or self._is_too_early(piece) or not self._is_next(piece):
            self._must_read = True
            return []
        events, reached_n = self._new(piece)
        # An event in the middle of a run proves that nothing of another run was stored before it.
        # Its end does not: what it comes after is still to be read, and it is passed over then.
        if events and all(event.name not in _LAST for event in events):
            self._placed_n = max(self._placed_n, reached_n)
            self._move_to(piece.sequence)
        else:
            self._ahead[piece.sequence] = piece.run_id, reached_n
        return events

    def _is_too_early(self, piece: Piece) -> bool:
        """Whether it belongs to the next run although the open one has not ended."""
        n = _number(piece)
        return n is not None and n > self._n and self._open not in (None, piece.run_id)

    def _move_to(self, sequence: int) -> None:
        self._sequence = sequence
        if self._ahead:
            self._ahead = {at: each for at, each in self._ahead.items() if at > sequence}

    def _new(self, piece: Piece) -> tuple[list[Event], int]:
        """The events that are news, and the last number in the message."""
        reached_n = 0
        lines = self._lines.pop(piece.run_id, None) or Lines()
        events: list[Event] = []
        for event in lines.add(piece):
            if event.name == EventName.END:
                self._ended = piece.run_id
            reached_n = max(reached_n, event.n)
            if event.name not in _LAST:
                self._safe_at = max(self._safe_at, event.sequence)
            # The event at our position tells a reader that has just come which run is open.
            if event.n > self._n or (event.n == self._n and self._open is None):
                self._open = None if event.name == EventName.END else piece.run_id
                self._heard_at = piece.at
            if event.n > self._n:
                self._n = event.n
                is_safe = event.name not in _LAST
                events.append(event if is_safe else replace(event, sequence=self._safe_at))
        if lines.is_inside:
            self._lines[piece.run_id] = lines
        return events, reached_n

    # -- a position without a hint

    async def _seek(self) -> None:
        """Look for a message not far before the position: halving the stream, a few reads.

        What is looked for is an event in the middle of a run: everything after the position was
        stored after it. The end of a run may stand behind events of the next one.
        """
        first = await self._stored.after(self._sequence, self._subject, limit=1)
        if first.pending > _NEAR and self._is_before(first.pieces[0]):
            low, low_pending = first.pieces[0].sequence, first.pending
            high, high_pending = await self._stored.newest_sequence(self._subject), 0
            while low_pending - high_pending > _NEAR and high - low > 1:
                middle = (low + high) // 2
                found = await self._stored.after(middle, self._subject, limit=1)
                if found.pieces and self._is_before(found.pieces[0]):
                    low, low_pending = found.pieces[0].sequence, found.pending
                else:
                    high, high_pending = middle, found.pending + len(found.pieces)
            if low > 1:
                self._begin_again(low - 1)
        self._must_seek = False

    def _is_before(self, piece: Piece) -> bool:
        event = piece.first
        return event is not None and 0 < event.n <= self._n and event.name not in _LAST

    # -- a run that began before the end of the one before it is here

    def _await_rest(self, piece: Piece) -> None:
        self._rest_sequence = self._sequence
        now = asyncio.get_running_loop().time()
        self._give_up_at = now + max(0.0, LATE_S - _age_s(piece.at))

    async def _read_on(self) -> list[Event]:
        if self._rest_sequence is None:
            if self._must_seek:
                await self._seek()
            self._forget_halves()
            return await super()._read_on()
        return await self._read_rest(self._rest_sequence)

    async def _read_rest(self, sequence: int) -> list[Event]:
        """What the open run's own subject holds after `sequence`, up to its end."""
        assert self._open is not None
        self._must_read = False
        address = RunAddress(self.address.tenant, self.address.thread_id, UUID(self._open))
        try:
            batch = await self._stored.after(sequence, address.stored(self._prefix))
        except BaseException:
            self._must_read = True
            raise
        events: list[Event] = []
        for piece in batch.pieces:
            self._rest_sequence = piece.sequence
            if piece.sequence not in self._ahead:
                found, reached_n = self._new(piece)
                self._ahead[piece.sequence] = piece.run_id, reached_n
                events += found
            if self.open_run is None:
                break
        now = asyncio.get_running_loop().time()
        is_given_up = batch.is_last and now >= self._give_up_at
        if is_given_up and (lost := self.lost_end()) is not None:
            events.append(lost)
        if self.open_run is None:
            self._rest_sequence, self._check_at = None, None
            self._must_read = True
        elif not batch.is_last:
            self._must_read = True
        else:
            self._check_at = self._give_up_at
        return events

    def _take_buffered(self) -> list[Event]:
        if self._rest_sequence is None:
            return super()._take_buffered()
        if self._buffer:
            # One of these may be the end that is waited for; the stream has them all.
            self._buffer.clear()
            self._buffer_bytes = 0
            self._must_read = True
        return []

    def _place(self) -> int:
        inside = [lines.begins_at for lines in self._lines.values()]
        return min([*inside, self._sequence])

    def _begin_again(self, sequence: int) -> None:
        if sequence == 0:
            self._ahead.clear()
            self._told_at = self._safe_at = self._placed_n = 0
            self._begun_n = self._n
        self._sequence = sequence
        self._forget_halves()

    def _forget_halves(self) -> None:
        """Lines that began above the position are read from their beginning: what is read before
        them would otherwise take their place."""
        halves = {run for run, lines in self._lines.items() if lines.begins_at > self._sequence}
        if halves:
            self._lines = {run: each for run, each in self._lines.items() if run not in halves}
            self._ahead = {at: each for at, each in self._ahead.items() if each[0] not in halves}


def _number(piece: Piece) -> int | None:
    """Number of the event that begins this message; None when it goes on with a line."""
    found = None if piece.is_continued else _NUMBER.match(piece.body)
    return int(found[1]) if found else None


def _age_s(at: str) -> float:
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()
    except ValueError:
        return 0.0
