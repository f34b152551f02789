"""The scripted model serves the official client, and tests can steer it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from langchain_openai import ChatOpenAI

EXAMPLE = Path(__file__).parents[3] / "examples" / "support-desk"
SCRIPT: dict[str, Any] = {
    "scenarios": [
        {
            "name": "weather",
            "when": {"user": "weather"},
            "steps": [
                {"text": "Looking.", "tool_calls": [{"name": "look", "args": {"city": "Oslo"}}]},
                {"text": "It says: {{tool:look}}, and nothing more than that."},
            ],
        },
        {
            "name": "gated",
            "when": {"user": "wait"},
            "steps": [{"wait_for": "g", "text": "through"}],
        },
        {"name": "fails", "when": {"user": "fail"}, "steps": [{"error": {"status": 400}}]},
    ]
}


@pytest.fixture(scope="module")
def scripted(load: Any) -> ModuleType:
    return load(EXAMPLE / "scripted_model" / "__init__.py")


def client(server: Any, *, uses_responses: bool = False) -> ChatOpenAI:
    return ChatOpenAI(
        model="scripted",
        base_url=f"{server.url}/v1",
        api_key=lambda: "any",
        use_responses_api=uses_responses,
        stream_usage=True,
        max_retries=0,
    )


TOOL = {
    "name": "look",
    "description": "Look at the sky.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.mark.parametrize("uses_responses", [False, True], ids=["chat", "responses"])
@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
async def test_a_script_plays_step_by_step_over_both_apis(
    scripted: ModuleType, uses_responses: bool, is_streamed: bool
) -> None:
    async def ask(messages: list[Any]) -> tuple[Any, int]:
        model = client(server, uses_responses=uses_responses).bind_tools([TOOL])
        if not is_streamed:
            return await model.ainvoke(messages), 1
        whole, chunks = None, 0
        async for chunk in model.astream(messages):
            whole = chunk if whole is None else whole + chunk
            chunks += bool(chunk.text)
        return whole, chunks

    with scripted.ScriptedServer(SCRIPT) as server:
        messages: list[Any] = [("user", "How is the weather?")]
        first, _ = await ask(messages)
        [call] = first.tool_calls
        assert (first.text, call["name"], call["args"]) == ("Looking.", "look", {"city": "Oslo"})
        result = {"role": "tool", "tool_call_id": call["id"], "content": "sunny"}
        second, chunks = await ask([*messages, first, result])
        assert second.text == "It says: sunny, and nothing more than that."
        assert chunks >= (5 if is_streamed else 1)
        assert second.usage_metadata["output_tokens"] > 0


async def test_another_server_gives_the_same_answer_to_the_same_conversation(
    scripted: ModuleType,
) -> None:
    answers: list[Any] = []
    digests: list[str] = []
    for _ in range(2):
        with scripted.ScriptedServer(SCRIPT) as server:
            asked = [await client(server).ainvoke("weather") for _ in range(2)]
            answers += [answer.tool_calls for answer in asked]
            digests += [request["digest"] for request in server.requests]
    assert answers == answers[:1] * 4
    assert len(set(digests)) == 1


async def test_a_closed_gate_holds_an_answer_until_it_is_opened(scripted: ModuleType) -> None:
    with scripted.ScriptedServer(SCRIPT) as server:
        async with httpx.AsyncClient(base_url=server.url) as http, asyncio.TaskGroup() as tasks:
            await http.post("/__stub__/gates/g", json={"open": False})
            held = tasks.create_task(client(server).ainvoke("wait"))
            while (await http.get("/__stub__/gates")).json()["g"]["waiting"] == 0:
                assert not held.done()
            await http.post("/__stub__/gates/g", json={"open": True})
            assert (await held).text == "through"
            [request] = (await http.get("/__stub__/requests")).json()["requests"]
            assert (request["scenario"], request["step"]) == ("gated", 0)
            assert (await client(server).ainvoke("wait")).text == "through"


async def test_a_message_may_bring_its_own_script(scripted: ModuleType) -> None:
    with scripted.ScriptedServer({}) as server:
        said = 'go ```stub [{"text": "as told"}]```'
        assert (await client(server).ainvoke(said)).text == "as told"
        assert (await client(server).ainvoke("hm")).text == "echo: hm"


async def test_bad_requests_and_scripts_are_refused_with_the_reason(scripted: ModuleType) -> None:
    with scripted.ScriptedServer(SCRIPT) as server:
        with pytest.raises(Exception, match="scripted error"):
            await client(server).ainvoke("fail")
        async with httpx.AsyncClient(base_url=server.url) as http:
            answer = await http.put("/__stub__/script", json={"scenarios": [{"name": "x"}]})
            assert (answer.status_code, "`steps`" in answer.text) == (400, True)
            bad = {"scenarios": [{"name": "x", "when": {"user": "("}, "steps": [{}]}]}
            assert "not a pattern" in (await http.put("/__stub__/script", json=bad)).text
            assert (await http.post("/v1/chat/completions", content=b"[1")).status_code == 400
            assert (await http.get("/elsewhere")).status_code == 404
