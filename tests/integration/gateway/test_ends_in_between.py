"""A run ends between a reader's look at the log and its look at the rows: nothing of it is lost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from bedplate.bus.event_line import end_of, line_of
from bedplate.bus.thread_log import LATE_S, ThreadFollower
from bedplate_gateway.protocol.run_facts import KnownRuns
from bedplate_gateway.protocol.thread_events import ThreadEvents
from bedplate_proto.subjects import RunAddress
from bedplate_proto.vocabulary import EventName

Parts = Any


@pytest.fixture
def events(parts: Parts) -> ThreadEvents:
    known = KnownRuns(parts.rows, tenant="default")
    return ThreadEvents(parts.followings, known, parts.rows, tenant="default")


async def store(parts: Parts, run: RunAddress, n: int, name: str, data: bytes) -> None:
    subject = run.stored(parts.bus.prefix)
    await parts.bus.client.request(subject, line_of(n, 1, name, data), timeout=5)


async def end(parts: Parts, run: RunAddress, n: int) -> None:
    data = end_of("success", error=None, values=b"{}", finished_at=datetime.now(UTC))
    await store(parts, run, n, EventName.END, data)


async def over(parts: Parts, run: RunAddress, *, events_n: int, s_ago: float = 0.0) -> None:
    """What the row says of a run that has told so much."""
    await parts.over(run.run_id, status="success", values='{"v": 1}', error=None)
    await parts.pool.execute(
        "UPDATE threads SET events_n = $2 WHERE thread_id = $1", run.thread_id, events_n
    )
    await parts.pool.execute(
        "UPDATE runs SET finished_at = now() - $2::float8 * interval '1 second' WHERE run_id = $1",
        run.run_id,
        s_ago,
    )


async def read(follower: ThreadFollower) -> list[tuple[int, str]]:
    return [(event.n, event.name) async for event in follower.stored()]


async def test_what_was_stored_meanwhile_is_read_and_its_end_waited_for(
    parts: Parts, events: ThreadEvents
) -> None:
    run = await parts.running()
    follower = events.reader(run.thread_id)
    assert await read(follower) == []
    await store(parts, run, 1, EventName.METADATA, b"{}")
    await store(parts, run, 2, "values", b'{"v": 1}')
    await over(parts, run, events_n=3)

    told = await events.lost(follower)
    assert [(event.n, event.name) for event in told] == [(1, "metadata"), (2, "values")]
    assert await events.lost(follower) == []
    await end(parts, run, 3)
    assert await read(follower) == [(3, "end")]
    assert await events.lost(follower) == []


async def test_an_end_that_does_not_come_is_told_by_the_row(
    parts: Parts, events: ThreadEvents
) -> None:
    run = await parts.running()
    follower = events.reader(run.thread_id)
    await store(parts, run, 1, EventName.METADATA, b"{}")
    await over(parts, run, events_n=2, s_ago=2 * LATE_S)
    assert await read(follower) == [(1, "metadata")]
    assert [(event.n, event.name) for event in await events.lost(follower)] == [(2, "end")]


async def test_what_the_log_has_forgotten_is_told_at_once(
    parts: Parts, events: ThreadEvents
) -> None:
    run = await parts.running()
    await over(parts, run, events_n=20)
    follower = events.reader(run.thread_id)
    assert [event.n for event in await events.lost(follower)] == [19, 20]
    assert await events.lost(follower) == []


async def test_readers_of_the_protocol_are_told_the_same(
    parts: Parts, events: ThreadEvents
) -> None:
    run = await parts.running()
    follower = events.reader(run.thread_id)
    assert await read(follower) == []
    await store(parts, run, 1, EventName.METADATA, b"{}")
    await over(parts, run, events_n=2)
    told = await events.missed(follower)
    assert not any(b'"event":"completed"' in each.frame for each in told)
    await end(parts, run, 2)
    late = [each async for each in events.all_stored(follower)]
    assert [each.n for one in late for each in one if b'"event":"completed"' in each.frame] == [2]
