"""From stored events to live ones: any reader of a thread, any faults, each event once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bedplate.bus.event_line import position_of
from bedplate.bus.thread_log import ThreadFollower
from bedplate.devstack.servers import Servers
from bedplate.testing.eventually import eventually

PATIENCE_S = 40.0


@dataclass(frozen=True)
class Written:
    """One run: the sizes of its events, whether its end is stored after the next run has begun,
    whether the broker dies before its last event, and a run that never started beside it."""

    sizes: list[int]
    is_late: bool
    has_never: bool
    is_broker_killed: bool


def written() -> st.SearchStrategy[Written]:
    sizes = st.lists(st.sampled_from([1, 50, 3000, 1_900_000]), min_size=1, max_size=4)
    # A broker costs a second: once or twice in all is enough.
    is_killed = st.integers(0, 15).map(lambda drawn: drawn == 15)
    return st.builds(Written, sizes, st.booleans(), st.booleans(), is_killed)


class Handoff:
    """A reader of a thread that drops live messages and leaves now and then, to come back with the
    id it saw last; and what it must have seen."""

    def __init__(
        self, threads: Any, thread: Any, is_dropped: list[bool], leaves: list[bool], after_n: int
    ) -> None:
        self.seen: list[Any] = []
        self._threads = threads
        self._thread = thread
        self._drops = iter(is_dropped)
        self._leaves = iter(leaves)
        self.follower = ThreadFollower(threads.bus, thread.address, after_n=after_n)
        threads.bus.on_disconnected.append(lambda: self.follower.distrust())
        threads.bus.on_reconnected.append(lambda: self.follower.check())

    async def hear(self, message: Any) -> None:
        if not next(self._drops, False):
            self.follower.feed(message)

    async def read(self) -> None:
        while True:
            for event in await self.follower.more():
                self.seen.append(event)
                if next(self._leaves, False):
                    # What else came with it goes with the connection.
                    n, sequence = position_of(event.id) or (0, 0)
                    self.follower = ThreadFollower(
                        self._threads.bus, self._thread.address, after_n=n, from_sequence=sequence
                    )
                    break

    def told(self) -> list[tuple[int, str, int]]:
        return [
            (event.n, event.run_id, 0 if event.name == "end" else len(event.data) - 2)
            for event in self.seen
            if event.attempt
        ]


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    runs=st.lists(written(), min_size=1, max_size=4),
    is_dropped=st.lists(st.booleans(), min_size=40, max_size=40),
    leaves=st.lists(st.integers(0, 5).map(lambda drawn: drawn == 5), min_size=0, max_size=30),
    after_n=st.just(0) | st.integers(0, 12),
)
async def test_a_reader_sees_each_event_once_whatever_happens_on_the_way(
    threads: Any,
    servers: Servers,
    runs: list[Written],
    is_dropped: list[bool],
    leaves: list[bool],
    after_n: int,
) -> None:
    """Live messages are dropped, the reader leaves and comes back, lines are long, ends are late,
    and the broker is killed and started again."""
    thread = threads.new()
    reader = Handoff(threads, thread, is_dropped, leaves, after_n)
    subscription = await threads.bus.client.subscribe(
        thread.address.live(threads.bus.prefix), cb=reader.hear
    )
    n, late, expected = 0, None, []

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        reading = group.create_task(reader.read())
        for each in runs:
            run = thread.run()
            for at, size in enumerate(each.sizes):
                if each.is_broker_killed and at == len(each.sizes) - 1:
                    await asyncio.to_thread(servers.restart, "nats", hard=True)
                    await eventually(lambda: threads.far_bus.client.is_connected, within_s=20)
                n += 1
                await thread.put(run, n, data=b'"%b"' % (b"x" * size))
                expected.append((n, str(run), size))
                if at == 0 and late is not None:
                    await thread.end(*late)
                    late = None
            if each.has_never:
                await thread.end(thread.run(), 0)
            n += 1
            expected.append((n, str(run), 0))
            if each.is_late:
                late = (run, n)
            else:
                await thread.end(run, n)
        if late is not None:
            await thread.end(*late)
        total = n

        def is_complete() -> bool:
            # The very last live message may be the dropped one: a gateway asks again then.
            reader.follower.check()
            return bool(reader.seen and reader.seen[-1].n >= total)

        if after_n < total:
            await eventually(is_complete, within_s=PATIENCE_S)
        reading.cancel()
    await subscription.unsubscribe()
    threads.bus.on_disconnected.pop()
    threads.bus.on_reconnected.pop()
    assert reader.told() == [each for each in expected if each[0] > after_n]
    # Ends without a number are told where they stand, also to who comes later.
    never = [event for event in reader.seen if not event.attempt]
    whole = await threads.stored(thread)
    assert set(never) <= {event for event in whole if not event.attempt}
    assert len(never) == len(set(never))
