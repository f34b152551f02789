"""Remembers what it is told and recalls what is near, in the store that its runtime has."""

from __future__ import annotations

from typing import Any, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime


class State(TypedDict, total=False):
    namespace: list[str]
    told: dict[str, Any]
    query: str
    recalled: list[list[Any]]


async def node(state: State, runtime: Runtime) -> State:
    store = runtime.store
    assert store is not None
    namespace = tuple(state["namespace"])
    for key, value in state.get("told", {}).items():
        await store.aput(namespace, key, value)
    found = await store.asearch(namespace, query=state.get("query"))
    return {"recalled": [[item.key, item.value, item.score] for item in found]}


graph = StateGraph(State).add_node(node).add_edge(START, "node").compile()
