"""What a client gets while it waits: a run's events as frames, or its result behind newlines."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bedplate.bus.event_line import Event, position_of
from bedplate_proto.subjects import RunAddress
from bedplate_proto.vocabulary import CancelAction, EventName, StreamMode

from .access.access import Access
from .ending import Ending, ending_of, failure
from .following import Following, Followings, Pause
from .json_text import dumped
from .runs import Found, Ready, Runs
from .sse import HEARTBEAT, Wanted, frame_of, frames_of, only

KEEP_ALIVE = b"\n"
# Positions that mean "from the start".
_FROM_START = ("-1", "-", "0")


class CutOff(Exception):
    """This process stops before the answer is whole: end the connection, so that the client sees
    it."""


Chunks = AsyncGenerator[bytes]


@dataclass(frozen=True, kw_only=True)
class Flow:
    """`chunks` end by themselves; `close` it in any case. `abandon`: the client left before."""

    chunks: Chunks
    close: Callable[[], Awaitable[None]]
    abandon: Callable[[], Coroutine[Any, Any, None]] | None = None


@dataclass(frozen=True, kw_only=True)
class RunFlow(Flow):
    address: RunAddress


class Streams:
    def __init__(self, runs: Runs, followings: Followings) -> None:
        self._runs = runs
        self._followings = followings

    # -- a new run

    async def stream(self, ready: Ready, *, is_resumable: bool, is_cancelled: bool) -> RunFlow:
        """Order the run and follow it from its first event."""
        following = await self._ordered(ready)
        return self._flow(following, self._frames(following, has_ids=is_resumable), is_cancelled)

    async def wait(self, ready: Ready, *, is_cancelled: bool) -> RunFlow:
        """Order the run; its result."""
        following = await self._ordered(ready)
        return self._flow(following, self._result(following), is_cancelled)

    async def _ordered(self, ready: Ready) -> Following:
        following = await self._followings.follow(ready.address, is_new=True)
        try:
            await self._runs.create(ready)
        except BaseException:
            await following.close()
            raise
        return following

    # -- a run that is there

    async def join(self, found: Found, *, is_cancelled: bool) -> RunFlow:
        """The result of a run, at once if it is over."""
        newest = await self._followings.newest(found.address)
        if newest is not None and newest.name == EventName.END:
            return self._told(found, await self._body(ending_of(newest.data), found.address))
        if found.status.is_terminal:
            ending = await self._runs.ending(found.address.run_id)
            return self._told(found, await self._body(ending, found.address))
        following = await self._after(found, newest)
        return self._flow(following, self._result(following), is_cancelled)

    async def rejoin(
        self,
        found: Found,
        *,
        modes: Sequence[StreamMode] | None,
        last_event_id: str | None,
        is_cancelled: bool,
    ) -> RunFlow:
        """Events after a position, or from now on; a position counts only for a resumable run."""
        wanted = None if modes is None else only(modes)
        if last_event_id is None or not found.is_resumable:
            newest = await self._followings.newest(found.address)
            if found.status.is_terminal or (newest and newest.name == EventName.END):
                return self._told(found, b"")
            following = await self._after(found, newest)
        else:
            position = None if last_event_id in _FROM_START else position_of(last_event_id)
            after_n, from_sequence = position or (0, 0)
            if found.status.is_terminal:
                newest = await self._followings.newest(found.address)
                if newest is None:
                    return self._told(found, await self._forgotten(found, after_n, wanted))
                if newest.n <= after_n:
                    return self._told(found, b"")
            following = await self._followings.follow(
                found.address, after_n=after_n, from_sequence=from_sequence
            )
        frames = self._frames(following, has_ids=found.is_resumable, wanted=wanted)
        return self._flow(following, frames, is_cancelled)

    async def cancel(self, address: RunAddress, action: CancelAction) -> RunFlow:
        """Stop a run; `{}` once it has really stopped."""
        following = await self._followings.follow(address)
        try:
            is_over = await self._runs.cancel(address, action)
        except BaseException:
            await following.close()
            raise
        chunks = _once(b"{}") if is_over else self._stopped(following)
        return RunFlow(address=address, chunks=chunks, close=following.close)

    async def removed(self, address: RunAddress, *, by: Access) -> None:
        """Remove a run; returns when it is gone, or its executor takes too long over it."""
        following = await self._followings.follow(address)
        try:
            if not await self._runs.delete(address, by=by):
                async for part in following.parts():
                    if part is Pause.SILENCE:
                        return
        finally:
            await following.close()

    async def _after(self, found: Found, newest: Event | None) -> Following:
        n, sequence = (newest.n, newest.sequence) if newest is not None else (0, 0)
        return await self._followings.follow(found.address, after_n=n, from_sequence=sequence)

    # -- chunks

    async def _frames(
        self, following: Following, *, has_ids: bool, wanted: Wanted | None = None
    ) -> Chunks:
        async for part in following.parts():
            match part:
                case Pause.CLOSED:
                    # One that ends looks whole to a client, if its run is over when it asks.
                    raise CutOff
                case Pause.GONE | Pause.STATE:
                    return
                case Pause.SILENCE:
                    chunk = HEARTBEAT
                case Pause.LOST:
                    chunk = await self._lost_end(following.address, has_ids=has_ids)
                case events:
                    # Nothing when none of them is wanted; then the heartbeat stays due.
                    chunk = frames_of(events, has_ids=has_ids, wanted=wanted)
            if chunk:
                yield chunk
                following.spoke()

    async def _forgotten(self, found: Found, after_n: int, wanted: Wanted | None) -> bytes:
        """A run whose events are no longer kept: what it came to. Without ids: there is nothing to
        go on from."""
        if await self._runs.is_seen(found, up_to_n=after_n):
            return b""
        about = dumped({"run_id": str(found.address.run_id), "attempt": found.attempt})
        ending = await self._runs.ending(found.address.run_id)
        told: list[tuple[str, bytes]] = []
        if after_n == 0:
            told.append((EventName.METADATA, about.encode()))
        if ending.values is not None:
            told.append((StreamMode.VALUES, ending.values))
        if ending.is_failure and ending.error is not None:
            told.append((EventName.ERROR, ending.error))
        events = [Event(0, found.attempt, name, data) for name, data in told]
        return frames_of(events, has_ids=False, wanted=wanted)

    async def _lost_end(self, address: RunAddress, *, has_ids: bool) -> bytes:
        ending = await self._runs.ending(address.run_id)
        if not ending.is_failure or ending.error is None:
            return b""
        event = Event(n=0, attempt=0, name=EventName.ERROR, data=ending.error)
        return frame_of(event, has_id=has_ids)

    async def _result(self, following: Following) -> Chunks:
        yield KEEP_ALIVE
        newest: Event | None = None
        async for part in following.parts():
            match part:
                case Pause.SILENCE:
                    yield KEEP_ALIVE
                case Pause.CLOSED | Pause.GONE | Pause.STATE:
                    raise CutOff
                case Pause.LOST:
                    ending = await self._runs.ending(following.address.run_id)
                    yield await self._body(ending, following.address)
                case events:
                    told = [event for event in events if event.name == StreamMode.VALUES]
                    newest = told[-1] if told else newest
                    if events[-1].name == EventName.END:
                        ending = _with_values(ending_of(events[-1].data), newest)
                        yield await self._body(ending, following.address)

    async def _stopped(self, following: Following) -> Chunks:
        yield KEEP_ALIVE
        async for part in following.parts():
            if part is Pause.CLOSED:
                raise CutOff
            if part is Pause.SILENCE:
                yield KEEP_ALIVE
        yield b"{}"

    async def _body(self, ending: Ending, address: RunAddress) -> bytes:
        if ending.is_failure:
            return failure(ending.error)
        if ending.values is None:
            ending = await self._runs.ending(address.run_id)
        return ending.values or b"{}"

    def _flow(self, following: Following, chunks: Chunks, is_cancelled: bool) -> RunFlow:
        async def abandon() -> None:
            await self._runs.abandon(following.address)

        return RunFlow(
            address=following.address,
            chunks=chunks,
            close=following.close,
            abandon=abandon if is_cancelled else None,
        )

    def _told(self, found: Found, body: bytes) -> RunFlow:
        return RunFlow(address=found.address, chunks=_once(body), close=_nothing)


def _with_values(ending: Ending, told: Event | None) -> Ending:
    """With the values that the end does not repeat, if they were heard."""
    if told is None or told.n != ending.values_n:
        return ending
    return replace(ending, values=told.data)


async def _once(body: bytes) -> Chunks:
    if body:
        yield body


async def _nothing() -> None:
    """There is nothing to close."""
