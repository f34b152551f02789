"""The event-streaming protocol, frame by frame (contract streaming.md 3)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from websockets.asyncio.client import connect

from bedplate.devstack.stack import Stack
from bedplate.testing.protocol import (
    ALL,
    PATIENCE_S,
    TERMINAL,
    address,
    ask,
    command,
    forget,
    history,
    methods,
    opened,
    start,
    state_of,
    up_to_end,
)

# -- runs


async def test_a_run_is_told_from_running_to_completed_in_every_channel(
    http: httpx.AsyncClient,
) -> None:
    thread = str(uuid4())
    run = await start(http, thread, "messages", {"messages": [{"role": "user", "content": "a b"}]})
    events = await history(http, thread)
    assert events[0]["event_id"] == f"synth:{run}:lc||running"
    assert events[-1]["event_id"] == f"synth:{run}:lc||completed"
    assert events[0]["params"]["data"] == {"event": "running", "graph_name": "messages"}
    assert set(methods(events)) >= {"values", "updates", "messages", "checkpoints", "tasks"}
    seqs = [event["seq"] for event in events]
    assert seqs == sorted(set(seqs))
    assert len({event["event_id"] for event in events}) == len(events)
    assert all(isinstance(event["params"]["timestamp"], int) for event in events)
    values = [event for event in events if event["method"] == "values"]
    assert [each["type"] for each in values[-1]["params"]["data"]["messages"]] == ["human", "ai"]


async def test_a_thread_is_made_by_its_first_run(http: httpx.AsyncClient) -> None:
    thread = str(uuid4())
    await start(http, thread, "noop", {})
    metadata = (await http.get(f"/threads/{thread}")).json()["metadata"]
    assert metadata["graph_id"] == "noop" and metadata["assistant_id"]


async def test_one_stream_spans_runs_and_may_be_opened_before_the_thread_exists(
    http: httpx.AsyncClient,
) -> None:
    thread = str(uuid4())
    async with opened(http, thread, channels=["lifecycle"]) as events:
        first = await start(http, thread, "noop", {})
        told = await up_to_end(events)
        second = await start(http, thread, "noop", {})
        told += await up_to_end(events)
    assert [event["event_id"] for event in told] == [
        f"synth:{run}:lc||{state}" for run in (first, second) for state in ("running", "completed")
    ]


async def test_a_failed_run_says_why_also_to_those_who_come_later(http: httpx.AsyncClient) -> None:
    thread = str(uuid4())
    await start(http, thread, "raises", {})
    for _ in range(2):
        last = (await history(http, thread))[-1]["params"]["data"]
        assert last["event"] == "failed" and last["error"], last


async def test_a_cancelled_run_is_interrupted(http: httpx.AsyncClient) -> None:
    thread = str(uuid4())
    run = await start(http, thread, "sleeps", {})
    async with opened(http, thread) as events:
        cancel = await http.post(f"/threads/{thread}/runs/{run}/cancel", params={"wait": "true"})
        assert cancel.status_code in (200, 202)
        assert state_of((await up_to_end(events))[-1]) == "interrupted"


async def test_runs_of_the_older_kind_are_told_too(http: httpx.AsyncClient) -> None:
    thread = (await http.post("/threads", json={})).json()["thread_id"]
    body = {
        "assistant_id": "approval",
        "input": {"question": "sure?"},
        "stream_mode": ["values", "updates", "tasks", "checkpoints", "custom"],
    }
    run = (await http.post(f"/threads/{thread}/runs", json=body)).json()["run_id"]
    events = await history(http, thread)
    assert events[0]["event_id"] == f"synth:{run}:lc||running"
    assert events[0]["params"]["data"]["graph_name"] == "approval"
    assert events[-1]["event_id"] == f"synth:{run}:lc||interrupted"
    (asked, *_) = [event for event in events if event["method"] == "input.requested"]
    data = asked["params"]["data"]
    assert data["payload"] == data["value"] == {"question": "sure?"}
    assert asked["event_id"] == f"synth:{run}:input||{data['interrupt_id']}"
    assert {"values", "checkpoints", "tasks"} <= set(methods(events))
    assert not any("__interrupt__" in event["params"]["data"] for event in events)


async def test_neither_kind_of_stream_shows_the_lines_of_the_other(
    http: httpx.AsyncClient,
) -> None:
    thread = str(uuid4())
    new = await start(http, thread, "messages", {"messages": [{"role": "user", "content": "a"}]})
    told = await history(http, thread)
    modes = ["values", "updates", "messages", "messages-tuple", "custom", "debug", "events"]
    order = {"assistant_id": "custom", "input": {"n": 2}, "stream_mode": modes}
    answer = await http.post(
        f"/threads/{thread}/runs/stream",
        json={**order, "stream_subgraphs": True, "stream_resumable": True},
    )
    old = answer.headers["content-location"].rsplit("/", 1)[-1]
    told = await history(http, thread, runs=2)
    known = {"values", "updates", "messages", "lifecycle", "checkpoints", "tasks", "custom"}
    assert set(methods(told)) <= known
    assert not any("|" in method for method in methods(told))
    for run, names in ((new, {"metadata", "values"}), (old, None)):
        path = f"/threads/{thread}/runs/{run}/stream"
        for query in ({}, {"stream_mode": "values"}, {"stream_mode": "v2"}):
            text = (await http.get(path, params=query, headers={"Last-Event-ID": "-1"})).text
            assert "v2" not in text and "synth:" not in text, text[:500]
            if query.get("stream_mode") == "v2":
                assert "stream_mode" in text
            elif names is not None:
                lines = [line for line in text.splitlines() if line.startswith("event: ")]
                assert {line.removeprefix("event: ") for line in lines} == names


# -- the same everywhere


@pytest.fixture
async def other(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A second gateway."""
    await asyncio.to_thread(stack.start_service, "gateway", replica=2)
    async with httpx.AsyncClient(base_url=stack.url_of("gateway", replica=2), timeout=30) as http:
        yield http
    await asyncio.to_thread(stack.stop_service, "gateway", replica=2)


