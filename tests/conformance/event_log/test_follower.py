"""A follower sees every event after its position once and in order, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bedplate.bus import topology
from bedplate.bus.event_line import position_of
from bedplate.bus.event_log import FOLLOWER_BYTES_MAX, Follower
from bedplate.devstack.servers import Servers
from bedplate.testing.eventually import eventually

END = ("end", b'{"status":"success"}')
PATIENCE_S = 40.0


def numbers(found: list[Any]) -> list[int]:
    return [event.n for event in found]


async def test_a_follower_that_came_first_sees_the_run_live(events: Any, all_of: Any) -> None:
    address = events.address()
    async with events.log.follow(address, is_new=True) as follower:
        await events.log.last(address)  # answered: the stranger's broker knows of us
        await events.write(address, ("a", b"1"), ("b", b"2"), END)
        assert numbers(await all_of(follower)) == [1, 2, 3]


async def test_a_follower_that_is_late_sees_what_was_and_what_comes(
    events: Any, all_of: Any
) -> None:
    address = events.address()
    async with events.writing(address) as writer:
        for _ in range(50):
            writer.put("token", b"{}")
        await writer.drain()
        async with events.log.follow(address) as follower, asyncio.TaskGroup() as group:
            reading = group.create_task(all_of(follower))
            for _ in range(50):
                writer.put("token", b"{}")
                await asyncio.sleep(0)
            writer.put(*END)
        assert numbers(reading.result()) == list(range(1, 102))


async def test_many_followers_share_one_subscription(events: Any, all_of: Any) -> None:
    address = events.address()
    before = events.bus.client.stats["in_msgs"]

    async def follow() -> list[int]:
        async with events.log.follow(address, is_new=True) as follower:
            ready.release()
            return numbers(await all_of(follower))

    ready = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as group:
        readings = [group.create_task(follow()) for _ in range(20)]
        for _ in readings:
            await ready.acquire()
        # The writer is a stranger: an answer on the readers' connection says that they subscribed.
        await events.log.last(address)
        await events.write(address, ("a", b"1"), END)
    assert all(reading.result() == [1, 2] for reading in readings)
    # Two events live in at most two messages; twenty subscriptions would have got forty.
    assert events.bus.client.stats["in_msgs"] - before <= 5


async def test_a_follower_that_left_leaves_the_others_alone(events: Any, all_of: Any) -> None:
    address = events.address()
    async with events.log.follow(address, is_new=True) as stays:
        async with events.log.follow(address, is_new=True):
            pass
        await events.log.last(address)
        await events.write(address, END)
        assert numbers(await all_of(stays)) == [1]
    async with events.log.follow(address) as again:
        assert numbers(await all_of(again)) == [1]


async def test_a_reader_that_reconnects_anywhere_sees_each_event_once(
    events: Any, all_of: Any
) -> None:
    seed = Random().randrange(2**32)
    print(f"seed {seed}")
    rng = Random(seed)
    address = events.address()
    async with events.writing(address) as writer:
        for number in range(200):
            long = number % 60 == 59
            writer.put("token", b'"%b"' % (b"x" * (1_500_000 if long else 20)))
            if number % 7 == 0:
                await writer.drain()
        writer.put(*END)
    seen: list[int] = []
    position = (0, 0)
    while True:
        async with events.log.follow(
            address, after_n=position[0], from_sequence=position[1]
        ) as follower:
            patience = rng.randrange(1, 40)
            async with asyncio.timeout(PATIENCE_S):
                async for event in follower.events():
                    seen.append(event.n)
                    found = position_of(event.id)
                    assert found is not None
                    position = found
                    patience -= 1
                    if event.name == "end" or patience == 0:
                        break
        if event.name == "end":
            break
    assert seen == list(range(1, 202))


async def test_a_hint_that_is_wrong_costs_time_but_no_event(events: Any) -> None:
    address = events.address()
    for _ in range(10):
        await events.write(events.address(), ("noise", b"{}"))
    await events.write(address, *[("a", b"1")] * 9, END)
    for after_n in (0, 4, 9):
        for hint in (0, 1, 3, 10**6):
            found = await events.read(address, after_n=after_n, from_sequence=hint)
            assert numbers(found) == list(range(after_n + 1, 11)), (after_n, hint)


async def test_a_slow_reader_gets_everything_and_holds_little(events: Any, all_of: Any) -> None:
    address = events.address()
    data = b'"%b"' % (b"x" * 100_000)
    async with events.log.follow(address, is_new=True) as follower:
        await events.log.last(address)  # answered: the stranger's broker knows of us
        await events.write(address, *[("chunk", data)] * 60, END)
        held = sum(len(message.data) for message in follower._buffer)
        assert held <= FOLLOWER_BYTES_MAX
        assert numbers(await all_of(follower)) == list(range(1, 62))


async def test_a_cancelled_wait_loses_nothing(events: Any) -> None:
    address = events.address()
    seen: list[int] = []
    async with events.log.follow(address) as follower, asyncio.TaskGroup() as group:
        writing = group.create_task(events.write(address, *[("t", b"{}")] * 500, END))
        async with asyncio.timeout(PATIENCE_S):
            while len(seen) < 501:
                try:
                    async with asyncio.timeout(0.001):
                        seen += numbers(await follower.more())
                except TimeoutError:
                    continue
        await writing
    assert seen == list(range(1, 502))


async def test_a_nudge_wakes_a_reader_that_waits_for_nothing(events: Any) -> None:
    address = events.address()
    async with events.log.follow(address) as follower, asyncio.TaskGroup() as group:
        waiting = group.create_task(follower.more())
        follower.nudge()
        async with asyncio.timeout(PATIENCE_S):
            assert await waiting == []


async def test_a_reader_that_missed_the_very_last_message_finds_it_when_asked_to_check(
    events: Any,
) -> None:
    address = events.address()
    follower = Follower(events.bus, address)
    await events.write(address, ("a", b"1"))
    assert numbers(await follower.more()) == [1]
    # The live copy of this one is dropped: nobody feeds this follower.
    await events.write(address, END, attempt=2)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(follower.more())
        follower.check()
        async with asyncio.timeout(PATIENCE_S):
            assert numbers(await waiting) == [2]


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    sizes=st.lists(st.sampled_from([1, 50, 3000, 400_000, 1_200_000]), min_size=1, max_size=12),
    is_dropped=st.lists(st.booleans(), min_size=40, max_size=40),
    after_n=st.just(0) | st.integers(0, 13),
    stops=st.sets(st.integers(0, 11)),
)
async def test_dropped_live_messages_make_no_hole(
    events: Any, sizes: list[int], is_dropped: list[bool], after_n: int, stops: set[int]
) -> None:
    """Whatever is dropped between broker and follower, and however the lines were packed."""
    address = events.address()
    follower = Follower(events.bus, address, after_n=after_n, is_new=after_n == 0)
    drops = iter(is_dropped)

    async def heard(message: Any) -> None:
        if not next(drops, False):
            follower.feed(message)

    seen: list[Any] = []

    async def read() -> None:
        while not seen or seen[-1].name != "end":
            seen.extend(await follower.more())

    subscription = await events.bus.client.subscribe(address.live(events.bus.prefix), cb=heard)
    try:
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
            reading = group.create_task(read())
            async with events.writing(address) as writer:
                for number, size in enumerate(sizes):
                    writer.put("e", b'"%b"' % (b"x" * size))
                    if number in stops:
                        await writer.drain()
                writer.put(*END)
            # What a gateway does when the run's row says it is over.
            follower.check()
            await reading
    finally:
        await subscription.unsubscribe()
    total = len(sizes) + 1
    expected = list(range(after_n + 1, total + 1)) if after_n < total else [total]
    assert numbers(seen) == expected
    assert [len(event.data) - 2 for event in seen if event.name == "e"] == sizes[after_n:]


async def test_killing_the_broker_in_the_middle_costs_no_event(
    events: Any, servers: Servers, all_of: Any
) -> None:
    address = events.address()
    async with events.log.follow(address, is_new=True) as follower, asyncio.TaskGroup() as group:
        reading = group.create_task(all_of(follower))
        async with events.writing(address) as writer:
            for _ in range(100):
                writer.put("token", b"{}")
            await writer.drain()
            await asyncio.to_thread(servers.kill, "nats")
            for _ in range(100):
                writer.put("token", b"{}")
            await asyncio.to_thread(servers.start_one, "nats")
            for _ in range(100):
                writer.put("token", b"{}")
            writer.put(*END)
        assert numbers(await reading) == list(range(1, 302))


async def test_wiping_the_broker_in_the_middle_never_turns_numbers_back(
    events: Any, servers: Servers, all_of: Any
) -> None:
    address = events.address()
    async with events.log.follow(address, is_new=True) as follower, asyncio.TaskGroup() as group:
        reading = group.create_task(all_of(follower))
        async with events.writing(address) as writer:
            for _ in range(100):
                writer.put("token", b"{}")
                await asyncio.sleep(0)
            await writer.drain()
            await asyncio.to_thread(servers.wipe_nats)
            for _ in range(100):
                writer.put("token", b"{}")
            await eventually(lambda: events.bus.client.is_connected, within_s=PATIENCE_S)
            await topology.declare_on(events.bus)
            await writer.drain()
            writer.put(*END)
        found = numbers(await reading)
    # The reader had everything before, and the writer still had everything after.
    assert found == list(range(1, 202))


@pytest.mark.parametrize("is_behind", [False, True])
async def test_a_reader_that_was_away_while_the_stream_was_made_anew_reads_all_of_it(
    events: Any, servers: Servers, all_of: Any, is_behind: bool
) -> None:
    address = events.address()
    for _ in range(30):
        await events.write(events.address(), ("noise", b"{}"))
    await events.write(address, *[("a", b"1")] * 5)
    follower = Follower(events.bus, address, after_n=0)
    if is_behind:
        assert numbers(await follower.more()) == [1, 2, 3, 4, 5]
    await asyncio.to_thread(servers.wipe_nats)
    await eventually(lambda: events.bus.client.is_connected, within_s=PATIENCE_S)
    await eventually(lambda: events.far_bus.client.is_connected, within_s=PATIENCE_S)
    await topology.declare_on(events.bus)
    # Not fed: the live copies went by while it was not connected.
    await events.write(address, ("b", b"2"), END, attempt=2, base_n=5)
    follower.check()
    found = await all_of(follower)
    assert [event.name for event in found] == ["b", "end"]
    assert numbers(found)[0] > 5
