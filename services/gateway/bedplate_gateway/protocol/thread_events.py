"""A thread's events as the protocol shows them: what is stored, then what comes, for ever.

Where the log has lost something, the rows fill in: the terminal lifecycle of a run whose end was
never stored, and, when all events of a thread have passed retention, its values, what it waits for
and how its last run ended. Those have the number the lost `end` had, so they are the same on every
connection and a client that has seen them is not told again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from pydantic_core import from_json

from bedplate.bus.event_line import Event, end_of
from bedplate.bus.thread_log import LATE_S, ThreadFollower
from bedplate_proto.subjects import ThreadAddress
from bedplate_proto.vocabulary import EventName, RunStatus, StreamMode

from ..access.access import Confirm
from ..following import Followings, Pause, ThreadFollowing
from ..json_text import dumped
from ..rows import Rows
from .envelopes import Envelope, made, ms_of, terminal_of
from .run_facts import KnownRuns, RunFacts
from .translation import envelopes_of, question, shown


class ThreadEvents:
    """All threads, for all connections of this process."""

    def __init__(
        self, followings: Followings, known: KnownRuns, rows: Rows, *, tenant: str
    ) -> None:
        self._followings = followings
        self._known = known
        self._rows = rows
        self._tenant = tenant

    async def open(
        self, thread_id: UUID, *, after_n: int, confirm: Confirm | None = None
    ) -> OpenThread:
        """From the first event after `after_n`; the thread need not exist yet. `confirm` is asked
        before anything of it is shown."""
        following = await self._followings.follow_thread(self.address(thread_id), after_n=after_n)
        return OpenThread(self, following, confirm)

    def address(self, thread_id: UUID) -> ThreadAddress:
        return ThreadAddress(self._tenant, thread_id)

    def reader(self, thread_id: UUID, *, after_n: int = 0) -> ThreadFollower:
        """For what is stored alone."""
        return self._followings.reader(self.address(thread_id), after_n=after_n)

    async def replayed(
        self, thread_id: UUID, *, after_n: int, up_to_n: int
    ) -> AsyncGenerator[Envelope]:
        """What is stored from one number to another."""
        follower = self.reader(thread_id, after_n=after_n)
        async for envelopes in self.all_stored(follower):
            for envelope in envelopes:
                if envelope.n > up_to_n:
                    return
                yield envelope

    async def all_stored(self, follower: ThreadFollower) -> AsyncGenerator[list[Envelope]]:
        """What the log holds after the position, and then what only the rows know."""
        async for events in follower.stored_parts():
            yield await self.shown(events)
        if missed := await self.missed(follower):
            yield missed

    async def first_n(self, thread_id: UUID) -> int:
        """The number of the first event that can still be replayed."""
        async for event in self.reader(thread_id).stored():
            return event.n
        row = await self._ended(thread_id)
        return 1 if row is None else row["events_n"] + 1

    async def shown(self, events: Sequence[Event]) -> list[Envelope]:
        envelopes: list[Envelope] = []
        for event in events:
            whole = await self.whole(event)
            envelopes += envelopes_of(whole, await self._known.facts(event.run_id))
        return envelopes

    async def whole(self, event: Event) -> Event:
        """An `end` that was never stored has no data: what the row says instead."""
        if event.name != EventName.END or event.data:
            return event
        row = await self._rows.one("find_ended_run", self._tenant, None, UUID(event.run_id))
        if row is None or row["run_id"] is None:
            gone = end_of(RunStatus.INTERRUPTED, error=None, values=None, finished_at=None)
            return replace(event, data=gone)
        return replace(event, data=_end_of_row(row))

    async def missed(self, follower: ThreadFollower) -> list[Envelope]:
        """What is news by now: of the log, and what the rows know and the log does not."""
        events, row = await self._caught_up(follower)
        missed = await self.shown(events)
        if row is None:
            return missed
        known_n = follower.n
        missed += await self.shown(_lost(follower))
        if _tells_more(row, follower):
            missed += [each for each in _settled(row) if each.comes_after(known_n)]
        follower.pass_over(row["events_n"])
        return missed

    async def lost(self, follower: ThreadFollower, *, only_resumable: bool = False) -> list[Event]:
        """The same for readers of the older kind: ends, and the values of the last run."""
        events, row = await self._caught_up(follower)
        if row is not None:
            known_n = follower.n
            events += _lost(follower)
            if _tells_more(row, follower):
                events += [each for each in _last_events(row) if each.n > known_n]
            follower.pass_over(row["events_n"])
        if not only_resumable:
            return events
        return [each for each in events if (await self._known.facts(each.run_id)).is_resumable]

    async def _caught_up(self, follower: ThreadFollower) -> tuple[list[Event], Any]:
        """What the log holds by now; and the thread's row, if it knows more than that.

        Rows are asked first. A run may have ended since the log was read, and all it told but its
        `end` was stored before its row said so: what the log does not hold now is lost.
        """
        row = await self._ended(follower.address.thread_id)
        if row is None or row["events_n"] <= follower.n:
            return [], None
        events = [event async for event in follower.stored()]
        knows_more = row["events_n"] > follower.n and not _end_may_come(row, follower)
        return events, row if knows_more else None

    async def pass_over(self, follower: ThreadFollower) -> None:
        """Whoever follows from now on need not be told of what has ended."""
        if (row := await self._ended(follower.address.thread_id)) is not None:
            follower.pass_over(row["events_n"])

    async def _ended(self, thread_id: UUID) -> Any:
        return await self._rows.one("find_ended_run", self._tenant, thread_id, None)


class OpenThread:
    """One connection's place in a thread."""

    def __init__(
        self, owner: ThreadEvents, following: ThreadFollowing, confirm: Confirm | None
    ) -> None:
        self._owner = owner
        self._confirm = confirm
        self._following = following
        self.close = following.close
        self.spoke = following.spoke

    @property
    def n(self) -> int:
        """Number of the last event that was returned."""
        return self._following.follower.n

    async def stored(self) -> AsyncGenerator[list[Envelope]]:
        """What is there; ends when it is all."""
        async for envelopes in self._owner.all_stored(self._following.follower):
            yield await self._confirmed(envelopes)

    async def parts(self) -> AsyncGenerator[list[Envelope] | Pause]:
        """What comes, and pauses; for ever, or up to CLOSED."""
        async for part in self._following.parts():
            if part is Pause.LOST:
                yield await self._confirmed(await self._owner.missed(self._following.follower))
            elif isinstance(part, Pause):
                yield part
            else:
                yield await self._confirmed(await self._owner.shown(part))

    async def _confirmed(self, envelopes: list[Envelope]) -> list[Envelope]:
        if envelopes and self._confirm is not None:
            await self._confirm()
        return envelopes


