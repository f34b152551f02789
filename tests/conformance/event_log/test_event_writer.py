"""A run's events are numbered without holes, stored in order and once, by the run's owner."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bedplate.bus.event_line import line_of
from bedplate.bus.event_writer import BUFFER_BYTES_MAX, close_events
from bedplate.kernel.errors import Fenced
from bedplate.ledger.messages import Messages
from bedplate_proto.envelope import CONTINUES_HEADER, MESSAGE_BYTES_MAX
from bedplate_proto.runs import EVENTS_SKIPPED

END = ("end", b'{"status":"success"}')


def parts(found: list[Any]) -> list[tuple[int, int, str]]:
    return [(event.n, event.attempt, event.name) for event in found]


async def messages(events: Any, address: Any) -> int:
    """How many messages the run's subject holds."""
    context = events.bus.client.jetstream(timeout=5)
    subject = address.stored(events.bus.prefix)
    info = await context.stream_info("RUN_EVENTS", subjects_filter=subject)
    return (info.state.subjects or {}).get(subject, 0)


async def test_events_are_numbered_from_the_base_without_holes(events: Any) -> None:
    address = events.address()
    await events.write(address, ("a", b"1"), ("b", b"2"), END, base_n=41)
    assert parts(await events.read(address)) == [(42, 1, "a"), (43, 1, "b"), (44, 1, "end")]


async def test_what_accumulates_while_a_publish_is_in_flight_travels_together(
    events: Any,
) -> None:
    address = events.address()
    await events.write(address, *[("token", b"{}")] * 2000, END)
    assert len(await events.stored(address)) == 2001
    assert await messages(events, address) < 20


async def test_the_next_attempt_goes_on_after_the_last_number(events: Any) -> None:
    address = events.address()
    await events.write(address, ("a", b"1"), ("b", b"2"))
    await events.write(address, ("c", b"3"), END, attempt=2)
    expected = [(1, 1, "a"), (2, 1, "b"), (3, 2, "c"), (4, 2, "end")]
    assert parts(await events.read(address)) == expected


async def test_the_next_attempt_skips_ahead_when_the_events_before_are_gone(events: Any) -> None:
    address = events.address()
    await events.write(address, END, attempt=2, base_n=10)
    assert parts(await events.read(address)) == [(10 + 2 * EVENTS_SKIPPED + 1, 2, "end")]


async def test_a_line_longer_than_a_message_goes_on_in_the_next_ones(events: Any) -> None:
    address = events.address()
    long = b'"%b"' % (b"x" * (2 * MESSAGE_BYTES_MAX + 17))
    await events.write(address, ("a", b"1"), ("long", long), ("b", b"2"), END)
    found = await events.read(address)
    assert parts(found) == [(1, 1, "a"), (2, 1, "long"), (3, 1, "b"), (4, 1, "end")]
    assert found[1].data == long
    assert await messages(events, address) >= 5


async def test_the_edges_of_a_message_lose_no_byte(events: Any) -> None:
    address = events.address()
    overhead = len(line_of(1, 1, "e", b'""'))
    sizes = [MESSAGE_BYTES_MAX - overhead + off for off in (-1, 0, 1)]
    sizes += [2 * MESSAGE_BYTES_MAX - overhead + off for off in (-1, 0, 1)]
    data = [b'"%b"' % (b"y" * size) for size in sizes]
    await events.write(address, *[("e", each) for each in data], END)
    assert [event.data for event in await events.read(address)][:-1] == data


async def test_half_a_line_of_a_dead_attempt_is_never_shown(events: Any) -> None:
    """Cut where the half ends in a brace: only the message's own beginning tells."""
    address = events.address()
    await events.write(address, ("a", b"1"))
    whole = line_of(2, 1, "long", b'{"x":{"y":1},"z":"' + b"z" * 100 + b'"}')
    await events.put_raw(address, whole[: whole.index(b"},") + 1])
    await events.write(address, ("b", b"2"), END, attempt=2)
    found = await events.read(address)
    assert [(event.attempt, event.name) for event in found] == [(1, "a"), (2, "b"), (2, "end")]
    numbers = [event.n for event in found]
    assert numbers == sorted(set(numbers))


async def test_a_line_that_was_complete_when_its_attempt_died_is_shown(events: Any) -> None:
    address = events.address()
    long = b'"%b"' % (b"x" * (MESSAGE_BYTES_MAX + 5))
    await events.write(address, ("long", long))
    await events.write(address, END, attempt=2)
    assert [event.name for event in await events.read(address)] == ["long", "end"]


