"""All runs of a thread in one stream (contract streaming.md 2)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

import orjson

from bedplate.bus.event_line import Event, position_of
from bedplate.kernel.errors import NotFound
from bedplate_proto.vocabulary import EventName

from .access.access import Access
from .errors import Unprocessable
from .following import Followings, Pause, ThreadFollowing
from .protocol.run_facts import KnownRuns
from .protocol.thread_events import ThreadEvents
from .sse import HEARTBEAT, frame_of
from .state import States
from .stream import CutOff, Flow


class ThreadMode(StrEnum):
    RUN_MODES = "run_modes"
    """Every event of every run, and where a run is done."""
    LIFECYCLE = "lifecycle"
    """Only where runs begin and are done."""
    STATE_UPDATE = "state_update"
    """The state, when somebody changes it."""


# From the start, of resumable runs.
_FROM_START = ("-", "-1", "0")
Shows = Callable[[Event], bool]


@dataclass(frozen=True)
class Asked:
    """`last_event_id` None: from now on."""

    thread_id: UUID
    modes: Sequence[ThreadMode]
    last_event_id: str | None
    by: Access


class ThreadStreams:
    def __init__(
        self, followings: Followings, events: ThreadEvents, known: KnownRuns, states: States
    ) -> None:
        self._followings = followings
        self._events = events
        self._known = known
        self._states = states

    async def join(self, asked: Asked) -> Flow:
        """Raises `NotFound` for the thread, `Unprocessable` for an id that is none."""
        text = asked.last_event_id
        position = None if text in (None, *_FROM_START) else position_of(text or "")
        if text not in (None, *_FROM_START) and position is None:
            raise Unprocessable("Last-Event-ID: must be '-' or the id of an event of this stream")
        await self._states.check_thread(asked.thread_id)
        address = self._events.address(asked.thread_id)
        if text is None and (newest := await self._followings.newest(address)) is not None:
            position = newest.n, newest.sequence
        after_n, from_sequence = position or (0, 0)
        following = await self._followings.follow_thread(
            address,
            after_n=after_n,
            from_sequence=from_sequence,
            ends_with_thread=True,
            wants_states=ThreadMode.STATE_UPDATE in asked.modes,
        )
        if text is None and position is None:
            await self._events.pass_over(following.follower)
        chunks = self._chunks(following, asked, only_resumable=text in _FROM_START)
        return Flow(chunks=chunks, close=following.close)

    async def _chunks(
        self, following: ThreadFollowing, asked: Asked, *, only_resumable: bool
    ) -> AsyncGenerator[bytes]:
        shows = _shows(asked.modes)
        async for events in following.follower.stored_parts():
            kept = [event for event in events if not only_resumable or await self._is_kept(event)]
            if chunk := _frames(kept, shows):
                yield chunk
                following.spoke()
        lost = await self._events.lost(following.follower, only_resumable=only_resumable)
        if chunk := _frames(lost, shows):
            yield chunk
            following.spoke()
        async for part in following.parts():
            match part:
                case Pause.CLOSED:
                    # It never ends by itself: only a stream that breaks is opened again.
                    raise CutOff
                case Pause.GONE:
                    return
                case Pause.SILENCE:
                    chunk = HEARTBEAT
                case Pause.STATE:
                    chunk = await self._state(following, asked)
                case Pause.LOST:
                    chunk = _frames(await self._events.lost(following.follower), shows)
                case events:
                    chunk = _frames(events, shows)
            if chunk:
                yield chunk
                following.spoke()

    async def _is_kept(self, event: Event) -> bool:
        return (await self._known.facts(event.run_id)).is_resumable

    async def _state(self, following: ThreadFollowing, asked: Asked) -> bytes:
        try:
            state = await self._states.read(asked.thread_id, place={}, subgraphs=False, by=asked.by)
        except NotFound:
            return b""
        data = b'{"state":%b,"thread_id":"%b"}' % (state, str(asked.thread_id).encode())
        n, sequence = following.follower.position
        event = Event(n, 0, ThreadMode.STATE_UPDATE, data, sequence)
        return frame_of(event, has_id=True)


def _shows(modes: Sequence[ThreadMode]) -> Shows:
    if ThreadMode.RUN_MODES in modes:
        return lambda event: event.name != EventName.PROTOCOL
    if ThreadMode.LIFECYCLE in modes:
        return lambda event: event.name in (EventName.METADATA, EventName.END)
    return lambda event: False


def _frames(events: Sequence[Event], shows: Shows) -> bytes:
    return b"".join(
        frame_of(_done(event) if event.name == EventName.END else event, has_id=True)
        for event in events
        if shows(event)
    )


def _done(end: Event) -> Event:
    data = orjson.dumps({"status": "run_done", "run_id": end.run_id})
    return replace(end, name=EventName.METADATA, data=data)
