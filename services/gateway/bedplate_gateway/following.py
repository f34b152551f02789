"""Clients that follow runs and threads: a live subscription each, heartbeats, and a watch over what
is lost.

Cast: a `Following` is one client's place in one run, a `ThreadFollowing` in one thread.
`Followings` owns all of this process. Its `beat` wakes those that have been silent for a heartbeat:
one loop for all, because a timer per idle client costs more than the client. Its `watch` asks
PostgreSQL every few seconds about all that is followed: which runs are over, how far the threads
have come. Whoever has not heard so reads the event log once more, and if the log has no more (the
broker lost it), the next look tells the client, who reads the row. `close` ends everything at once,
because the process stops: the clients come back to another gateway with their position.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from time import monotonic
from typing import Any, Generic, TypeVar
from uuid import UUID

from bedplate.bus.event_line import Event
from bedplate.bus.event_log import EventLog, Follower
from bedplate.bus.thread_log import ThreadFollower
from bedplate_proto.subjects import RunAddress, ThreadAddress
from bedplate_proto.threads import StateChanged
from bedplate_proto.vocabulary import EventName

from .rows import Rows

# A thread at work is read again every so many looks, in case its newest live message was dropped.
_LOOKS_PER_CHECK = 6
# A client that does not read is told of no more changes than that.
_PAUSES_MAX = 100
F = TypeVar("F", Follower, ThreadFollower)


class Pause(StrEnum):
    """What a follower hears besides events."""

    SILENCE = "silence"
    """Nothing came for a heartbeat."""
    LOST = "lost"
    """The rows say more than the log: read them. For a run that is the end."""
    STATE = "state"
    """Somebody has changed the thread's state."""
    GONE = "gone"
    """There is no such thread any more."""
    CLOSED = "closed"
    """This process stops."""


class _Place(ABC, Generic[F]):
    """Leave it with `close`, also when it was never read."""

    def __init__(
        self, owner: Followings, follower: F, heard: AbstractAsyncContextManager[F]
    ) -> None:
        self._owner = owner
        self._follower = follower
        self._heard = heard
        self._is_checked = False
        self._is_waiting = False
        self._pauses: list[Pause] = []
        self.spoke_at = monotonic()

    async def parts(self) -> AsyncGenerator[list[Event] | Pause]:
        """Events as they come, several at once, and pauses; ends after CLOSED or GONE, and for a
        run after its end event or LOST. Call `spoke` whenever the client was sent something."""
        while True:
            if self._pauses:
                pause = self._pauses.pop(0)
                self._is_checked = False
                yield pause
                if pause in (Pause.CLOSED, Pause.GONE) or self._ends_with(pause):
                    return
                continue
            self._is_waiting = True
            events = await self._follower.more()
            self._is_waiting = False
            self._is_checked = self._is_checked and not events
            if events:
                yield events
                if self._ends_with(events[-1].name):
                    return
            elif not self._pauses:
                self.spoke()
                yield Pause.SILENCE

    def spoke(self) -> None:
        """The client was sent something: it need not hear a heartbeat for a while."""
        self.spoke_at = monotonic()

    def beat(self) -> None:
        """Time for a heartbeat. Nothing for a client that is busy with what it got."""
        if self._is_waiting:
            self._follower.nudge()

    def interrupt(self, why: Pause) -> None:
        if len(self._pauses) < _PAUSES_MAX or why is Pause.CLOSED:
            self._pauses.append(why)
        self._follower.nudge()

    async def close(self) -> None:
        self._owner.left(self)
        await self._heard.__aexit__(None, None, None)

    @abstractmethod
    def _ends_with(self, name: str) -> bool: ...

    def _is_behind(self, *, is_behind: bool) -> None:
        """What the rows say. Behind them: the log is read again; said twice without news, it is
        lost. A client that is still busy with what it got has not missed anything yet."""
        if not is_behind or not self._is_waiting:
            self._is_checked = False
        elif self._is_checked:
            self.interrupt(Pause.LOST)
        else:
            self._is_checked = True
            self._follower.check()


class Following(_Place[Follower]):
    """One client's place in one run."""

    @property
    def address(self) -> RunAddress:
        return self._follower.address

    def told(self, *, is_active: bool) -> None:
        self._is_behind(is_behind=not is_active)

    def _ends_with(self, name: str) -> bool:
        return name in (EventName.END, Pause.LOST)


class ThreadFollowing(_Place[ThreadFollower]):
    """One client's place in one thread. `ends_with_thread`: it ends when the thread is gone; else
    the thread may also be one that is not there yet."""

    def __init__(
        self,
        owner: Followings,
        follower: ThreadFollower,
        heard: AbstractAsyncContextManager[ThreadFollower],
        *,
        ends_with_thread: bool,
        wants_states: bool,
    ) -> None:
        super().__init__(owner, follower, heard)
        self._ends_with_thread = ends_with_thread
        self._wants_states = wants_states

    @property
    def address(self) -> ThreadAddress:
        return self._follower.address

    @property
    def follower(self) -> ThreadFollower:
        return self._follower

    def told(self, *, events_n: int, is_active: bool, is_check_due: bool) -> None:
        """`events_n`: number of the last event of the thread's finished runs."""
        if is_active and is_check_due and self._is_waiting:
            self._follower.check()
        self._is_behind(is_behind=events_n > self._follower.n)

    def told_state(self) -> None:
        if self._wants_states:
            self.interrupt(Pause.STATE)

    def told_gone(self) -> None:
        if self._ends_with_thread:
            self.interrupt(Pause.GONE)

    def _ends_with(self, name: str) -> bool:
        return False


