"""`client.threads.stream` of the unmodified Python SDK, over server-sent events and websockets."""

from __future__ import annotations

import asyncio
from typing import Any, Literal
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from bedplate.devstack.stack import Stack
from bedplate.testing.eventually import eventually

Transport = Literal["sse", "websocket"]
PATIENCE_S = 30
AGENT = "support-desk"


@pytest.fixture(params=["sse", "websocket"])
def transport(request: pytest.FixtureRequest) -> Transport:
    return request.param


def said(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


async def test_values_messages_and_output_of_a_run(
    client: LangGraphClient, transport: Transport
) -> None:
    async with (
        asyncio.timeout(PATIENCE_S),
        client.threads.stream(assistant_id="tokens", transport=transport) as thread,
    ):
        started = await thread.run.start(input={"n": 20, **said("go")})
        assert started["run_id"]
        # A message's text is filled while its projection is read on, so it is awaited afterwards.
        messages = [message async for message in thread.messages]
        texts = [str(await message.text) for message in messages]
        assert texts == ["".join(f"t{number} " for number in range(20))]
        output = await thread.output
        assert [each["type"] for each in output["messages"]] == ["human", "ai"]


async def test_a_question_is_answered_on_the_stream_that_asked_it(
    client: LangGraphClient, transport: Transport
) -> None:
    async with (
        asyncio.timeout(PATIENCE_S),
        client.threads.stream(assistant_id="approval", transport=transport) as thread,
    ):
        await thread.run.start(input={"question": "sure?"})
        async for _ in thread.values:
            pass
        assert thread.interrupted
        (asked,) = thread.interrupts
        assert asked["value"] == {"question": "sure?"}
        await thread.run.respond({"yes": 1})
        assert (await thread.output)["answer"] == {"yes": 1}
        assert not thread.interrupted


async def test_a_failed_run_fails_its_output_with_its_error(
    client: LangGraphClient, transport: Transport
) -> None:
    async with (
        asyncio.timeout(PATIENCE_S),
        client.threads.stream(assistant_id="raises", transport=transport) as thread,
    ):
        await thread.run.start(input={})
        with pytest.raises(RuntimeError, match="Run errored: "):
            await thread.output


async def test_subgraphs_custom_events_and_checkpoints_reach_the_sdk(
    client: LangGraphClient, transport: Transport
) -> None:
    async with (
        asyncio.timeout(PATIENCE_S),
        client.threads.stream(assistant_id="subgraphs", transport=transport) as thread,
    ):
        await thread.run.start(input={"visited": []})
        names = [subgraph.graph_name async for subgraph in thread.subgraphs]
        assert names == ["child"]
    async with (
        asyncio.timeout(PATIENCE_S),
        client.threads.stream(assistant_id="custom", transport=transport) as thread,
    ):
        await thread.run.start(input={"n": 3})
        events = [event async for event in thread.subscribe(["custom", "checkpoints"])]
    data = {method: [] for method in ("custom", "checkpoints")}
    for event in events:
        data[event["method"]].append(event["params"]["data"])
    assert data["custom"] == [{"payload": {"step": step, "of": 3}} for step in (1, 2, 3)]
    assert [each["step"] for each in data["checkpoints"]] == [-1, 0, 1]


async def test_several_runs_on_one_stream_and_a_reader_that_comes_later(
    client: LangGraphClient, transport: Transport
) -> None:
    thread_id = str(uuid4())
    async with (
        asyncio.timeout(PATIENCE_S),
        client.threads.stream(thread_id, assistant_id="messages", transport=transport) as thread,
    ):
        for text in ("one", "two"):
            run = await thread.run.start(input=said(text))
            await client.runs.join(thread_id, run["run_id"])
    async with (
        asyncio.timeout(PATIENCE_S),
        client.threads.stream(thread_id, assistant_id="messages", transport=transport) as again,
    ):
        output = await again.output
        assert [each["type"] for each in output["messages"]] == ["human", "ai"] * 2


async def test_a_gateway_that_stops_loses_no_event_of_the_sdk(
    stack: Stack, transport: Transport
) -> None:
    """The SDK opens its streams again with the last `seq` it saw."""
    replica = 3 if transport == "sse" else 4
    await asyncio.to_thread(stack.start_service, "gateway", replica=replica)
    front = await _Front.open(stack.url, stack.url_of("gateway", replica=replica))
    try:
        async with (
            asyncio.timeout(PATIENCE_S * 2),
            get_client(url=front.url, api_key=None) as client,
            client.threads.stream(assistant_id="tokens", transport=transport) as thread,
        ):
            seen: list[Any] = []

            async def read() -> None:
                async for event in thread.subscribe(["messages", "lifecycle"]):
                    seen.append(event)  # noqa: PERF401 (it is looked at meanwhile)

            reading = asyncio.ensure_future(read())
            await thread.run.start(input={"n": 200, "pause_s": 0.01})
            while len(seen) < 40:
                await asyncio.sleep(0)
            await asyncio.to_thread(stack.stop_service, "gateway", replica=replica)
            await thread.output
            await reading
            deltas = [e for e in seen if e["params"]["data"].get("event") == "content-block-delta"]
            text = "".join(delta["params"]["data"]["delta"]["text"] for delta in deltas)
            assert text == "".join(f"t{number} " for number in range(200))
    finally:
        await front.close()


class _Front:
    """A load balancer of the simplest kind: new connections go to the last gateway that answers."""

    def __init__(self, urls: tuple[str, ...]) -> None:
        self._places = [url.removeprefix("http://").split(":") for url in urls]
        self._server: asyncio.Server | None = None
        self.url = ""

    @classmethod
    async def open(cls, *urls: str) -> _Front:
        front = cls(urls)
        front._server = await asyncio.start_server(front._serve, "127.0.0.1", 0)
        front.url = f"http://127.0.0.1:{front._server.sockets[0].getsockname()[1]}"
        return front

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for host, port in reversed(self._places):
            try:
                there, back = await asyncio.open_connection(host, int(port))
            except OSError:
                continue
            await asyncio.wait(
                [
                    asyncio.ensure_future(_copy(reader, back)),
                    asyncio.ensure_future(_copy(there, writer)),
                ],
            )
            break
        writer.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
    except OSError:
        pass
    finally:
        sink.close()


# -- the support desk


async def test_a_deep_agent_shows_tools_subagents_and_its_approval(
    desk: Stack, desk_client: LangGraphClient, transport: Transport
) -> None:
    async with (
        asyncio.timeout(PATIENCE_S * 2),
        desk_client.threads.stream(assistant_id=AGENT, transport=transport) as thread,
    ):
        await thread.run.start(input=said("I want a refund for order 1042"))
        tools = [call.name async for call in thread.tool_calls]
        assert tools[:2] == ["look_up_order", "task"]
        assert thread.interrupted
        (asked,) = thread.interrupts
        assert asked["value"]["action_requests"][0]["name"] == "refund_order"

        tree: dict[str, Any] = {}

        async def is_told() -> bool:
            # The question comes before the run that asks it is over.
            tree.update(await _tree(desk, thread.thread_id))
            return tree["status"] == "interrupted"

        await eventually(is_told, within_s=PATIENCE_S)
        assert tree["graph_name"] == AGENT
        (subagent,) = [
            child
            for child in tree["children"]
            if (child.get("metadata") or {}).get("cause", {}).get("type") == "toolCall"
        ]
        assert subagent["status"] == "completed"
        assert subagent["graph_name"] == "policy-checker"

        await thread.run.respond({"decisions": [{"type": "approve"}]})
        output = await thread.output
        assert "refund" in str(output["messages"][-1]["content"])


async def _tree(stack: Stack, thread_id: str) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=stack.url, timeout=10) as http:
        body = {"id": 1, "method": "agent.getTree", "params": {}}
        answer = await http.post(f"/threads/{thread_id}/commands", json=body)
    return answer.json()["result"]["tree"]
