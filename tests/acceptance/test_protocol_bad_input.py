"""What is wrong with what clients of the event streams send is said, and has a limit."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bedplate.devstack.stack import Stack
from bedplate.testing.eventually import eventually
from bedplate.testing.protocol import (
    ALL,
    PATIENCE_S,
    address,
    ask,
    command,
    forget,
    history,
    start,
)

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
        ({"channels": ["values"], "since": 2**63}, "since"),
        ({"channels": ["values"], "since": True}, "since"),
        ({"channels": ["values"], "namespaces": [["a"] * 101]}, "namespaces"),
        ({"channels": ["values"], "namespaces": [["a"]] * 101}, "namespaces"),
        ({"channels": [None]}, "channels"),
        ([], ""),
        (None, ""),
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
    for text in (b"9" * 30, b"1-0", "\u0661".encode()):
        wrong = await http.post(
            f"/threads/{uuid4()}/stream/events", json=body, headers={b"Last-Event-ID": text}
        )
        assert wrong.status_code == 400 and "Last-Event-ID" in wrong.text


# -- websockets


async def test_a_socket_survives_garbage_and_counts_subscriptions(stack: Stack) -> None:
    async with connect(address(stack.url, str(uuid4()))) as socket:
        for garbage in ("", "{", "[]", "7", '{"id": true, "method": "x"}', "\x00"):
            await socket.send(garbage)
            answer = orjson.loads(await socket.recv())
            assert (answer["type"], answer["id"]) == ("error", None)
            assert answer["error"] == "invalid_argument"
        for number in range(100):
            answer, _ = await ask(socket, "subscription.subscribe", number, channels=["values"])
            assert answer["type"] == "success"
        answer, _ = await ask(socket, "subscription.subscribe", channels=["values"])
        assert (answer["error"], answer["type"]) == ("invalid_argument", "error")
        assert "100" in answer["message"]
        wrong, _ = await ask(socket, "subscription.subscribe", channels=["debug"])
        assert wrong["error"] == "invalid_argument" and "channels" in wrong["message"]
        unknown, _ = await ask(socket, "state.fork")
        assert unknown["error"] == "unknown_command"


HUGE_ID = b'{"id":%b,"method":"x"}' % (b"9" * 5000)


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff\xfe\x00",
        b"\x00" * 1000,
        b'{"id":1,"method":"x"',
        b"[" * 500_000,
        b'{"a":' * 100_000,
        b'{"id":1.5,"method":"x"}',
        b'{"id":1,"method":["x"]}',
        b'{"id":1,"method":"\\ud800"}',
        b'{"id":NaN,"method":"x"}',
        HUGE_ID,
        b'"run.start"',
        b"null",
    ],
    ids=lambda frame: str(frame[:20]),
)
async def test_a_frame_of_bytes_that_is_none_is_answered_and_the_socket_goes_on(
    http: httpx.AsyncClient, stack: Stack, frame: bytes
) -> None:
    thread = str(uuid4())
    async with connect(address(stack.url, thread)) as socket, asyncio.timeout(PATIENCE_S):
        await socket.send(frame)
        answer = orjson.loads(await socket.recv())
        assert (answer["type"], answer["id"], answer["error"]) == (
            "error",
            None,
            "invalid_argument",
        )
        # The same in bytes that are a command is one.
        await socket.send(orjson.dumps({"id": 2, "method": "agent.getTree"}))
        answer = orjson.loads(await socket.recv())
        assert (answer["id"], answer["error"]) == (2, "no_such_run")
    posted = await http.post(f"/threads/{thread}/commands", content=frame)
    assert posted.status_code == 400 and posted.json()["error"] == "invalid_argument"
    opened = await http.post(f"/threads/{thread}/stream/events", content=frame)
    assert opened.status_code == 400 and opened.json()["detail"]


@pytest.mark.parametrize("params", [[], "x", 1, True, {"channels": {}}])
async def test_params_of_another_shape_are_named_by_the_command_that_wants_them(
    stack: Stack, params: Any
) -> None:
    async with connect(address(stack.url, str(uuid4()))) as socket, asyncio.timeout(PATIENCE_S):
        for number, method in enumerate(
            ("run.start", "input.respond", "subscription.subscribe", "subscription.reconnect"),
        ):
            frame = {"id": number, "method": method, "params": params}
            await socket.send(orjson.dumps(frame).decode())
            answer = orjson.loads(await socket.recv())
            assert (answer["type"], answer["id"]) == ("error", number)
            assert answer["error"] == "invalid_argument" and answer["message"]


async def test_thousands_of_subscriptions_are_answered_one_by_one_and_most_refused(
    http: httpx.AsyncClient, stack: Stack
) -> None:
    thread, count = str(uuid4()), 3000
    await start(http, thread, "noop", {})
    whole = await history(http, thread)
    answers: list[Any] = []
    events = 0
    async with connect(address(stack.url, thread)) as socket:

        async def write() -> None:
            for number in range(count):
                params = {"channels": ALL}
                order = {"id": number, "method": "subscription.subscribe", "params": params}
                await socket.send(orjson.dumps(order).decode())

        async with asyncio.timeout(PATIENCE_S * 2), asyncio.TaskGroup() as group:
            group.create_task(write())
            while len(answers) < count:
                frame = orjson.loads(await socket.recv())
                if frame["type"] == "event":
                    events += 1
                else:
                    answers.append(frame)
    assert [answer["id"] for answer in answers] == list(range(count))
    assert [answer["type"] for answer in answers] == ["success"] * 100 + ["error"] * (count - 100)
    assert events == 100 * len(whole)


async def test_a_thread_of_another_tenant_is_none(
    http: httpx.AsyncClient, stack: Stack, rows: Any
) -> None:
    thread = str(uuid4())
    run = await start(http, thread, "approval", {"question": "secret?"})
    asked = [e for e in await history(http, thread) if e["method"] == "input.requested"]
    one = asked[0]["params"]["data"]["interrupt_id"]

    async def is_waiting() -> bool:
        row = await rows.fetchrow("SELECT status FROM threads WHERE thread_id = $1", thread)
        return row["status"] == "interrupted"

    await eventually(is_waiting, within_s=PATIENCE_S)
    # Its events stay where they are: whoever may see the thread is asked of its row.
    await forget(stack, thread)
    for table in ("threads", "runs"):
        await rows.execute(f"UPDATE {table} SET tenant = 'other' WHERE thread_id = $1", thread)
    for path in (
        f"/threads/{thread}/stream",
        f"/threads/{thread}/runs/{run}/stream",
        f"/threads/{thread}/runs/{run}/join",
        f"/runs/{run}/stream",
    ):
        assert (await http.get(path)).status_code == 404, path
    start_it = await command(http, thread, "run.start", assistant_id="noop", input={})
    assert start_it["error"] == "unknown_error" and start_it["message"].startswith("404: ")
    respond = await command(http, thread, "input.respond", interrupt_id=one, response=1)
    assert respond["error"] == "no_such_interrupt"
    tree = await command(http, thread, "agent.getTree", run_id=run)
    assert tree["error"] == "no_such_run"
    async with connect(address(stack.url, thread)) as socket:
        answer, before = await ask(socket, "subscription.subscribe", channels=ALL)
    assert before == [] and answer["result"]["replayed_events"] == 0


async def test_frames_that_are_too_large_and_bodies_too(
    http: httpx.AsyncClient, stack: Stack
) -> None:
    async with connect(address(stack.url, str(uuid4()))) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await socket.send("x" * 10_000_000)
            async with asyncio.timeout(PATIENCE_S):
                await socket.recv()
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009
    huge = b'{"id":1,"method":"run.start","params":{"x":"%b"}}' % (b"x" * 21_000_000)
    answer = await http.post(f"/threads/{uuid4()}/commands", content=huge)
    assert answer.status_code == 413


async def test_a_thread_id_that_is_none_closes_the_socket_for_good(stack: Stack) -> None:
    async with connect(address(stack.url, "nope")) as socket:
        last = orjson.loads(await socket.recv())
        assert (last["type"], last["id"]) == ("error", None)
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 4422
