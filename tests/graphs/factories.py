"""Graphs that are made when they are needed. Each answers with what its factory was given."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, TypedDict

from approvals import approval
from journal import note
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph_sdk.runtime import ServerRuntime


class Told(TypedDict, total=False):
    value: Any


def _telling(name: str, value: dict[str, Any]) -> Any:
    async def tell(state: Told) -> Told:
        return {"value": value}

    return StateGraph(Told).add_node(tell).add_edge(START, "tell").compile(name=name)


async def factory_config(config: RunnableConfig) -> Any:
    configurable = config.get("configurable", {})
    return _telling("factory_config", {"flavour": configurable.get("flavour")})


@asynccontextmanager
async def factory_runtime(
    config: RunnableConfig, runtime: ServerRuntime[None]
) -> AsyncGenerator[Any]:
    """Notes `enter` and `exit`, so that a test sees that what was entered is left again."""
    journal = config.get("configurable", {}).get("journal")
    note(journal, "enter", runtime.access_context)
    try:
        told = {
            "access_context": runtime.access_context,
            "is_run": runtime.execution_runtime is not None,
            "user": runtime.user.identity if runtime.user else None,
        }
        yield _telling("factory_runtime", told)
    finally:
        note(journal, "exit", runtime.access_context)


def sync_factory() -> Any:
    return _telling("sync_factory", {"greeting": os.environ.get("GRAPHS_GREETING")})


async def factory_fails(config: RunnableConfig) -> Any:
    """Fails if the configurable says so, else it is `approval`."""
    if config.get("configurable", {}).get("fails"):
        raise ValueError("this factory fails")
    return approval
