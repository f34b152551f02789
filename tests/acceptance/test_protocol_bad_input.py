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
from bedplate.testing.protocol import (
    PATIENCE_S,
    address,
    ask,
    command,
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
