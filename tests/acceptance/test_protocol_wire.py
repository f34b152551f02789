"""The event-streaming protocol, frame by frame (contract streaming.md 3)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx
import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bedplate.bus.broker import Bus
from bedplate.devstack.stack import Stack
from bedplate.testing.eventually import eventually
from bedplate_proto.subjects import ThreadAddress

ALL = [
    *("values", "updates", "checkpoints", "messages", "tools", "lifecycle", "input", "tasks"),
    "custom",
]
PATIENCE_S = 20
TERMINAL = ("completed", "failed", "interrupted")


async def command(http: httpx.AsyncClient, thread: str, method: str, **params: Any) -> Any:
    body = {"id": 7, "method": method, "params": params}
    answer = await http.post(f"/threads/{thread}/commands", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["id"] == 7
    return answer.json()


async def start(http: httpx.AsyncClient, thread: str, graph: str, given: Any, **more: Any) -> str:
    answer = await command(http, thread, "run.start", assistant_id=graph, input=given, **more)
    assert answer["type"] == "success", answer
    return answer["result"]["run_id"]


@asynccontextmanager
async def opened(
    http: httpx.AsyncClient, thread: str, headers: Any = None, **body: Any
) -> AsyncIterator[AsyncIterator[Any]]:
    body.setdefault("channels", ALL)
    path = f"/threads/{thread}/stream/events"
    async with http.stream("POST", path, json=body, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        yield events_of(answer)


async def events_of(answer: httpx.Response) -> AsyncIterator[Any]:
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif not line and fields:
            event = orjson.loads(fields["data"])
            assert (fields["event"], int(fields["id"])) == (event["method"], event["seq"])
            yield event
            fields = {}


def state_of(event: Any) -> str | None:
    is_root = event["method"] == "lifecycle" and event["params"]["namespace"] == []
    return event["params"]["data"]["event"] if is_root else None


async def up_to_end(events: AsyncIterator[Any], *, runs: int = 1) -> list[Any]:
    """Events up to so many terminal lifecycles of the root."""
    seen: list[Any] = []
    async with asyncio.timeout(PATIENCE_S):
        async for event in events:
            seen.append(event)
            runs -= state_of(event) in TERMINAL
            if runs == 0:
                return seen
    raise AssertionError("the stream ended")


async def history(http: httpx.AsyncClient, thread: str, *, runs: int = 1, **body: Any) -> list[Any]:
    async with opened(http, thread, **body) as events:
        return await up_to_end(events, runs=runs)


def methods(events: list[Any]) -> list[str]:
    return [event["method"] for event in events]


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
    whole = await history(http, thread)
    # A reader that comes between a run's end and its last event is told of it from the row: the
    # same event under the same id and number, some milliseconds earlier.
    for terminal in (seen[-1], whole[-1]):
        del terminal["params"]["timestamp"]
    assert seen == whole


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


# -- what is wrong with a command


@pytest.mark.parametrize(
    "body", ["[]", "1", "{", '{"method": "run.start"}', '{"id": "1", "method": "x"}', '{"id": 1}']
)
async def test_what_is_no_command_is_400(http: httpx.AsyncClient, body: str) -> None:
    answer = await http.post(f"/threads/{uuid4()}/commands", content=body)
    assert answer.status_code == 400
    assert answer.json()["type"] == "error" and answer.json()["id"] is None
    assert answer.json()["error"] == "invalid_argument"


@pytest.mark.parametrize(
    ("method", "params", "error", "about"),
    [
        ("run.start", {}, "invalid_argument", "assistant_id"),
        ("run.start", {"assistant_id": "nope"}, "unknown_error", "422"),
        ("run.start", {"assistant_id": "noop", "config": 1}, "invalid_argument", "config"),
        (
            "run.start",
            {"assistant_id": "noop", "config": {"configurable": {"checkpoint_id": "x"}}},
            "invalid_argument",
            "checkpoint_id",
        ),
        (
            "run.start",
            {"assistant_id": "noop", "multitaskStrategy": "nope"},
            "invalid_argument",
            "multitask_strategy",
        ),
        (
            "run.start",
            {"assistant_id": "noop", "multitask_strategy": "nope"},
            "invalid_argument",
            "multitask_strategy",
        ),
        ("input.respond", {}, "invalid_argument", "interrupt_id"),
        ("input.respond", {"responses": []}, "invalid_argument", "responses"),
        ("input.respond", {"interrupt_id": "x", "response": 1}, "no_such_interrupt", "x"),
        ("agent.getTree", {"run_id": "x"}, "invalid_argument", "run_id"),
        ("agent.getTree", {}, "no_such_run", ""),
        ("state.get", {}, "unknown_command", "state.get"),
        ("run.cancel", {}, "unknown_command", "run.cancel"),
        ("subscription.subscribe", {"channels": ["values"]}, "unknown_command", ""),
    ],
)
async def test_a_command_that_fails_is_answered_with_200_and_a_name(
    http: httpx.AsyncClient, method: str, params: Any, error: str, about: str
) -> None:
    answer = await command(http, str(uuid4()), method, **params)
    assert (answer["type"], answer["error"]) == ("error", error), answer
    assert about in answer["message"]
    assert "meta" in answer


async def test_both_spellings_of_a_strategy_count(http: httpx.AsyncClient) -> None:
    thread = str(uuid4())
    run = await start(http, thread, "sleeps", {})
    for spelling in ("multitaskStrategy", "multitask_strategy"):
        more = {spelling: "reject"}
        answer = await command(http, thread, "run.start", assistant_id="noop", input={}, **more)
        assert answer["error"] == "unknown_error" and answer["message"].startswith("409: ")
    await http.post(f"/threads/{thread}/runs/{run}/cancel", params={"wait": "true"})


@pytest.mark.parametrize(
    ("body", "about"),
    [
        ({}, "channels"),
        ({"channels": []}, "channels"),
        ({"channels": ["debug"]}, "channels"),
        ({"channels": ["custom:"]}, "channels"),
        ({"channels": "values"}, "channels"),
        ({"channels": ["values"], "depth": -1}, "depth"),
        ({"channels": ["values"], "since": -1}, "since"),
        ({"channels": ["values"], "since": "1"}, "since"),
        ({"channels": ["values"], "namespaces": [1]}, "namespaces"),
        ({"channels": ["values"] * 101}, "channels"),
        ([], ""),
    ],
)
async def test_a_subscription_that_is_none_is_400(
    http: httpx.AsyncClient, body: Any, about: str
) -> None:
    answer = await http.post(f"/threads/{uuid4()}/stream/events", json=body)
    assert answer.status_code == 400
    assert about in answer.json()["detail"]


async def test_bad_ids_are_named(http: httpx.AsyncClient) -> None:
    body = {"channels": ["values"]}
    assert (await http.post("/threads/x/stream/events", json=body)).status_code == 422
    assert (await http.post("/threads/x/commands", json={})).status_code == 422
    wrong = await http.post(
        f"/threads/{uuid4()}/stream/events", json=body, headers={"Last-Event-ID": "x-1"}
    )
    assert wrong.status_code == 400 and "Last-Event-ID" in wrong.text


# -- websockets


def _address(stack: Stack, thread: str) -> str:
    return f"{stack.url.replace('http', 'ws', 1)}/threads/{thread}/stream/events"


async def _ask(socket: ClientConnection, method: str, number: int = 1, **params: Any) -> Any:
    """The answer, and what came before it."""
    await socket.send(orjson.dumps({"id": number, "method": method, "params": params}).decode())
    before: list[Any] = []
    async with asyncio.timeout(PATIENCE_S):
        while (frame := orjson.loads(await socket.recv()))["type"] == "event":
            before.append(frame)
    return frame, before


async def test_a_socket_replays_before_it_answers_and_goes_on_live(
    http: httpx.AsyncClient, stack: Stack
) -> None:
    thread = str(uuid4())
    await start(http, thread, "noop", {})
    whole = await history(http, thread)
    async with connect(_address(stack, thread)) as socket:
        answer, before = await _ask(socket, "subscription.subscribe", channels=ALL)
        assert before == whole
        assert answer["result"]["replayed_events"] == len(whole)
        assert answer["meta"]["applied_through_seq"] == whole[-1]["seq"]
        since = whole[1]["seq"]
        more, before = await _ask(socket, "subscription.subscribe", 2, channels=ALL, since=since)
        assert before == whole[2:] and more["id"] == 2
        started, _ = await _ask(socket, "run.start", 3, assistant_id="noop", input={})
        assert started["type"] == "success"
        live: list[Any] = []
        async with asyncio.timeout(PATIENCE_S):
            while not (live and state_of(live[-1]) in TERMINAL):
                live.append(orjson.loads(await socket.recv()))
        run = started["result"]["run_id"]
        assert live[-1]["event_id"] == f"synth:{run}:lc||completed"
        seqs = [event["seq"] for event in live]
        # Two subscriptions want it, one connection gets it once.
        assert seqs == sorted(set(seqs))
        for one in (answer, more):
            known = one["result"]["subscription_id"]
            gone, _ = await _ask(socket, "subscription.unsubscribe", 4, subscription_id=known)
            assert gone["result"] == {}
            again, _ = await _ask(socket, "subscription.unsubscribe", 5, subscription_id=known)
            assert again["error"] == "no_such_subscription"
    assert (await history(http, thread, runs=2))[len(whole) :][-len(live) :] == live


async def test_a_socket_takes_up_a_subscription_where_it_was(
    http: httpx.AsyncClient, stack: Stack
) -> None:
    thread = str(uuid4())
    await start(http, thread, "noop", {})
    whole = await history(http, thread)
    async with connect(_address(stack, thread)) as socket:
        answer, before = await _ask(
            socket,
            "subscription.reconnect",
            channels=ALL,
            since=whole[2]["seq"],
            subscription_id="mine",
        )
        assert before == whole[3:]
        assert answer["result"]["subscription_id"] == "mine"
        assert answer["result"]["restored"] is True


async def test_a_socket_survives_garbage_and_counts_subscriptions(stack: Stack) -> None:
    async with connect(_address(stack, str(uuid4()))) as socket:
        for garbage in ("", "{", "[]", "7", '{"id": true, "method": "x"}', "\x00"):
            await socket.send(garbage)
            answer = orjson.loads(await socket.recv())
            assert (answer["type"], answer["id"]) == ("error", None)
            assert answer["error"] == "invalid_argument"
        for number in range(100):
            answer, _ = await _ask(socket, "subscription.subscribe", number, channels=["values"])
            assert answer["type"] == "success"
        answer, _ = await _ask(socket, "subscription.subscribe", channels=["values"])
        assert (answer["error"], answer["type"]) == ("invalid_argument", "error")
        assert "100" in answer["message"]
        wrong, _ = await _ask(socket, "subscription.subscribe", channels=["debug"])
        assert wrong["error"] == "invalid_argument" and "channels" in wrong["message"]
        unknown, _ = await _ask(socket, "state.fork")
        assert unknown["error"] == "unknown_command"


async def test_frames_that_are_too_large_and_bodies_too(
    http: httpx.AsyncClient, stack: Stack
) -> None:
    async with connect(_address(stack, str(uuid4()))) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await socket.send("x" * 10_000_000)
            async with asyncio.timeout(PATIENCE_S):
                await socket.recv()
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009
    huge = b'{"id":1,"method":"run.start","params":{"x":"%b"}}' % (b"x" * 21_000_000)
    answer = await http.post(f"/threads/{uuid4()}/commands", content=huge)
    assert answer.status_code == 413


async def test_a_thread_id_that_is_none_closes_the_socket_for_good(stack: Stack) -> None:
    async with connect(_address(stack, "nope")) as socket:
        last = orjson.loads(await socket.recv())
        assert (last["type"], last["id"]) == ("error", None)
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 4422


# -- what the log has lost


async def test_a_thread_past_retention_shows_its_state_and_how_it_ended(
    http: httpx.AsyncClient, stack: Stack, rows: Any
) -> None:
    thread = str(uuid4())
    run = await start(http, thread, "approval", {"question": "still?"})
    whole = await history(http, thread)

    async def is_over() -> bool:
        row = await rows.fetchrow("SELECT status FROM threads WHERE thread_id = $1", thread)
        return row["status"] == "interrupted"

    await eventually(is_over, within_s=PATIENCE_S)
    await _forget(stack, thread)
    shown = await history(http, thread)
    assert methods(shown) == ["values", "input.requested", "lifecycle"]
    assert shown[-1]["event_id"] == whole[-1]["event_id"] == f"synth:{run}:lc||interrupted"
    assert shown[-1]["seq"] == whole[-1]["seq"]
    assert await history(http, thread) == shown
    async with connect(_address(stack, thread)) as socket:
        answer, _ = await _ask(socket, "subscription.reconnect", channels=ALL, since=1)
        assert answer["type"] == "error"
        assert (answer["since"], answer["min_available_seq"]) == (1, whole[-1]["seq"] + 1)
    one = shown[1]["params"]["data"]["interrupt_id"]
    async with opened(http, thread, since=shown[-1]["seq"]) as events:
        answer = await command(http, thread, "input.respond", interrupt_id=one, response="yes")
        assert answer["type"] == "success"
        assert state_of((await up_to_end(events))[-1]) == "completed"


async def _forget(stack: Stack, thread: str) -> None:
    """What retention does."""
    async with Bus(stack.endpoints.nats_url, client_name="test") as bus:
        subject = ThreadAddress("default", UUID(thread)).stored(bus.prefix)
        await bus.client.jetstream().purge_stream("RUN_EVENTS", subject=subject)
