"""Values too long to be told twice: the `end` event names the event that told them."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import nats
import orjson
import pytest
from langgraph_sdk.client import LangGraphClient
from nats.aio.msg import Msg

from bedplate.devstack.stack import Stack

LONG = "so many words " * 2_000


def _said(number: int, *, text: str = LONG) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": f"{number} {text}", "id": str(number)}]}


def _ids(values: Any) -> list[str]:
    return [message["id"] for message in values["messages"] if message["type"] == "human"]


async def _heard(stack: Stack, thread: str, work: Any) -> list[dict[str, Any]]:
    """The events of a thread that a subscriber hears while `work` goes on, up to the first end."""
    lines: list[dict[str, Any]] = []
    ended = asyncio.Event()

    async def hear(message: Msg) -> None:
        lines.extend(orjson.loads(line) for line in message.data.splitlines())
        if lines[-1]["event"] == "end":
            ended.set()

    listener = await nats.connect(stack.endpoints.nats_url)
    try:
        await listener.subscribe(f"bedplate.v1.live.*.{thread}.*", cb=hear)
        await listener.flush()
        await work
        async with asyncio.timeout(20):
            await ended.wait()
    finally:
        await listener.close()
    return lines


@pytest.fixture
async def thread(client: LangGraphClient) -> str:
    return (await client.threads.create())["thread_id"]


async def test_the_end_names_the_event_that_told_long_values(
    client: LangGraphClient, stack: Stack, thread: str
) -> None:
    lines = await _heard(stack, thread, client.runs.wait(thread, "messages", input=_said(1)))
    *_, told = (line for line in lines if line["event"] == "values")
    end = lines[-1]["data"]
    assert end["values"] is None
    assert end["values_n"] == told["n"]
    assert _ids(told["data"]) == ["1"]


async def test_the_end_repeats_what_is_short(
    client: LangGraphClient, stack: Stack, thread: str
) -> None:
    short = _said(1, text="word")
    lines = await _heard(stack, thread, client.runs.wait(thread, "messages", input=short))
    end = lines[-1]["data"]
    assert end["values_n"] is None
    assert _ids(end["values"]) == ["1"]


async def test_the_end_tells_long_values_that_no_event_told(
    client: LangGraphClient, stack: Stack, thread: str
) -> None:
    work = client.runs.create(thread, "messages", input=_said(1), stream_mode="updates")
    lines = await _heard(stack, thread, work)
    end = lines[-1]["data"]
    assert end["values_n"] is None
    assert _ids(end["values"]) == ["1"]


@pytest.mark.parametrize("mode", ["values", "updates"])
async def test_whoever_waits_gets_the_values_of_the_run_he_waits_for(
    client: LangGraphClient, thread: str, mode: Any
) -> None:
    first = await client.runs.create(thread, "messages", input=_said(1), stream_mode=mode)
    assert _ids(await client.runs.join(thread, first["run_id"])) == ["1"]
    second = await client.runs.create(thread, "messages", input=_said(2), stream_mode=mode)
    assert _ids(await client.runs.join(thread, second["run_id"])) == ["1", "2"]
    # Also when the thread has gone on: the state is read as the run left it.
    assert _ids(await client.runs.join(thread, first["run_id"])) == ["1"]


async def test_a_stateless_run_answers_long_values(http: httpx.AsyncClient) -> None:
    order = {"assistant_id": "messages", "input": _said(1)}
    answer = await http.post("/runs/wait", json=order)
    assert _ids(answer.json()) == ["1"]
