"""What is read of a thread does not grow with what the thread has behind it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic_core import from_json

from bedplate.sql import Statements

_sql = Statements("bedplate.graphs")
_EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) "
# An index of a larger table is a level deeper: each look-up reads a page more.
_DEEPER = 2


@pytest.mark.parametrize(
    ("statement", "arguments"),
    [
        ("read_checkpoint", ()),
        ("read_delta_history", (["messages"],)),
    ],
)
async def test_the_newest_state_of_a_long_thread_costs_no_more_pages(
    talk: Any, graphs: Any, statement: str, arguments: tuple[Any, ...]
) -> None:
    chat = talk(graphs.chat(snapshot_frequency=10), "exit")
    chat.durability = "async"
    pages: list[int] = []
    # Each run adds whole tens of messages, so that the last snapshot is always as far away.
    for runs, turns in ((1, 29), (4, 99)):
        for _ in range(runs):
            await chat.say("go on", turns=turns)
        async with chat.tables.pool.acquire() as connection:
            # As on a server that has not analysed the table since it was a small one.
            await connection.execute("SET plan_cache_mode = force_generic_plan")
            plan = await connection.fetchval(
                _EXPLAIN + _sql[statement], chat.thread_id, "", None, *arguments
            )
        root = from_json(plan)[0]["Plan"]
        pages.append(root["Shared Hit Blocks"] + root["Shared Read Blocks"])

    assert pages[1] <= pages[0] * _DEEPER
