"""The writing end of a run's events: numbered, in order, once, and only by the attempt that owns
the run.

One publish is in flight at a time; what accumulates meanwhile travels in the next message: no delay
when idle, batches under load. Each publish says which message of the subject it follows
(`Nats-Expected-Last-Subject-Sequence`), so an attempt that another one overtook is refused by the
broker itself. No message id is needed: a publish whose answer was lost is found again by reading
the subject's last message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import nats.errors
import orjson
import structlog

from bedplate.kernel.errors import Fenced
from bedplate_proto.envelope import CONTINUES_HEADER, MESSAGE_BYTES_MAX
from bedplate_proto.runs import EVENTS_SKIPPED
from bedplate_proto.streams import RUN_EVENTS
from bedplate_proto.subjects import RunAddress
from bedplate_proto.vocabulary import EventName, RunStatus

from .broker import PUBLISH_S_MAX, Bus
from .event_line import Event, end_of, event_of, line_of

log = structlog.get_logger()

# More than this waiting for the broker: the graph waits too, instead of the worker growing.
BUFFER_BYTES_MAX = 8_000_000
_WRONG_LAST_SEQUENCE = 10071
_RETRY_S = 0.25

StillOurs = Callable[[], Awaitable[bool]]
"""Asks PostgreSQL whether the attempt still holds the run."""


class EventWriter:
    """`put` events, `pump` them out beside the graph, `drain` before finishing."""

    def __init__(
        self, bus: Bus, address: RunAddress, *, attempt: int, base_n: int, still_ours: StillOurs
    ) -> None:
        self._bus = bus
        self._subject = address.stored(bus.prefix)
        self._attempt = attempt
        self._still_ours = still_ours
        self._last_sequence = 0
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._in_flight = False
        self._more = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._empty = asyncio.Event()
        self._empty.set()
        self.n = base_n
        """Number of the last event that was put."""

    async def open(self, *, continues: bool, first: tuple[str, bytes]) -> None:
        """Write the first event: at the base, or after what an earlier attempt has written.

        In the second case it returns when the event is stored, because that shuts the earlier
        attempt out: whatever it still sends follows a message that is no longer the last one.
        Before, a zombie could take our first number. Raises `Fenced` when a later attempt was here.
        """
        if not continues:
            self.put(*first)
            return
        base_n, sent, failures = self.n, b"", 0
        rest: list[tuple[bytes, bool]] = []
        while True:
            last = await self._last_message()
            if last is not None and last[1] == sent:
                self._last_sequence = last[0]
                break
            self._last_sequence, self.n = await self._place_after(last, base_n)
            line = line_of(self.n + 1, self._attempt, *first)
            (sent, _), *rest = _messages([line])
            problem = await self._tried(sent, is_continued=False)
            if problem is None:
                break
            if problem.get("err_code") != _WRONG_LAST_SEQUENCE:
                failures += 1
                await self._wait_a_little(failures, problem)
        self.n += 1
        for body, is_continued in rest:
            await self._publish(body, is_continued)

    async def _place_after(
        self, last: tuple[int, bytes, bool] | None, base_n: int
    ) -> tuple[int, int]:
        """Sequence and number of the newest message of an earlier attempt."""
        skipped_n = base_n + EVENTS_SKIPPED * self._attempt
        if last is None or not _ends_whole(last):
            # It wrote nothing, or the broker lost it; or it died in, or just after, a line of
            # several messages: its number is not here, nor whose it is. Readers drop half a line
            # when the next message does not go on with it.
            if not await self._still_ours():
                raise Fenced("another attempt owns the run", subject=self._subject)
            return (0 if last is None else last[0]), skipped_n
        sequence, body, _ = last
        event = _last_event(body)
        if event.attempt > self._attempt:
            raise Fenced("a later attempt writes this run's events", subject=self._subject)
        if event.attempt < self._attempt - 1:
            # One in between wrote nothing, or its events are gone and a zombie wrote this since.
            return sequence, max(skipped_n, event.n)
        return sequence, max(base_n, event.n)

    def put(self, name: str, data: bytes) -> None:
        """Number an event and queue it. Await `room` now and then."""
        self.n += 1
        line = line_of(self.n, self._attempt, name, data)
        self._waiting.append(line)
        self._waiting_bytes += len(line)
        self._empty.clear()
        self._more.set()
        if self._waiting_bytes > BUFFER_BYTES_MAX:
            self._room.clear()

    async def room(self) -> None:
        """Returns once there is room for more events."""
        await self._room.wait()

    async def drain(self) -> None:
        """Returns when the broker has everything that was put. The caller sets the limit."""
        await self._empty.wait()

    async def pump(self) -> None:
        """Publish for ever; cancel it when done. Raises `Fenced` when another attempt has
        written."""
        while True:
            await self._more.wait()
            self._more.clear()
            while self._waiting:
                lines, self._waiting, self._waiting_bytes = self._waiting, [], 0
                self._room.set()
                await self.send(lines)
            self._empty.set()

    async def send(self, lines: list[bytes]) -> None:
        """Publish lines in as few messages as they fit in; returns when the broker has them."""
        for body, is_continued in _messages(lines):
            await self._publish(body, is_continued)

    async def _publish(self, body: bytes, is_continued: bool) -> None:
        failures = 0
        while (problem := await self._tried(body, is_continued=is_continued)) is not None:
            if problem.get("err_code") == _WRONG_LAST_SEQUENCE and await self._is_settled(body):
                return
            failures += 1
            await self._wait_a_little(failures, problem)

    async def _tried(self, body: bytes, *, is_continued: bool) -> dict[str, Any] | None:
        """Publish once, after the message we know as the last one; the problem, if any."""
        headers = {"Nats-Expected-Last-Subject-Sequence": str(self._last_sequence)}
        if is_continued:
            headers[CONTINUES_HEADER] = "1"
        try:
            reply = await self._bus.client.request(
                self._subject, body, timeout=PUBLISH_S_MAX, headers=headers
            )
            answer: dict[str, Any] = orjson.loads(reply.data)
        except (TimeoutError, nats.errors.Error, OSError) as error:
            return {"description": f"{type(error).__name__}: {error}"}
        if (problem := answer.get("error")) is None:
            self._last_sequence = answer["seq"]
        return problem

    async def _wait_a_little(self, failures: int, problem: dict[str, Any]) -> None:
        if failures == 1:
            log.warning("events.delayed", subject=self._subject, why=problem.get("description"))
        await asyncio.sleep(min(_RETRY_S * failures, 2.0))

    async def _is_settled(self, body: bytes) -> bool:
        """The subject's last message is not the one we wrote last. True: this body is stored
        already.

        False: publish again, after the message that is there: the broker lost or aged out what we
        had written, or a zombie got one in between (it may after a wipe, when sequences count anew
        and happen to meet). Who owns the run is for PostgreSQL to say.
        """
        last = await self._last_message()
        if last is not None and last[1] == body:
            self._last_sequence = last[0]
            return True
        if last is not None and _ends_whole(last) and _last_event(last[1]).attempt > self._attempt:
            raise Fenced("a later attempt writes this run's events", subject=self._subject)
        if not await self._still_ours():
            raise Fenced("another attempt owns the run", subject=self._subject)
        self._last_sequence = 0 if last is None else last[0]
        return False

    async def _last_message(self) -> tuple[int, bytes, bool] | None:
        """(sequence, body, whether it continues a line) of the newest message of the run."""
        request = orjson.dumps({"last_by_subj": self._subject})
        where = f"$JS.API.DIRECT.GET.{self._bus.stream(RUN_EVENTS.name)}"
        while True:
            try:
                reply = await self._bus.client.request(where, request, timeout=PUBLISH_S_MAX)
            except (TimeoutError, nats.errors.Error, OSError) as error:
                log.warning("events.delayed", subject=self._subject, why=type(error).__name__)
                await asyncio.sleep(_RETRY_S)
                continue
            headers = reply.headers or {}
            if headers.get("Status") == "404":
                return None
            return int(headers["Nats-Sequence"]), reply.data, CONTINUES_HEADER in headers


def _ends_whole(message: tuple[int, bytes, bool]) -> bool:
    """Whether the message holds the whole of its last line."""
    _, body, is_inside_line = message
    return body.endswith(b"\n") and not is_inside_line


def _last_event(body: bytes) -> Event:
    """The newest event of a message that ends with a whole line."""
    return event_of(body[:-1].rsplit(b"\n", 1)[-1], 0)


def _messages(lines: list[bytes]) -> list[tuple[bytes, bool]]:
    """Lines packed into messages; a line longer than a message goes on in the next ones."""
    packed: list[tuple[bytes, bool]] = []
    batch: list[bytes] = []
    size = 0
    for line in lines:
        if batch and size + len(line) > MESSAGE_BYTES_MAX:
            packed.append((b"".join(batch), False))
            batch, size = [], 0
        if len(line) > MESSAGE_BYTES_MAX:
            cuts = range(0, len(line), MESSAGE_BYTES_MAX)
            packed += [(line[at : at + MESSAGE_BYTES_MAX], at > 0) for at in cuts]
        else:
            batch.append(line)
            size += len(line)
    if batch:
        packed.append((b"".join(batch), False))
    return packed


async def close_events(
    bus: Bus,
    address: RunAddress,
    *,
    attempt: int,
    closing: Sequence[tuple[str, bytes]],
    limit_s: float,
    base_n: int = 0,
) -> None:
    """Write the last events of a run whose attempts were lost.

    Best effort: a reader that misses them finds the end in the run's row. `base_n` counts only
    where the stream holds nothing of the run.
    """

    async def ours() -> bool:
        return True

    writer = EventWriter(bus, address, attempt=attempt, base_n=base_n, still_ours=ours)
    with suppress(TimeoutError, Fenced):
        async with asyncio.timeout(limit_s):
            await writer.open(continues=True, first=closing[0])
            lines = [
                line_of(writer.n + k, attempt, name, data)
                for k, (name, data) in enumerate(closing[1:], start=1)
            ]
            await writer.send(lines)


def closing_of_failed_run(
    error: bytes, *, graph: str, finished_at: datetime | None
) -> list[tuple[str, bytes]]:
    """The last events of a run that ended in error without an attempt; `error` is JSON."""
    end = end_of(RunStatus.ERROR, error=error, values=None, finished_at=finished_at, graph=graph)
    return [(EventName.ERROR, error), (EventName.END, end)]
