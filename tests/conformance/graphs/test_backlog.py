"""A saver that does not wait for its commits keeps its promises all the same."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6

from bedplate.kernel.errors import Fenced, Refused

STEPS = 20


def _place(thread_id: str) -> Any:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}


def _checkpoint() -> Any:
    return {**empty_checkpoint(), "id": str(uuid6())}


async def _deferring(tables: Any, thread_id: str) -> tuple[Any, Any]:
    fence = await tables.run(UUID(thread_id))
    return tables.fenced(fence).deferring(), fence


async def test_everything_is_committed_once_it_is_settled_in_fewer_commits(
    tables: Any, talk: Any, graphs: Any
) -> None:
    waiting, deferring = talk(graphs.steps()), talk(graphs.steps())
    await waiting.run({"turns": STEPS})
    commits = tables.committer.commits

    saver, _ = await _deferring(tables, deferring.thread_id)
    await deferring.run({"turns": STEPS}, saver=saver)
    await saver.settled()

    assert tables.committer.commits - commits < commits
    # Read by another saver: from the tables, not from memory.
    assert await deferring.values() == await waiting.values()
    for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes"):
        counts = [await tables.count(table, one.thread_id) for one in (waiting, deferring)]
        assert counts[0] == counts[1] > 0


async def test_reads_see_what_was_put_and_not_waited_for(tables: Any) -> None:
    thread_id = str(uuid4())
    saver, _ = await _deferring(tables, thread_id)
    place, ids = _place(thread_id), []
    for step in range(5):
        checkpoint = _checkpoint()
        place = await saver.aput(place, checkpoint, {"step": step}, {})
        ids.append(checkpoint["id"])
        newest = await saver.aget_tuple(_place(thread_id))
        assert newest.checkpoint["id"] == checkpoint["id"]
        await saver.aput_writes(place, [("channel", step)], str(uuid4()))

    assert [found.checkpoint["id"] async for found in saver.alist(_place(thread_id))] == ids[::-1]
    assert (await saver.aget_tuple(place)).pending_writes[0][1:] == ("channel", 4)


async def test_nothing_is_stored_that_stands_on_what_was_refused(tables: Any) -> None:
    thread_id = str(uuid4())
    saver, _ = await _deferring(tables, thread_id)
    place = await saver.aput(_place(thread_id), _checkpoint(), {}, {})
    # Only PostgreSQL finds out that it cannot hold a NUL in a channel's name.
    await saver.aput_writes(place, [("channel\0", 1)], str(uuid4()))
    for _ in range(3):
        place = await saver.aput(place, _checkpoint(), {}, {})

    with pytest.raises(Refused):
        await saver.settled()
    with pytest.raises(Refused):
        await saver.aput(place, _checkpoint(), {}, {})

    assert await tables.count("checkpoints", thread_id) == 1
    assert await saver.aget_tuple(_place(thread_id)) is not None


async def test_a_superseded_attempt_learns_it_when_it_settles(tables: Any) -> None:
    thread_id = str(uuid4())
    saver, fence = await _deferring(tables, thread_id)
    await saver.aput(_place(thread_id), _checkpoint(), {}, {})
    await saver.settled()
    await tables.supersede(fence)

    await saver.aput(_place(thread_id), _checkpoint(), {}, {})

    with pytest.raises(Fenced):
        await saver.settled()
    assert await tables.count("checkpoints", thread_id) == 1


async def test_more_than_the_backlog_holds_is_stored_in_order(tables: Any) -> None:
    thread_id = str(uuid4())
    saver, _ = await _deferring(tables, thread_id)
    place = _place(thread_id)
    for _ in range(250):
        place = await saver.aput(place, _checkpoint(), {}, {})
    await saver.settled()

    assert await tables.count("checkpoints", thread_id) == 250
    assert tables.committer.commits < 250