async def test_every_connection_gateway_and_filter_shows_the_same_events(
    http: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    thread = str(uuid4())
    async with opened(other, thread) as live:
        await start(http, thread, "subgraphs", {"visited": []})
        whole = await up_to_end(live)
        assert await history(http, thread) == whole
        for channel in ALL:
            part = [event for event in whole if channel in event["method"]]
            channels = list({channel, "lifecycle"})
            found = await history(other, thread, channels=channels)
            assert [event for event in found if channel in event["method"]] == part


async def test_a_client_that_reconnects_anywhere_sees_each_event_once(
    http: httpx.AsyncClient,
) -> None:
    thread = str(uuid4())
    await start(http, thread, "tokens", {"n": 60, "pause_s": 0.003})
    seen: list[Any] = []
    while not (seen and state_of(seen[-1]) in TERMINAL):
        since = seen[-1]["seq"] if seen else 0
        body = {"since": since} if len(seen) % 2 else {}
        headers = {"Last-Event-ID": str(since)} if not body else None
        async with opened(http, thread, headers, **body) as events, asyncio.timeout(PATIENCE_S):
            async for event in events:
                seen.append(event)
                if len(seen) % 9 == 0 or state_of(event) in TERMINAL:
                    break
    # Also who comes between a run's end and its last event, and is told of it from the row.
    assert seen == await history(http, thread)


async def test_a_run_that_is_cancelled_before_it_starts_ends_everywhere_alike(
    http: httpx.AsyncClient, other: httpx.AsyncClient, stack: Stack
) -> None:
    thread = str(uuid4())
    async with opened(other, thread) as events:
        at_work = await start(http, thread, "sleeps", {})
        seen = [await anext(events)]
        queued = await start(http, thread, "noop", {})
        await _cancel(http, thread, queued)
        seen += await up_to_end(events)
        assert seen[-1]["event_id"] == f"synth:{queued}:lc||interrupted"
        await _cancel(http, thread, at_work)
        seen += await up_to_end(events)
        assert seen[-1]["event_id"] == f"synth:{at_work}:lc||interrupted"
        # Nothing is at work: then it has a number of its own.
        order = {"assistant_id": "noop", "after_seconds": 600}
        delayed = (await http.post(f"/threads/{thread}/runs", json=order)).json()["run_id"]
        await _cancel(http, thread, delayed)
        seen += await up_to_end(events)
        assert seen[-1]["event_id"] == f"synth:{delayed}:lc||interrupted"
        assert seen[-1]["seq"] == seen[-2]["seq"] + 1
    for gateway in (http, other):
        assert await history(gateway, thread, runs=3) == seen
    seqs = [event["seq"] for event in seen]
    assert seqs == sorted(seqs)
    ended = next(event for event in seen if event["event_id"].startswith(f"synth:{queued}:"))
    # It shares its number with the event before it: who may have missed it is told of it.
    after = seen[seen.index(ended) :]
    assert await history(http, thread, runs=3, since=ended["seq"]) == after
    async with connect(address(stack.url, thread)) as socket:
        _, before = await ask(socket, "subscription.subscribe", channels=ALL, since=ended["seq"])
        assert before == after
    await forget(stack, thread)
    assert (await history(http, thread))[-1] == seen[-1]


async def _cancel(http: httpx.AsyncClient, thread: str, run: str) -> None:
    answer = await http.post(f"/threads/{thread}/runs/{run}/cancel", params={"wait": "true"})
    assert answer.status_code in (200, 202, 204), answer.text


async def test_namespaces_and_depth_choose_what_is_shown(http: httpx.AsyncClient) -> None:
    thread = str(uuid4())
    await start(http, thread, "subgraphs", {"visited": []})
    whole = await history(http, thread)
    below = [event for event in whole if event["params"]["namespace"]]
    child = below[0]["params"]["namespace"]
    assert child[0].startswith("child:")

    async def shown(**body: Any) -> list[Any]:
        async with opened(http, thread, **body) as events, asyncio.timeout(PATIENCE_S):
            wanted = body.pop("count")
            return [await anext(events) for _ in range(wanted)]

    for namespaces in ([["child"]], [child]):
        assert await shown(namespaces=namespaces, count=len(below)) == below
    roots = [event for event in whole if not event["params"]["namespace"]]
    assert await shown(namespaces=[[]], depth=0, count=len(roots)) == roots
    assert await shown(namespaces=[[]], depth=1, count=len(whole)) == whole


# -- questions


async def test_a_question_is_answered_once_and_by_its_id(http: httpx.AsyncClient) -> None:
    thread = str(uuid4())
    await start(http, thread, "approval", {"question": "ok?"})
    events = await history(http, thread)
    (asked,) = [event for event in events if event["method"] == "input.requested"]
    one = asked["params"]["data"]["interrupt_id"]
    wrong = await command(http, thread, "input.respond", interrupt_id="nope", response=1)
    assert (wrong["type"], wrong["error"]) == ("error", "no_such_interrupt")
    right = await command(http, thread, "input.respond", interrupt_id=one, response=[1])
    assert (right["type"], right["result"]) == ("success", {})
    assert state_of((await history(http, thread, runs=2))[-1]) == "completed"
    state = (await http.get(f"/threads/{thread}/state")).json()
    assert state["values"]["answer"] == [1]
    again = await command(http, thread, "input.respond", interrupt_id=one, response=1)
    assert again["error"] == "no_such_interrupt"


async def test_several_questions_are_answered_in_one_command(http: httpx.AsyncClient) -> None:
    thread = str(uuid4())
    await start(http, thread, "two_approvals", {"answers": {}})
    events = await history(http, thread)
    ids = {
        event["params"]["data"]["payload"]: event["params"]["data"]["interrupt_id"]
        for event in events
        if event["method"] == "input.requested"
    }
    responses = [{"interrupt_id": ids[f"{side}?"], "response": side} for side in ("left", "right")]
    answer = await command(http, thread, "input.respond", responses=responses)
    assert answer["type"] == "success"
    await history(http, thread, runs=2)
    state = (await http.get(f"/threads/{thread}/state")).json()
    assert state["values"]["answers"] == {"left": "left", "right": "right"}


async def test_input_for_a_thread_that_waits_is_the_answer(http: httpx.AsyncClient) -> None:
    thread = str(uuid4())
    async with opened(http, thread) as events:
        await start(http, thread, "approval", {})
        async with asyncio.timeout(PATIENCE_S):
            # At once, before the run that asks is over.
            async for event in events:
                if event["method"] == "input.requested":
                    break
        await start(http, thread, "approval", "yes")
        await up_to_end(events, runs=2)
    state = (await http.get(f"/threads/{thread}/state")).json()
    assert state["values"]["answer"] == "yes"


async def test_a_run_can_start_from_the_past(http: httpx.AsyncClient) -> None:
    thread = str(uuid4())
    await start(http, thread, "subgraphs", {"visited": []})
    events = await history(http, thread)
    first = next(e["params"]["data"]["id"] for e in events if e["method"] == "checkpoints")
    config = {"configurable": {"checkpoint_id": first}}
    await start(http, thread, "subgraphs", {"visited": ["again"]}, config=config)
    await history(http, thread, runs=2)
    state = (await http.get(f"/threads/{thread}/state")).json()
    assert "again" in state["values"]["visited"]


async def test_the_tree_of_agents_has_the_namespaces_seen(http: httpx.AsyncClient) -> None:
    thread = str(uuid4())
    run = await start(http, thread, "subgraphs", {"visited": []})
    await history(http, thread)
    for params in ({}, {"run_id": run}):
        answer = await command(http, thread, "agent.getTree", **params)
        tree = answer["result"]["tree"]
        assert (tree["namespace"], tree["status"]) == ([], "completed")
        assert tree["graph_name"] == "subgraphs"
        (child,) = tree["children"]
        assert child["namespace"][0].startswith("child:") and child["status"] == "completed"
    missing = await command(http, thread, "agent.getTree", run_id=str(uuid4()))
    assert missing["error"] == "no_such_run"