def _lost(follower: ThreadFollower) -> list[Event]:
    end = follower.lost_end()
    return [] if end is None else [end]


def _end_of_row(row: Any) -> bytes:
    error = None if row["error"] is None else row["error"].encode()
    return end_of(
        row["status"],
        error=error,
        values=None,
        finished_at=row["finished_at"],
        graph=row["graph_id"],
        waits=row["waits"],
    )


def _end_may_come(row: Any, follower: ThreadFollower) -> bool:
    """Only the `end` is missing, and its run has only just ended: it is on its way. If it is not, a
    follower is told to look again (`Followings.watch`)."""
    is_next = row["events_n"] == follower.n + 1 and follower.open_run == str(row["run_id"])
    return is_next and row["ended_s_ago"] < LATE_S


def _tells_more(row: Any, follower: ThreadFollower) -> bool:
    """Whether the last run that ended is another one than the follower has seen end."""
    return row["run_id"] is not None and str(row["run_id"]) != follower.ended_run


def _last_events(row: Any) -> list[Event]:
    """Values and end of a thread's last run as the rows show them."""
    n, run_id = row["events_n"], str(row["run_id"])
    end = Event(n, 1, EventName.END, _end_of_row(row), run_id=run_id)
    if row["values"] is None:
        return [end]
    return [Event(n - 1, 1, StreamMode.VALUES, row["values"].encode(), run_id=run_id), end]


def _settled(row: Any) -> list[Envelope]:
    """Questions, values and terminal lifecycle of a thread as its rows show it.

    The end alone has the last number: a client that is cut off before it comes back for it. Asked
    first: what a cut between questions and values loses must not be the question.
    """
    n, run_id, at = row["events_n"], str(row["run_id"]), row["finished_at"].isoformat()
    of_task: dict[str, Any] = from_json(row["interrupts"])
    envelopes = [
        made(
            n - 1,
            "input.requested",
            question(one),
            at_ms=ms_of(at),
            event_id=f"synth:{run_id}:input||{one['id']}",
        )
        for interrupts in of_task.values()
        for one in interrupts
    ]
    if row["values"] is not None:
        values = dumped(shown(from_json(row["values"]))).encode()
        envelopes.append(made(n - 1, "values", values, at_ms=ms_of(at)))
    end = Event(n, 1, EventName.END, _end_of_row(row), run_id=run_id)
    facts = RunFacts(row["graph_id"], speaks_protocol=True, is_resumable=True)
    return [*envelopes, terminal_of(end, facts)]
