"""A database lives on while its encryption changes: nothing at first, then a key, then handlers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
from langgraph_sdk import get_client

from bedplate.devstack.stack import Stack
from bedplate.testing.encrypted import headers_of, places_of, value_of

GRAPHS = Path(__file__).parents[1] / "graphs"
NEEDLE = "plaintext needle"
_FROM_BEFORE = (
    "INSERT INTO threads (thread_id, tenant, metadata)"
    " VALUES (gen_random_uuid(), 'default', '{\"secret\": \"from before\"}')"
    " RETURNING thread_id::text"
)


async def test_named_keys_are_sealed_also_in_a_database_from_before(tmp_path: Path) -> None:
    project, data = GRAPHS / "langgraph.json", tmp_path / "data"
    env = {
        "LANGGRAPH_AES_KEY": "sixteen byte key",
        "LANGGRAPH_AES_JSON_KEYS": "secret, question",
    }
    async with Stack(data, project=project, env=env) as stack:
        async with get_client(url=stack.url, api_key=None) as client:
            thread_id = await value_of(stack, _FROM_BEFORE)
            assert await places_of(stack, "from before") == ["threads.metadata"]
            before: Any = await client.threads.get(thread_id)
            assert before["metadata"]["secret"] == "from before"
            await client.runs.wait(
                thread_id, "approval", input={"question": NEEDLE}, metadata={"secret": NEEDLE}
            )
            shown: Any = await client.threads.get(thread_id)
            [[question]] = shown["interrupts"].values()
            assert question["value"] == {"question": NEEDLE}
            assert shown["values"]["question"] == NEEDLE
            run: Any
            [run] = await client.runs.list(thread_id)
            assert (run["metadata"]["secret"], run["kwargs"]["input"]["question"]) == (
                NEEDLE,
                NEEDLE,
            )
            states: Any = await client.threads.get_history(
                thread_id, limit=10, metadata={"graph_id": "approval"}
            )
            state = states[0]
            assert state["metadata"]["secret"] == NEEDLE
        assert await places_of(stack, NEEDLE) == []
    del env["LANGGRAPH_AES_JSON_KEYS"]
    env["LANGGRAPH_ENCRYPTION"] = json.dumps({"path": "./sealed/keys.py:by_header"})
    async with Stack(data, project=project, env=env) as stack:
        await _goes_on_with_handlers(stack, thread_id)
        assert await places_of(stack, NEEDLE) == []


async def _goes_on_with_handlers(stack: Stack, thread_id: str) -> None:
    """What the key has sealed is still read; what is written is sealed by the handlers, in the
    context that the header tells, because nobody authenticates."""
    headers = headers_of("anybody", tenant="acme", project="x")
    async with get_client(url=stack.url, api_key=None, headers=headers) as client:
        shown: Any = await client.threads.get(thread_id)
        assert shown["values"]["question"] == NEEDLE
        run: Any = (await client.runs.list(thread_id))[0]
        assert run["metadata"]["secret"] == NEEDLE
        answered: Any = await client.runs.wait(
            thread_id, "approval", command={"resume": f"{NEEDLE}: yes"}
        )
        assert answered == {"question": NEEDLE, "answer": f"{NEEDLE}: yes"}
        states: Any = await client.threads.get_history(thread_id, limit=10)
        assert [state["values"].get("question") for state in states[:2]] == [NEEDLE, NEEDLE]
    async with httpx.AsyncClient(base_url=stack.url) as http:
        answer = await http.post("/threads", json={"metadata": {"note": 1}})
        # There is no key for nobody.
        assert (answer.status_code, answer.json()) == (500, {"detail": "encrypt.json failed"})
