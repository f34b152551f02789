"""The support desk keeps its promises without the runtime, offline, in this process."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command
from langgraph_sdk.runtime import (
    _ExecutionRuntime,  # pyright: ignore[reportPrivateUsage]
    _ReadRuntime,  # pyright: ignore[reportPrivateUsage]
)

EXAMPLE = Path(__file__).parents[3] / "examples" / "support-desk"
ASSISTANT = "8a6f1b1e-0000-4000-8000-000000000001"


class Desk:
    """Plays the runtime: makes the graph for each run and hands it saver and store."""

    def __init__(self, agent: ModuleType) -> None:
        self.agent = agent
        self.saver, self.store = InMemorySaver(), InMemoryStore()

    def config(self, thread: str) -> dict[str, Any]:
        ids = {"thread_id": thread, "assistant_id": ASSISTANT, "graph_id": "support-desk"}
        return {"configurable": ids}

    async def graph(self, thread: str, user: str | None = None) -> Any:
        runtime = _ExecutionRuntime(
            access_context="threads.create_run",
            user=SimpleNamespace(identity=user) if user else None,  # pyright: ignore[reportArgumentType]
            store=self.store,
        )
        graph = await self.agent.make_graph(self.config(thread), runtime)
        return graph.copy(update={"checkpointer": self.saver, "store": self.store})

    async def say(self, thread: str, given: str | Command[Any], *, user: str | None = None) -> Any:
        graph = await self.graph(thread, user)
        return await graph.ainvoke(said(given), self.config(thread))

    async def chunks(self, thread: str, given: str) -> list[str]:
        """The pieces of text that the model streamed."""
        graph = await self.graph(thread)
        stream: AsyncIterator[Any] = graph.astream(
            said(given), self.config(thread), stream_mode="messages"
        )
        return [message.text async for message, _ in stream if message.text]


def said(given: str | Command[Any]) -> Any:
    if isinstance(given, Command):
        return given
    return {"messages": [{"role": "user", "content": given}]}


def answer(state: dict[str, Any]) -> str:
    return state["messages"][-1].text


@pytest.fixture(scope="module")
def agent(load: Any) -> ModuleType:
    return load(EXAMPLE / "agent.py")


@pytest.fixture
def desk(agent: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Desk:
    for name in ("MODEL", "SUPPORT_DESK_MODEL_URL", "REFUND_CURRENCY"):
        monkeypatch.delenv(name, raising=False)
    return Desk(agent)


async def test_an_answer_arrives_in_many_pieces(desk: Desk) -> None:
    chunks = await desk.chunks("t", "hello")
    assert len(chunks) >= 10
    assert "".join(chunks).startswith("Hello! I look orders up")


async def test_a_refund_stops_for_approval_and_is_paid_once_it_is_given(desk: Desk) -> None:
    state = await desk.say("t", "I want a refund for order 1042")
    [interrupt] = state["__interrupt__"]
    [request] = interrupt.value["action_requests"]
    assert (request["name"], request["args"]) == (
        "refund_order",
        {"order_id": "1042", "amount": 19.9},
    )
    assert [m.name for m in state["messages"] if m.type == "tool"] == ["look_up_order", "task"]
    assert await desk.store.asearch(("support-desk", "refunds")) == []

    state = await desk.say("t", Command(resume={"decisions": [{"type": "approve"}]}))
    [refund] = await desk.store.asearch(("support-desk", "refunds"))
    assert refund.value == {"order_id": "1042", "amount": 19.9, "currency": "EUR"}
    assert answer(state).endswith(f"Refunded 19.90 EUR for order 1042 ({refund.key}).")


async def test_a_refund_that_is_refused_is_not_paid(desk: Desk) -> None:
    await desk.say("t", "I want a refund for order 1042")
    decision = {"type": "reject", "message": "The customer has been paid already."}
    state = await desk.say("t", Command(resume={"decisions": [decision]}))
    assert "paid already" in answer(state)
    assert await desk.store.asearch(("support-desk", "refunds")) == []


async def test_what_a_customer_said_is_remembered_in_other_threads(desk: Desk) -> None:
    assert answer(await desk.say("t1", "What do you know about me?")) == "Nothing is known yet."
    await desk.say("t2", "Please remember to call me Lex")
    state = await desk.say("t3", "What do you know about me?")
    assert answer(state) == "You told me this: Please remember to call me Lex"
    [memory] = await desk.store.asearch(("support-desk", "memories"))
    assert "call me Lex" in memory.value["content"]


async def test_customers_do_not_see_each_others_memory(desk: Desk) -> None:
    await desk.say("t1", "Please remember to call me Lex", user="alex@example.com")
    mine = await desk.say("t2", "What do you know about me?", user="alex@example.com")
    theirs = await desk.say("t3", "What do you know about me?", user="sam@example.com")
    assert (answer(mine), answer(theirs)) == (
        "You told me this: Please remember to call me Lex",
        "Nothing is known yet.",
    )


async def test_no_namespace_begins_with_another_or_holds_a_dot(desk: Desk) -> None:
    for user in ("alex@example.com", "sam@example.com", None):
        await desk.say("t", "hello", user=user)
    await desk.say("t", "I want a refund for order 1042")
    await desk.say("t", Command(resume={"decisions": [{"type": "approve"}]}))
    namespaces = await desk.store.alist_namespaces()
    assert len(namespaces) == 5
    assert not any("." in part for namespace in namespaces for part in namespace)
    assert not any(
        one != other and other[: len(one)] == one for one in namespaces for other in namespaces
    )


async def test_the_agent_reads_its_skills_and_cannot_change_them(desk: Desk) -> None:
    state = await desk.say("t1", "Please triage this ticket: the parcel is lost")
    [skill] = [m for m in state["messages"] if m.type == "tool"]
    assert "Triage a ticket" in skill.text
    assert answer(state) == "delivery / high"
    assert "permission denied" in answer(await desk.say("t2", "change your skill")).lower()


async def test_two_orders_are_looked_up_in_one_step(desk: Desk) -> None:
    state = await desk.say("t", "Where are orders 1041 and 1042?")
    calls, first, second = state["messages"][-4:-1]
    assert len(calls.tool_calls) == 2
    assert ("1041" in first.text, "1042" in second.text) == (True, True)


async def test_a_long_job_finishes_when_nobody_closes_its_gate(desk: Desk) -> None:
    state = await desk.say("t", "Please do the long job")
    assert sorted(state["files"]) == [f"/step{n}.txt" for n in (1, 2, 3, 4)]
    assert "/step4.txt" in answer(state)


async def test_a_loop_ends_at_the_recursion_limit(desk: Desk) -> None:
    graph = await desk.graph("t")
    with pytest.raises(GraphRecursionError):
        await graph.ainvoke(said("loop forever"), {**desk.config("t"), "recursion_limit": 8})


async def test_a_look_at_the_graph_starts_and_writes_nothing(desk: Desk, agent: ModuleType) -> None:
    own_server = sys.modules[agent.chat_model.__module__].__dict__["_own_server"]
    own_server.cache_clear()
    runtime = _ReadRuntime(access_context="threads.read", user=None, store=desk.store)
    seen = await agent.make_graph({}, runtime)
    assert own_server.cache_info().currsize == 0
    assert await desk.store.alist_namespaces() == []
    running = await desk.graph("t")
    assert own_server.cache_info().currsize == 1
    assert sorted(seen.get_graph().nodes) == sorted(running.get_graph().nodes)


async def test_an_external_scripted_model_sees_every_call_and_holds_them_at_a_gate(
    desk: Desk, load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(EXAMPLE / "model.py")
    with model.ScriptedServer({"scenarios": [{"steps": [{"text": "from outside"}]}]}) as server:
        monkeypatch.setenv("SUPPORT_DESK_MODEL_URL", server.url)
        monkeypatch.setenv("MODEL", "openai:never-used")
        assert answer(await desk.say("t", "hello")) == "from outside"
        [request] = server.requests
        assert (request["user"], request["outcome"]) == ("hello", "ok")


def test_model_and_key_are_all_it_takes_to_use_a_provider(
    desk: Desk, load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(EXAMPLE / "model.py")
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    monkeypatch.setenv("MODEL", "openai:gpt-5.5")
    chosen = model.chat_model()
    assert isinstance(chosen, ChatOpenAI) and chosen.model_name == "gpt-5.5"
    assert "openai.com" in str(chosen.root_client.base_url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a-key")
    monkeypatch.setenv("MODEL", "anthropic:claude-sonnet-4-6")
    chosen = model.chat_model()
    assert isinstance(chosen, ChatAnthropic) and chosen.model == "claude-sonnet-4-6"
