"""The event-streaming protocol over websockets (contract streaming.md 3.5)."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import orjson
from websockets.asyncio.client import connect

from bedplate.devstack.stack import Stack
from bedplate.testing.protocol import (
    ALL,
    PATIENCE_S,
    TERMINAL,
    address,
    ask,
    history,
    start,
    state_of,
)


async def test_a_socket_replays_before_it_answers_and_goes_on_live(
    http: httpx.AsyncClient, stack: Stack
) -> None:
    thread = str(uuid4())
    await start(http, thread, "noop", {})
    whole = await history(http, thread)
    async with connect(address(stack.url, thread)) as socket:
        answer, before = await ask(socket, "subscription.subscribe", channels=ALL)
        assert before == whole
        assert answer["result"]["replayed_events"] == len(whole)
        assert answer["meta"]["applied_through_seq"] == whole[-1]["seq"]
        since = whole[1]["seq"]
        more, before = await ask(socket, "subscription.subscribe", 2, channels=ALL, since=since)
        assert before == whole[2:] and more["id"] == 2
        started, _ = await ask(socket, "run.start", 3, assistant_id="noop", input={})
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
            gone, _ = await ask(socket, "subscription.unsubscribe", 4, subscription_id=known)
            assert gone["result"] == {}
            again, _ = await ask(socket, "subscription.unsubscribe", 5, subscription_id=known)
            assert again["error"] == "no_such_subscription"
    assert (await history(http, thread, runs=2))[len(whole) :][-len(live) :] == live


async def test_a_socket_takes_up_a_subscription_where_it_was(
    http: httpx.AsyncClient, stack: Stack
) -> None:
    thread = str(uuid4())
    await start(http, thread, "noop", {})
    whole = await history(http, thread)
    async with connect(address(stack.url, thread)) as socket:
        answer, before = await ask(
            socket,
            "subscription.reconnect",
            channels=ALL,
            since=whole[2]["seq"],
            subscription_id="mine",
        )
        assert before == whole[3:]
        assert answer["result"]["subscription_id"] == "mine"
        assert answer["result"]["restored"] is True
