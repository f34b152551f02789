"""Listeners at the broker see the events that HTTP clients see (examples/nats-subscriber)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from bedplate.devstack.stack import Stack

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "nats-subscriber"
GRAPHS = ROOT / "tests" / "graphs" / "langgraph.json"
PATIENCE_S = 60
TOKENS = 150
Seen = list[tuple[int, str, Any]]


@pytest.fixture(scope="module")
def own(run_stack: Callable[..., Stack]) -> Stack:
    """Its broker is killed."""
    return run_stack(GRAPHS)


@pytest.fixture
async def http(own: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=own.url, timeout=30) as opened:
        yield opened


async def started(http: httpx.AsyncClient, graph: str, given: Any, modes: list[str]) -> Any:
    thread = (await http.post("/threads", json={})).json()["thread_id"]
    order = {"assistant_id": graph, "input": given, "stream_mode": modes, "stream_resumable": True}
    run = (await http.post(f"/threads/{thread}/runs", json=order)).json()["run_id"]
    return thread, run


async def over_http(http: httpx.AsyncClient, thread: str, run: str) -> Seen:
    await http.get(f"/threads/{thread}/runs/{run}/join")
    answer = await http.get(f"/threads/{thread}/runs/{run}/stream", headers={"Last-Event-ID": "-1"})
    seen: Seen = []
    for block in answer.text.split("\r\n\r\n"):
        if block and not block.startswith(":"):
            fields = dict(line.split(": ", 1) for line in block.split("\r\n"))
            n = int(fields["id"].split("-")[0])
            seen.append((n, fields["event"], orjson.loads(fields["data"])))
    return seen


async def follower(own: Stack, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, EXAMPLE / "follow.py", *arguments, "--url", own.endpoints.nats_url),
        stdout=asyncio.subprocess.PIPE,
    )


async def printed(process: asyncio.subprocess.Process) -> Seen:
    assert process.stdout is not None
    seen: Seen = []
    async with asyncio.timeout(PATIENCE_S):
        async for line in process.stdout:
            event = orjson.loads(line)
            seen.append((event["n"], event["event"], event["data"]))
        assert await process.wait() == 0
    return seen


@pytest.mark.parametrize(
    ("graph", "given", "modes"),
    [
        ("steps", {"steps": 3}, ["values", "updates", "tasks", "checkpoints", "debug"]),
        ("approval", {"question": "q"}, ["updates", "values"]),
        ("raises", {"message": "boom"}, ["values"]),
        ("custom", {"n": 4}, ["custom"]),
    ],
)
async def test_documented_subjects_carry_the_events_of_http(
    own: Stack, http: httpx.AsyncClient, graph: str, given: Any, modes: list[str]
) -> None:
    thread, run = await started(http, graph, given, modes)
    seen = await printed(await follower(own, thread, run))
    *events, (n, name, end) = seen
    assert events == await over_http(http, thread, run)
    assert (n, name) == (events[-1][0] + 1, "end")
    row = (await http.get(f"/threads/{thread}/runs/{run}")).json()
    assert end["status"] == row["status"]
    assert await printed(await follower(own, thread, run, "--after", "2")) == seen[2:]


async def test_a_reader_at_the_broker_sees_all_of_a_run_although_the_broker_is_killed(
    own: Stack, http: httpx.AsyncClient
) -> None:
    given = {"n": TOKENS, "pause_s": 0.03}
    thread, run = await started(http, "tokens", given, ["messages-tuple", "values"])
    process = await follower(own, thread, run)
    assert process.stdout is not None
    seen: Seen = []
    async with asyncio.timeout(PATIENCE_S):
        while len(seen) < TOKENS // 3:
            event = orjson.loads(await process.stdout.readline())
            seen.append((event["n"], event["event"], event["data"]))
        await asyncio.to_thread(own.servers.restart, "nats", hard=True)
        seen += await printed(process)
    assert seen[:-1] == await over_http(http, thread, run)
    assert [n for n, _, _ in seen] == list(range(1, TOKENS + 5))