class Followings:
    def __init__(self, log: EventLog, rows: Rows, *, heartbeat_s: float) -> None:
        self._log = log
        self._rows = rows
        self._heartbeat_s = heartbeat_s
        self._runs: dict[UUID, set[Following]] = {}
        self._threads: dict[UUID, set[ThreadFollowing]] = {}
        self._is_closed = False
        self._looks = 0

    @property
    def count(self) -> int:
        return sum(len(places) for places in (*self._runs.values(), *self._threads.values()))

    async def follow(
        self, address: RunAddress, *, after_n: int = 0, from_sequence: int = 0, is_new: bool = False
    ) -> Following:
        """A place from which nothing is missed. `is_new`: the run is ordered after this returns."""
        heard = self._log.follow(
            address, after_n=after_n, from_sequence=from_sequence, is_new=is_new
        )
        following = Following(self, await heard.__aenter__(), heard)
        self._runs.setdefault(address.run_id, set()).add(following)
        if self._is_closed:
            following.interrupt(Pause.CLOSED)
        return following

    async def follow_thread(
        self,
        address: ThreadAddress,
        *,
        after_n: int = 0,
        from_sequence: int = 0,
        ends_with_thread: bool = False,
        wants_states: bool = False,
    ) -> ThreadFollowing:
        """A place in all runs of a thread, also of one that does not exist yet."""
        heard = self._log.follow_thread(address, after_n=after_n, from_sequence=from_sequence)
        following = ThreadFollowing(
            self,
            await heard.__aenter__(),
            heard,
            ends_with_thread=ends_with_thread,
            wants_states=wants_states,
        )
        self._threads.setdefault(address.thread_id, set()).add(following)
        if self._is_closed:
            following.interrupt(Pause.CLOSED)
        return following

    def reader(self, address: ThreadAddress, *, after_n: int) -> ThreadFollower:
        """One for what is stored alone; there is nothing to close."""
        return self._log.thread_reader(address, after_n=after_n)

    async def newest(self, address: RunAddress | ThreadAddress) -> Event | None:
        """The newest event that the log still has."""
        return await self._log.last(address)

    async def on_state_changed(self, hint: StateChanged) -> None:
        """Somebody has changed a thread's state, here or at another gateway."""
        for following in self._threads.get(hint.thread_id, ()):
            following.told_state()

    async def beat(self) -> None:
        """A loop's tick, several times per heartbeat."""
        due = monotonic() - self._heartbeat_s
        for places in (*self._runs.values(), *self._threads.values()):
            for place in places:
                if place.spoke_at <= due:
                    place.beat()

    async def watch(self) -> dict[str, int]:
        """A loop's tick: who has not heard what the rows say."""
        self._looks += 1
        report: dict[str, int] = {}
        if runs := list(self._runs):
            active = {row["run_id"] for row in await self._rows.all("find_active_runs", runs)}
            for run_id in runs:
                for following in self._runs.get(run_id, ()):
                    following.told(is_active=run_id in active)
            report |= {"followed": len(runs), "over": len(runs) - len(active)}
        if threads := list(self._threads):
            await self._watch_threads(threads)
            report["threads"] = len(threads)
        return report

    async def _watch_threads(self, threads: list[UUID]) -> None:
        rows = await self._rows.all("find_followed_threads", threads)
        found = {row["thread_id"]: row for row in rows}
        is_check_due = self._looks % _LOOKS_PER_CHECK == 0
        for thread_id in threads:
            row = found.get(thread_id)
            for following in self._threads.get(thread_id, ()):
                if row is None:
                    following.told_gone()
                else:
                    following.told(
                        events_n=row["events_n"],
                        is_active=row["is_active"],
                        is_check_due=is_check_due,
                    )

    def close(self) -> None:
        """End all of them, and those to come."""
        self._is_closed = True
        for places in (*self._runs.values(), *self._threads.values()):
            for place in places:
                place.interrupt(Pause.CLOSED)

    def left(self, place: _Place[Any]) -> None:
        if isinstance(place, Following):
            _discard(self._runs, place.address.run_id, place)
        elif isinstance(place, ThreadFollowing):
            _discard(self._threads, place.address.thread_id, place)


P = TypeVar("P")


def _discard(places: dict[UUID, set[P]], key: UUID, place: P) -> None:
    if open_ := places.get(key):
        open_.discard(place)
        if not open_:
            del places[key]
