"""A follower of a thread sees the events of all its runs once and in order of their numbers."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from bedplate.bus import topology
from bedplate.bus.event_line import position_of
from bedplate.bus.reader import BUFFER_BYTES_MAX
from bedplate.bus.thread_log import LATE_S, ThreadFollower
from bedplate.devstack.servers import Servers
from bedplate.testing.eventually import eventually

PATIENCE_S = 40.0


def numbers(found: list[Any]) -> list[int]:
    return [event.n for event in found]


async def fill(thread: Any, *lengths: int) -> list[UUID]:
    """Runs of so many events each, the last of them `end`."""
    n, runs = 0, []
    for length in lengths:
        runs.append(thread.run())
        for _ in range(length - 1):
            n += 1
            await thread.put(runs[-1], n)
        n += 1
        await thread.end(runs[-1], n)
    return runs


async def test_runs_are_read_one_after_another_and_live_ones_follow(
    threads: Any, read: Any
) -> None:
    thread = threads.new()
    await fill(thread, 3, 4)
    async with threads.log.follow_thread(thread.address) as follower:
        first = await read(follower, 7)
        run = thread.run()
        for n in (8, 9):
            await thread.put(run, n)
        await thread.end(run, 10)
        rest = await read(follower, 3)
    assert numbers(first + rest) == list(range(1, 11))
    assert [event.run_id for event in rest] == [str(run)] * 3
    assert [event.run_id for event in first] == [str(thread.runs[0])] * 3 + [
        str(thread.runs[1])
    ] * 4


async def test_a_thread_without_events_can_be_followed_before_its_first_run(
    threads: Any, read: Any
) -> None:
    thread = threads.new()
    async with threads.log.follow_thread(thread.address) as follower:
        await fill(thread, 2, 2)
        assert numbers(await read(follower, 4)) == [1, 2, 3, 4]


async def test_readers_of_a_thread_share_one_subscription(threads: Any, read: Any) -> None:
    thread = threads.new()
    async with (
        threads.log.follow_thread(thread.address) as one,
        threads.log.follow_thread(thread.address) as other,
    ):
        assert len(threads.log._tails) == 1
        await fill(thread, 3)
        assert numbers(await read(one, 3)) == numbers(await read(other, 3)) == [1, 2, 3]
    assert not threads.log._tails


@pytest.mark.parametrize("is_live", [False, True])
async def test_an_end_that_is_stored_late_comes_before_the_next_run(
    threads: Any, read: Any, is_live: bool
) -> None:
    thread = threads.new()
    first, second = thread.run(), thread.run()

    async def write() -> None:
        await thread.put(first, 1)
        await thread.put(first, 2)
        await thread.put(second, 4)
        await thread.put(second, 5)
        await thread.end(first, 3)
        await thread.end(second, 6)

    if not is_live:
        await write()
    async with threads.log.follow_thread(thread.address) as follower:
        if is_live:
            await write()
        found = await read(follower, 6)
    assert numbers(found) == [1, 2, 3, 4, 5, 6]
    assert [event.name for event in found] == ["e", "e", "end", "e", "e", "end"]


async def test_an_end_that_never_comes_is_given_up_and_numbered_for_everyone(
    threads: Any, read: Any
) -> None:
    thread = threads.new()
    first, second = thread.run(), thread.run()
    async with threads.log.follow_thread(thread.address) as follower:
        await thread.put(first, 1)
        assert numbers(await read(follower, 1)) == [1]
        began = asyncio.get_running_loop().time()
        await thread.put(second, 3)
        await thread.end(second, 4)
        found = await read(follower, 3)
    assert numbers(found) == [2, 3, 4]
    assert found[0].name == "end" and found[0].data == b"" and found[0].run_id == str(first)
    assert asyncio.get_running_loop().time() - began < LATE_S + 2
    # Whoever reads it later does not wait for it again, once it is old.
    again: list[Any] = []

    async def is_whole() -> bool:
        again[:] = await threads.stored(thread)
        return len(again) == 4

    await eventually(is_whole, within_s=LATE_S + 2)
    assert [(event.n, event.name, event.run_id) for event in again][1:] == [
        (event.n, event.name, event.run_id) for event in found
    ]
    # And when it comes after all, it is not told twice, nor does it close the run after it.
    await thread.end(first, 2)
    assert numbers(await threads.stored(thread, after_n=2)) == [3, 4]


async def test_the_end_of_a_run_that_never_started_is_told_where_it_stands(
    threads: Any, read: Any
) -> None:
    thread = threads.new()
    first, never = thread.run(), thread.run()
    async with threads.log.follow_thread(thread.address) as follower:
        await thread.put(first, 1)
        await thread.end(never, 0)
        await thread.put(first, 2)
        await thread.end(first, 3)
        live = await read(follower, 4)
        follower.check()
        follower.nudge()
        async with asyncio.timeout(PATIENCE_S):
            assert await follower.more() == []
    assert [(event.n, event.run_id) for event in live] == [
        (1, str(first)),
        (1, str(never)),
        (2, str(first)),
        (3, str(first)),
    ]
    assert await threads.stored(thread) == live
    position = position_of(live[1].id)
    assert position is not None
    rest = await threads.stored(thread, after_n=position[0], from_sequence=position[1])
    assert rest == live[2:]


async def test_hundreds_of_runs_that_never_started_do_not_stop_a_reader(threads: Any) -> None:
    thread = threads.new()
    run = thread.run()
    await thread.put(run, 1)
    for _ in range(300):
        await thread.end(thread.run(), 0)
    await thread.end(run, 2)
    assert numbers(await threads.stored(thread)) == [1] * 301 + [2]


async def test_every_id_is_a_place_to_go_on_from(threads: Any) -> None:
    thread = threads.new()
    await fill(thread, 3, 2, 4)
    whole = await threads.stored(thread)
    for at, event in enumerate(whole, start=1):
        n, sequence = position_of(event.id) or (0, 0)
        assert await threads.stored(thread, after_n=n, from_sequence=sequence) == whole[at:]
        # A number alone is enough, and a hint that is wrong costs time but no event.
        assert await threads.stored(thread, after_n=n) == whole[at:]
        assert await threads.stored(thread, after_n=n, from_sequence=10**6) == whole[at:]


async def test_a_number_far_on_is_found_without_reading_everything(threads: Any) -> None:
    thread, other = threads.new(), threads.new()
    late: tuple[UUID, int] | None = None
    n = 0
    for number in range(40):
        run = thread.run()
        for _ in range(30):
            n += 1
            await thread.put(run, n)
            if late is not None and n - late[1] == 12:
                await thread.end(*late)
                late = None
        await other.put(other.run(), 1)
        n += 1
        if number % 3:
            await thread.end(run, n)
        else:
            late = (run, n)
    assert late is not None
    await thread.end(*late)
    whole = await threads.stored(thread)
    assert numbers(whole) == list(range(1, n + 1))
    cost = {}
    for after_n in (0, 1, 30, 31, 32, 300, 620, 631, 900, 1200, n - 1, n):
        before = threads.bus.client.stats["in_msgs"]
        assert await threads.stored(thread, after_n=after_n) == whole[after_n:]
        cost[after_n] = threads.bus.client.stats["in_msgs"] - before
    # Reading all of it takes 1240 messages, and again what follows each late end.
    assert max(cost[after_n] for after_n in (1200, n - 1, n)) < 400 < 1240 < cost[0]


async def test_a_slow_reader_gets_everything_and_holds_little(threads: Any, read: Any) -> None:
    thread = threads.new()
    data = b'"%b"' % (b"x" * 200_000)
    async with threads.log.follow_thread(thread.address) as follower:
        n = 0
        for _ in range(3):
            run = thread.run()
            for _ in range(10):
                n += 1
                await thread.put(run, n, data=data)
            n += 1
            await thread.end(run, n)
        assert sum(len(message.data) for message in follower._buffer) <= BUFFER_BYTES_MAX
        seen: list[Any] = []
        while len(seen) < n:
            part = await read(follower, 1)
            assert sum(len(event.data) for event in part) <= 2_500_000
            seen += part
    assert numbers(seen) == list(range(1, n + 1))


async def test_the_end_of_a_run_that_never_started_has_one_number_for_everyone(
    threads: Any, read: Any
) -> None:
    """Also for who has missed live messages around it."""
    thread = threads.new()
    run, never = thread.run(), thread.run()
    follower = ThreadFollower(threads.bus, thread.address)
    heard: list[Any] = []

    async def hear(message: Any) -> None:
        heard.append(message)

    subscription = await threads.bus.client.subscribe(
        thread.address.live(threads.bus.prefix), cb=hear
    )
    # The events come from another connection: the broker must know of this one first.
    await threads.bus.client.flush()
    await thread.put(run, 1)
    assert numbers(await read(follower, 1)) == [1]
    await thread.put(run, 2)
    await thread.end(never, 0)
    await thread.end(run, 3)
    await eventually(lambda: len(heard) == 4, within_s=PATIENCE_S)
    # Not the end of the one that never started: the other end is the next number all the same.
    for at in (1, 3):
        follower.feed(heard[at])
    seen = await read(follower, 2)
    assert numbers(seen) == [2, 3]
    follower.check()
    (late,) = await read(follower, 1)
    whole = await threads.stored(thread)
    assert [(event.n, event.run_id) for event in whole] == [
        (1, str(run)),
        (2, str(run)),
        (2, str(never)),
        (3, str(run)),
    ]
    assert late == whole[2]
    assert await threads.stored(thread, after_n=2) == whole[2:]
    assert await threads.stored(thread, after_n=3) == []
    await subscription.unsubscribe()


async def test_killing_the_broker_in_the_middle_costs_no_event(
    threads: Any, servers: Servers, read: Any
) -> None:
    thread = threads.new()
    await fill(thread, 5)
    async with threads.log.follow_thread(thread.address) as follower:
        assert numbers(await read(follower, 5)) == [1, 2, 3, 4, 5]
        await asyncio.to_thread(servers.kill, "nats")
        await asyncio.to_thread(servers.start_one, "nats")
        await eventually(lambda: threads.far_bus.client.is_connected, within_s=PATIENCE_S)
        run = thread.run()
        await thread.put(run, 6)
        await thread.end(run, 7)
        assert numbers(await read(follower, 2)) == [6, 7]


async def test_a_stream_made_anew_is_read_on_without_numbers_going_back(
    threads: Any, servers: Servers, read: Any
) -> None:
    thread = threads.new()
    for _ in range(3):
        await fill(threads.new(), 5)
    await fill(thread, 5)
    async with threads.log.follow_thread(thread.address) as follower:
        assert numbers(await read(follower, 5)) == [1, 2, 3, 4, 5]
        await asyncio.to_thread(servers.wipe_nats)
        await eventually(lambda: threads.far_bus.client.is_connected, within_s=PATIENCE_S)
        await eventually(lambda: threads.bus.client.is_connected, within_s=PATIENCE_S)
        await topology.declare_on(threads.far_bus)
        run = thread.run()
        await thread.put(run, 6)
        await thread.end(run, 7)
        assert numbers(await read(follower, 2)) == [6, 7]