async def test_a_publish_whose_answer_was_lost_is_not_stored_twice(events: Any) -> None:
    address = events.address()
    await events.put_raw(address, line_of(1, 1, "a", b"1"))
    writer = events.writer(address)
    async with asyncio.TaskGroup() as group:
        pumping = group.create_task(writer.pump())
        writer.put("a", b"1")
        await writer.drain()
        writer.put(*END)
        await writer.drain()
        pumping.cancel()
    assert parts(await events.read(address)) == [(1, 1, "a"), (2, 1, "end")]
    assert await messages(events, address) == 2


async def test_an_attempt_that_another_one_overtook_is_fenced(events: Any) -> None:
    address = events.address()
    zombie = events.writer(address)
    async with asyncio.TaskGroup() as group:
        pumping = group.create_task(zombie.pump())
        zombie.put("a", b"1")
        await zombie.drain()
        pumping.cancel()
    await events.write(address, ("b", b"2"), attempt=2)
    zombie.put("late", b"3")
    with pytest.raises(Fenced):
        await zombie.pump()
    await events.write(address, END, attempt=3)
    assert [event.name for event in await events.read(address)] == ["a", "b", "end"]


async def test_a_first_attempt_that_never_wrote_is_fenced_too(events: Any) -> None:
    address = events.address()
    zombie = events.writer(address)
    await events.write(address, ("b", b"2"), attempt=2)
    zombie.put("late", b"3")
    with pytest.raises(Fenced):
        await zombie.pump()


@pytest.mark.parametrize("late", [0, 1, 2, 5, 20])
async def test_a_zombie_that_writes_while_the_next_attempt_opens_takes_none_of_its_numbers(
    events: Any, late: int
) -> None:
    for _ in range(8):
        address = events.address()
        zombie = events.writer(address, is_ours=False)
        await zombie.open(continues=False, first=("a", b"1"))
        owner = events.writer(address, attempt=2)
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            pumping = group.create_task(until_fenced(zombie))
            await zombie.drain()
            opening = group.create_task(owner.open(continues=True, first=("metadata", b"2")))
            for _ in range(late):
                zombie.put("late", b"0")
                await asyncio.sleep(0)
            await opening
            zombie.put("too late", b"0")
            assert await pumping
        await owner.send([line_of(owner.n + 1, 2, *END)])
        found = await events.read(address)
        assert [event.name for event in found if event.attempt == 2] == ["metadata", "end"]
        assert [event.n for event in found] == list(range(1, len(found) + 1))
        assert [event.attempt for event in found] == sorted(event.attempt for event in found)
        assert "too late" not in {event.name for event in found}


async def until_fenced(writer: Any) -> bool:
    try:
        await writer.pump()
    except Fenced:
        return True
    return False


async def test_a_zombie_that_opens_late_is_fenced_by_the_attempt_that_has_written(
    events: Any,
) -> None:
    address = events.address()
    await events.write(address, ("a", b"1"))
    await events.write(address, ("c", b"3"), attempt=3)
    assert [event.n for event in await events.stored(address)] == [1, 3 * EVENTS_SKIPPED + 1]
    zombie = events.writer(address, attempt=2)
    with pytest.raises(Fenced):
        await zombie.open(continues=True, first=("b", b"2"))
    long = b'"%b"' % (b"x" * (MESSAGE_BYTES_MAX + 5))
    await events.write(address, ("long", long), attempt=3)
    zombie = events.writer(address, attempt=2, is_ours=False)
    with pytest.raises(Fenced):
        await zombie.open(continues=True, first=("b", b"2"))


async def test_a_zombie_that_opens_after_a_wipe_is_fenced_by_the_truth(events: Any) -> None:
    zombie = events.writer(events.address(), attempt=2, is_ours=False)
    with pytest.raises(Fenced):
        await zombie.open(continues=True, first=("b", b"2"))


async def test_the_owner_goes_on_after_what_a_zombie_got_in_between(events: Any) -> None:
    """Possible after a wipe, when the sequences of the new stream meet those of the old one."""
    address = events.address()
    async with events.writing(address, attempt=2, first=("a", b"1")) as owner:
        await owner.drain()
        await events.put_raw(address, line_of(1, 1, "late", b"0"))
        owner.put(*END)
    assert [event.name for event in await events.read(address)] == ["a", "end"]


async def test_an_opening_whose_answer_was_lost_writes_its_event_once(events: Any) -> None:
    address = events.address()
    await events.write(address, ("a", b"1"))
    proxy = events.writer(address, attempt=2)
    lost = 0
    request = proxy._bus.client.request

    async def loses_one_answer(subject: str, *args: Any, **kwargs: Any) -> Any:
        nonlocal lost
        reply = await request(subject, *args, **kwargs)
        if subject.startswith("bedplate.v1.ev.") and lost == 0:
            lost += 1
            raise TimeoutError
        return reply

    proxy._bus.client.request = loses_one_answer
    try:
        await proxy.open(continues=True, first=("metadata", b"2"))
    finally:
        proxy._bus.client.request = request
    await proxy.send([line_of(proxy.n + 1, 2, *END)])
    found = await events.read(address)
    assert parts(found) == [(1, 1, "a"), (2, 2, "metadata"), (3, 2, "end")]


