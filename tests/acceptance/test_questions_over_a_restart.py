"""What is asked outlives every process (contract semantics.md 5)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from bedplate.devstack.stack import Stack
from bedplate.testing.talks import Talk, calls, script, told_by_tools

GRAPHS = Path(__file__).parents[1] / "graphs" / "langgraph.json"
PATIENCE_S = 30


@asynccontextmanager
async def _clients(stack: Stack) -> AsyncGenerator[tuple[LangGraphClient, httpx.AsyncClient]]:
    async with (
        get_client(url=stack.url, api_key=None) as client,
        httpx.AsyncClient(base_url=stack.url, timeout=PATIENCE_S) as http,
    ):
        yield client, http


async def test_questions_survive_the_restart_of_everything(
    tmp_path: Path, model_server: Any, journal: Any
) -> None:
    env = {"SCRIPTED_MODEL_URL": model_server.url, "LANGSMITH_TRACING": "false"}
    data = tmp_path / "data"
    async with Stack(data, project=GRAPHS, env=env) as before, _clients(before) as (client, http):
        half = Talk(client, http, "branches")
        half.config = {"configurable": {"journal": journal.path}}
        await half.begin({"answers": {}})
        asked = await half.pending()
        await half.answer({asked["east?"]: "E"})
        twice = Talk(client, http, "asks_twice")
        await twice.begin({"answers": {}})
        await twice.answer(1)
        reviewed = Talk(client, http, "reviewed")
        reviewed.config = {"configurable": {"journal": journal.path}}
        wanted = [("pay", {"amount": 1}), ("pay", {"amount": 2})]
        await reviewed.begin(script(calls(*wanted), {"text": "done"}))
        inside = Talk(client, http, "subgraphs")
        await inside.begin({"visited": [], "asks": True})
        stopped = Talk(client, http, "tale")
        await stopped.begin({"title": "t"}, interrupt_before=["third"])
        talks = [half, twice, reviewed, inside, stopped]
        shown = [await each.pending() for each in talks]
    async with Stack(data, project=GRAPHS, env=env) as after, _clients(after) as (client, http):
        for each in talks:
            each.client, each.http = client, http
        assert [await each.pending() for each in talks] == shown
        assert [await each.status() for each in talks] == ["interrupted"] * len(talks)
        done = await half.answer("W")
        assert done["answers"] == {"east": "E", "west": "W", "calm": True}
        assert journal.firsts().count("calm") == 1
        assert (await twice.answer(2))["answers"] == {"first": 1, "second": 2}
        done = await reviewed.answer({"decisions": [{"type": "approve"}, {"type": "reject"}]})
        assert [status for status, _ in told_by_tools(done)] == ["success", "error"]
        assert (await inside.answer("yes"))["answer"] == "yes"
        assert (await stopped.go_on())["log"] == ["first", "second", "third"]
