"""Graphs that keep what they are told: in their state, in the store, in a question, elsewhere."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.store.base import BaseStore
from langgraph.types import interrupt
from langgraph_sdk import get_client


class State(TypedDict, total=False):
    secret: Any
    """What nobody may read in the database."""
    answer: Any
    breaks: str
    gate: str
    journal: str
    told: dict[str, Any]


async def keep(state: State, config: RunnableConfig, *, store: BaseStore) -> State:
    configurable = config.get("configurable", {})
    await store.aput(("kept",), "item", {"note": state.get("secret"), "count": 1})
    found = await store.aget(("kept",), "item")
    assert found is not None
    user: Any = configurable.get("langgraph_auth_user")
    told = {"pet": configurable.get("pet"), "note": found.value["note"], "token": user["token"]}
    return {"told": told}


async def ask(state: State) -> State:
    return {"answer": interrupt({"about": state.get("secret")})}


def _note(journal: str) -> None:
    with Path(journal).open("a") as file:
        file.write(f"{os.getpid()}\n")


def _is_there(gate: str) -> bool:
    return Path(gate).exists()


async def hold(state: State) -> State:
    _note(state.get("journal", ""))
    while not _is_there(state.get("gate", "")):
        await asyncio.sleep(0.05)
    return {"answer": state.get("secret")}


async def call(state: State) -> State:
    """The API of this very server, as code of a run reaches it."""
    client = get_client()
    thread: Any = await client.threads.create(metadata={"note": state.get("secret")})
    await client.store.put_item(("called",), "item", {"note": state.get("secret")})
    thread_id = thread["thread_id"]
    inner: Any = await client.runs.wait(thread_id, "keeps", input={"secret": state.get("secret")})
    return {"told": {"thread_id": thread_id, "note": thread["metadata"]["note"], "inner": inner}}


keeps = StateGraph(State).add_node(keep).add_edge(START, "keep").compile(name="keeps")
asks = StateGraph(State).add_node(ask).add_edge(START, "ask").compile(name="asks")
holds = StateGraph(State).add_node(hold).add_edge(START, "hold").compile(name="holds")
calls = StateGraph(State).add_node(call).add_edge(START, "call").compile(name="calls")
