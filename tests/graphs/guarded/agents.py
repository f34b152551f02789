"""Graphs that tell who they work for, that ask, and that take their time."""

from __future__ import annotations

import asyncio
from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from langgraph_sdk import get_client
from langgraph_sdk.runtime import ServerRuntime


class State(TypedDict, total=False):
    value: Any


KEYS = ("langgraph_auth_user_id", "langgraph_auth_permissions", "user_id")


async def whoami(config: RunnableConfig, runtime: ServerRuntime[None]) -> Any:
    made_for = runtime.user.identity if runtime.user else None

    async def tell(state: State, config: RunnableConfig) -> State:
        configurable = config.get("configurable", {})
        user = configurable.get("langgraph_auth_user")
        told = {key: configurable.get(key) for key in KEYS}
        told |= {"made_for": made_for, "identity": user and user.identity}
        told |= {"team": user and user["team"], "token": user and user.token}
        headers = {key: text for key, text in configurable.items() if key.startswith("x-")}
        return {"value": {**told, "headers": headers}}

    return StateGraph(State).add_node(tell).add_edge(START, "tell").compile(name="whoami")


async def ask(state: State) -> State:
    return {"value": interrupt("Go on?")}


async def wait(state: State) -> State:
    await asyncio.sleep(120)
    return state


asks = StateGraph(State).add_node(ask).add_edge(START, "ask").compile(name="asks")
waits = StateGraph(State).add_node(wait).add_edge(START, "wait").compile(name="waits")


async def look(state: State) -> State:
    """As whom code of a run reaches the API, with nothing but the client."""
    client = get_client()
    made: Any = await client.threads.create(metadata={"owner": "bob"})
    found: Any = await client.threads.search(limit=1000)
    inner: Any = await client.runs.wait(made["thread_id"], "whoami", input={})
    owners = sorted({thread["metadata"]["owner"] for thread in found})
    return {"value": {"owner": made["metadata"]["owner"], "found": owners, "inner": inner["value"]}}


looks = StateGraph(State).add_node(look).add_edge(START, "look").compile(name="looks")