async def test_an_attempt_that_finds_its_events_gone_asks_whether_the_run_is_still_its(
    events: Any,
) -> None:
    for is_ours in (True, False):
        address = events.address()
        writer = events.writer(address, is_ours=is_ours)
        async with asyncio.TaskGroup() as group:
            pumping = group.create_task(writer.pump())
            writer.put("a", b"1")
            await writer.drain()
            pumping.cancel()
        context = events.bus.client.jetstream(timeout=5)
        await context.purge_stream("RUN_EVENTS", subject=address.stored(events.bus.prefix))
        writer.put(*END)
        if is_ours:
            async with asyncio.TaskGroup() as group:
                pumping = group.create_task(writer.pump())
                await writer.drain()
                pumping.cancel()
            assert parts(await events.read(address)) == [(2, 1, "end")]
        else:
            with pytest.raises(Fenced):
                await writer.pump()


async def test_a_graph_that_outruns_the_broker_is_asked_to_wait(events: Any) -> None:
    writer = events.writer(events.address())
    data = b'"%b"' % (b"x" * 500_000)
    async with asyncio.timeout(1):
        await writer.room()
    while len(data) * writer.n <= BUFFER_BYTES_MAX:
        writer.put("e", data)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await writer.room()
    async with asyncio.TaskGroup() as group:
        pumping = group.create_task(writer.pump())
        async with asyncio.timeout(20):
            await writer.room()
            await writer.drain()
        pumping.cancel()


async def test_the_end_of_a_lost_run_goes_on_after_its_last_event(events: Any) -> None:
    address = events.address()
    await events.write(address, ("a", b"1"), base_n=5)
    closing = [("error", b"{}"), END]
    await close_events(events.far_bus, address, attempt=1, closing=closing, limit_s=5)
    assert parts(await events.read(address)) == [(6, 1, "a"), (7, 1, "error"), (8, 1, "end")]


async def test_the_end_of_a_lost_run_without_events_is_beyond_the_threads_numbers(
    events: Any,
) -> None:
    address = events.address()
    await close_events(events.far_bus, address, attempt=1, closing=[END], limit_s=5, base_n=500)
    (end,) = await events.read(address, after_n=400)
    assert end.n > 500


async def test_half_a_line_does_not_swallow_the_end_of_a_lost_run(events: Any) -> None:
    address = events.address()
    await events.put_raw(address, line_of(1, 1, "long", b'"xxxxx"')[:-4])
    closing = [("error", b"{}"), END]
    await close_events(events.far_bus, address, attempt=1, closing=closing, limit_s=5)
    assert [event.name for event in await events.read(address)] == ["error", "end"]


async def test_the_end_of_a_run_that_never_started_reaches_a_reader_at_any_number(
    events: Any,
) -> None:
    address = events.address()
    await events.put_raw(address, line_of(0, 0, *END))
    assert parts(await events.read(address, after_n=1000)) == [(0, 0, "end")]


@pytest.mark.parametrize("n", [0, 7])
async def test_ending_an_unstarted_run_twice_ends_it_once(events: Any, n: int) -> None:
    """As the outbox does it: by the writer, and again by the relay."""
    address = events.address()
    told = Messages(events.far_bus.prefix).of_unstarted_end(address, n=n, finished_at=None)
    for _ in range(2):
        await events.far_bus.publish(told.subject, told.body.encode(), msg_id=told.msg_id)
    assert len(await events.stored(address)) == 1
    assert parts(await events.read(address)) == [(n, 0, "end")]


async def test_the_newest_event_is_found_also_when_it_is_long(events: Any) -> None:
    address = events.address()
    assert await events.log.last(address) is None
    await events.write(address, ("a", b"1"), ("b", b"2"))
    assert parts([await events.log.last(address)]) == [(2, 1, "b")]
    long = b'"%b"' % (b"x" * (MESSAGE_BYTES_MAX + 5))
    await events.write(address, ("long", long), attempt=2)
    last = await events.log.last(address)
    assert (last.n, last.data) == (3, long)


async def test_a_message_that_goes_on_with_what_is_gone_is_passed_over(events: Any) -> None:
    address = events.address()
    tail = b'rest of a line"}\n'
    await events.put_raw(address, tail, {CONTINUES_HEADER: "1"})
    await events.put_raw(address, line_of(9, 1, *END))
    assert parts(await events.read(address)) == [(9, 1, "end")]
