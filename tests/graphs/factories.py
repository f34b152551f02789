"""Graphs that are made when they are needed. Each answers with what its factory was given."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
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


@asynccontextmanager
async def factory_refuses(config: RunnableConfig) -> AsyncGenerator[Any]:
    """Ignores its cancellation at its beginning or at its end, as the configurable says; else it
    tells the graph of its task and of its context."""
    configurable = config.get("configurable", {})
    journal, where = configurable.get("journal"), configurable.get("refuses")
    task, _ = asyncio.current_task(), _seen.set("by the graph")
    if where == "beginning":
        await _refuse(journal)
    yield _seeing()
    note(journal, "same" if asyncio.current_task() is task else "other")
    if where == "end":
        await _refuse(journal)


_seen: ContextVar[str] = ContextVar("seen", default="by nobody")


def _seeing() -> Any:
    async def see(state: Told) -> Told:
        return {"value": _seen.get()}

    return StateGraph(Told).add_node(see).add_edge(START, "see").compile(name="seeing")


async def _refuse(journal: str | None) -> None:
    note(journal, "refuses", os.getpid())
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            note(journal, "ignored", os.getpid())


def sync_factory() -> Any:
    return _telling("sync_factory", {"greeting": os.environ.get("GRAPHS_GREETING")})


async def factory_fails(config: RunnableConfig) -> Any:
    """Fails if the configurable says so, else it is `approval`."""
    if config.get("configurable", {}).get("fails"):
        raise ValueError("this factory fails")
    return approval
