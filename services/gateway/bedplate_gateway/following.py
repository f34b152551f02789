"""Clients that follow runs: a live subscription each, heartbeats, and a watch over what is lost.

Cast: a `Following` is one client's place in one run. `Followings` owns all of this process; its
`watch` asks PostgreSQL every few seconds which of the followed runs are still under way. For one
that is not, the client reads the event log once more, and if that has no end (the broker lost it),
the next look ends it from the row. `close` ends everything at once, because the process stops: the
clients come back to another gateway with their position.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from enum import StrEnum
from uuid import UUID

from bedplate.bus.event_line import Event
from bedplate.bus.event_log import EventLog, Follower
from bedplate_proto.subjects import RunAddress
from bedplate_proto.vocabulary import EventName

from .rows import Rows


class Pause(StrEnum):
    """What a follower hears besides events."""

    SILENCE = "silence"
    """Nothing came for a heartbeat."""
    LOST = "lost"
    """The run is over, but its end is not in the log: read the row."""
    CLOSED = "closed"
    """This process stops."""


class Following:
    """One client's place in one run; leave it with `close`, also when it was never read."""

    def __init__(self, owner: Followings, follower: Follower, stack: AsyncExitStack) -> None:
        self._owner = owner
        self._follower = follower
        self._stack = stack
        self._is_checked = False
        self._is_waiting = False
        self._pause: Pause | None = None
        self.address = follower.address

    async def parts(self, *, heartbeat_s: float) -> AsyncGenerator[list[Event] | Pause]:
        """Events as they come, several at once, and pauses; ends after the end event, LOST or
        CLOSED."""
        while True:
            if self._pause is not None:
                yield self._pause
                return
            self._is_waiting = True
            try:
                async with asyncio.timeout(heartbeat_s):
                    events = await self._follower.more()
            except TimeoutError:
                yield Pause.SILENCE
                continue
            self._is_waiting = False
            self._is_checked = self._is_checked and not events
            if events:
                yield events
                if events[-1].name == EventName.END:
                    return

    def told(self, *, is_active: bool) -> None:
        """What the row says. Over: the log is read again; said twice without news, it is lost.

        A client that is still busy with what it got has not missed anything yet.
        """
        if is_active or not self._is_waiting:
            self._is_checked = False
        elif self._is_checked:
            self.stop(Pause.LOST)
        else:
            self._is_checked = True
            self._follower.check()

    def stop(self, why: Pause) -> None:
        if self._pause is None:
            self._pause = why
            self._follower.nudge()

    async def close(self) -> None:
        self._owner.left(self)
        await self._stack.aclose()


class Followings:
    def __init__(self, log: EventLog, rows: Rows) -> None:
        self._log = log
        self._rows = rows
        self._open: dict[UUID, set[Following]] = {}
        self._is_closed = False

    @property
    def count(self) -> int:
        return sum(len(followings) for followings in self._open.values())

    async def follow(
        self, address: RunAddress, *, after_n: int = 0, from_sequence: int = 0, is_new: bool = False
    ) -> Following:
        """A place from which nothing is missed. `is_new`: the run is ordered after this returns."""
        stack = AsyncExitStack()
        follower = await stack.enter_async_context(
            self._log.follow(address, after_n=after_n, from_sequence=from_sequence, is_new=is_new)
        )
        following = Following(self, follower, stack)
        self._open.setdefault(address.run_id, set()).add(following)
        if self._is_closed:
            following.stop(Pause.CLOSED)
        return following

    async def newest(self, address: RunAddress) -> Event | None:
        """The run's newest event that the log still has."""
        return await self._log.last(address)

    async def watch(self) -> dict[str, int]:
        """A loop's tick: runs that are over although their followers have not heard it."""
        followed = [run_id for run_id, open_ in self._open.items() if open_]
        if not followed:
            return {}
        active = {row["run_id"] for row in await self._rows.all("find_active_runs", followed)}
        for run_id in followed:
            for following in self._open.get(run_id, ()):
                following.told(is_active=run_id in active)
        return {"followed": len(followed), "over": len(followed) - len(active)}

    def close(self) -> None:
        """End all of them, and those to come."""
        self._is_closed = True
        for followings in self._open.values():
            for following in followings:
                following.stop(Pause.CLOSED)

    def left(self, following: Following) -> None:
        run_id = following.address.run_id
        if open_ := self._open.get(run_id):
            open_.discard(following)
            if not open_:
                del self._open[run_id]
