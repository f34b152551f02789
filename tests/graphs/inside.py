"""Graphs that use the API of the server they run on."""

from __future__ import annotations

from typing import Any, TypedDict

from deepagents import AsyncSubAgent, create_deep_agent
from httpx import HTTPStatusError
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.pregel.remote import RemoteGraph
from langgraph_sdk import get_client
from scripted import scripted_model

HELLO = {"messages": [{"role": "user", "content": "hello"}]}
# Made while the project is imported, as many projects do.
client = get_client()


class Inside(TypedDict, total=False):
    thread_id: str
    modes: list[str]
    answer: dict[str, Any]


async def ask(state: Inside) -> Inside:
    """A run of another graph, streamed on a thread made for it."""
    thread = await client.threads.create(metadata={"made_by": "inside"})
    modes = [
        part.event
        async for part in client.runs.stream(
            thread["thread_id"], "messages", input=HELLO, stream_mode=["values", "updates"]
        )
    ]
    values: Any = await get_client().threads.get_state(thread["thread_id"])
    return {"thread_id": thread["thread_id"], "modes": modes, "answer": values["values"]}


calls_back = StateGraph(Inside).add_node(ask).add_edge(START, "ask").compile(name="calls_back")


async def ask_itself(state: Inside, config: RunnableConfig) -> Inside:
    """A run that waits for one of its own thread."""
    thread_id = config.get("configurable", {})["thread_id"]
    try:
        await client.runs.wait(thread_id, "noop", input={})
    except HTTPStatusError as refused:
        return {"answer": {"refused": refused.response.status_code}}
    return {"answer": {}}


waits_for_itself = (
    StateGraph(Inside).add_node(ask_itself).add_edge(START, "ask_itself").compile(name="waits")
)

messages_here = RemoteGraph("messages", client=client)


async def pass_on(state: MessagesState) -> Any:
    """To another graph of the same server, on a thread of its own: on this one it would wait until
    this run is over."""
    return await messages_here.ainvoke({"messages": state["messages"]})


remote = (
    StateGraph(MessagesState).add_node(pass_on).add_edge(START, "pass_on").compile(name="remote")
)

delegates = create_deep_agent(
    name="delegates",
    model=scripted_model(),
    system_prompt="You delegate.",
    subagents=[
        AsyncSubAgent(name="worker", description="Notes steps in the background.", graph_id="agent")
    ],
)
