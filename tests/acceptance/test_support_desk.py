"""The main job on real input: a deep agent with a sub-agent, skills, memory, tools and an approval,
served to an unmodified `langgraph_sdk`, offline."""

from __future__ import annotations

import os
import signal
from typing import Any

import asyncpg
from langgraph_sdk.client import LangGraphClient

from bedplate.devstack.stack import Stack
from bedplate.testing.eventually import eventually

AGENT = "support-desk"
PATIENCE_S = 30.0


def said(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def last(values: Any) -> str:
    return values["messages"][-1]["content"]


def tools_used(values: Any) -> list[str]:
    return [message["name"] for message in values["messages"] if message["type"] == "tool"]


async def stored(desk: Stack, prefix: str) -> list[dict[str, Any]]:
    """What the agent keeps across threads: the rows of the store below a namespace."""
    connection = await asyncpg.connect(desk.endpoints.database_uri)
    try:
        rows = await connection.fetch(
            "SELECT prefix, key, value::text AS value FROM store WHERE prefix LIKE $1 ORDER BY key",
            f"{prefix}%",
        )
    finally:
        await connection.close()
    return [dict(row) for row in rows]


async def test_a_refund_from_the_first_token_to_the_paid_money(
    desk: Stack, desk_client: LangGraphClient
) -> None:
    client = desk_client
    thread_id = (await client.threads.create())["thread_id"]
    refunds_before = await stored(desk, "support-desk.refunds")

    # The answer to the first message arrives token by token.
    pieces: list[str] = []
    async for part in client.runs.stream(
        thread_id, AGENT, input=said("Hello!"), stream_mode="messages-tuple"
    ):
        assert part.event != "error", part.data
        if part.event == "messages":
            message, metadata = part.data
            assert message["type"] == "AIMessageChunk"
            assert metadata["langgraph_node"] == "model" and metadata["thread_id"] == thread_id
            pieces.append(message["content"])
    greeting = "".join(pieces)
    assert len([piece for piece in pieces if piece]) >= 10
    assert greeting.startswith("Hello! I look orders up")

    # The refund stops at the approval.
    updates: list[dict[str, Any]] = []
    async for part in client.runs.stream(
        thread_id, AGENT, input=said("I want a refund for order 1042"), stream_mode="updates"
    ):
        assert part.event != "error", part.data
        if part.event == "updates":
            updates.append(part.data)
    [interrupt] = updates[-1]["__interrupt__"]
    [request] = interrupt["value"]["action_requests"]
    assert (request["name"], request["args"]) == (
        "refund_order",
        {"order_id": "1042", "amount": 19.9},
    )
    thread: Any = await client.threads.get(thread_id)
    assert thread["status"] == "interrupted"
    [pending] = list(thread["interrupts"].values())
    assert pending[0]["id"] == interrupt["id"]
    state: Any = await client.threads.get_state(thread_id)
    assert state["interrupts"] == [interrupt]
    assert state["next"] and tools_used(state["values"]) == ["look_up_order", "task"]
    assert await stored(desk, "support-desk.refunds") == refunds_before

    # Approved, it is paid, once.
    approve: Any = {"resume": {"decisions": [{"type": "approve"}]}}
    values: Any = await client.runs.wait(thread_id, AGENT, command=approve)
    refunds = await stored(desk, "support-desk.refunds")
    [refund] = [refund for refund in refunds if refund not in refunds_before]
    assert "1042" in refund["value"] and "EUR" in refund["value"]
    assert last(values).endswith(f"Refunded 19.90 EUR for order 1042 ({refund['key']}).")

    # State and history tell the whole story.
    thread = await client.threads.get(thread_id)
    assert (thread["status"], thread["interrupts"]) == ("idle", {})
    assert thread["metadata"]["graph_id"] == AGENT
    state = await client.threads.get_state(thread_id)
    assert state["next"] == [] and state["values"] == values
    assert [m["content"] for m in state["values"]["messages"] if m["type"] == "human"] == [
        "Hello!",
        "I want a refund for order 1042",
    ]
    history: Any = await client.threads.get_history(thread_id, limit=200)
    assert history[0]["values"] == values
    runs: Any = await client.runs.list(thread_id)
    assert [run["status"] for run in runs] == ["success"] * 3
    assert {row["metadata"]["run_id"] for row in history} == {run["run_id"] for run in runs}
    waited = [row for row in history if row["interrupts"]]
    assert waited and waited[0]["interrupts"][0]["id"] == interrupt["id"]


async def test_what_a_customer_said_is_remembered_in_other_threads(
    desk: Stack, desk_client: LangGraphClient
) -> None:
    values: Any = await desk_client.runs.wait(
        (await desk_client.threads.create())["thread_id"],
        AGENT,
        input=said("Please remember to call me Lex"),
    )
    assert last(values) == "I will remember that."
    # Another thread, and one that lives for a single run.
    other: Any = await desk_client.runs.wait(None, AGENT, input=said("What do you know about me?"))
    assert last(other) == "You told me this: Please remember to call me Lex"
    [memory] = await stored(desk, "support-desk.memories")
    assert "call me Lex" in memory["value"]
    skills = await stored(desk, "support-desk.skills")
    assert [row["key"] for row in skills] == [
        "/desk/triage-ticket/SKILL.md",
        "/policy/refund-policy/SKILL.md",
    ]


async def test_a_job_whose_worker_is_killed_in_the_middle_is_finished_by_another(
    desk: Stack, desk_client: LangGraphClient, model_server: Any
) -> None:
    client, gate = desk_client, "long-job"
    thread_id = (await client.threads.create())["thread_id"]
    question = "Please do the long job"
    before = len(model_server.requests(user=question))
    model_server.hold(gate)
    run = await client.runs.create(thread_id, AGENT, input=said(question), stream_resumable=True)

    async def files() -> list[str]:
        state: Any = await client.threads.get_state(thread_id)
        return sorted(state["values"].get("files", {}))

    await eventually(lambda: model_server.waiting(gate), equals=1, within_s=PATIENCE_S)
    await eventually(files, equals=["/step1.txt", "/step2.txt"], within_s=PATIENCE_S)
    keeper, *workers = desk.pids("executor")
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    await eventually(lambda: model_server.waiting(gate), equals=2, within_s=PATIENCE_S)
    model_server.let_go(gate)
    values: Any = await client.runs.join(thread_id, run["run_id"])

    assert sorted(values["files"]) == [f"/step{n}.txt" for n in (1, 2, 3, 4)]
    assert last(values).startswith("All four steps are done")
    assert tools_used(values) == ["write_file"] * 4 + ["glob"]
    assert desk.pids("executor")[0] == keeper
    digests = [request["digest"] for request in model_server.requests(user=question)[before:]]
    repeated = {digest for digest in digests if digests.count(digest) > 1}
    assert len(set(digests)) == 6 and repeated == {digests[2]}, "only the call under way"
    attempts = [
        part.data["attempt"]
        async for part in client.runs.join_stream(thread_id, run["run_id"], last_event_id="-1")
        if part.event == "metadata"
    ]
    assert attempts == [1, 2]
