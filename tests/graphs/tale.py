"""Steps with names, to go back to; and parallel steps of which one fails."""

from __future__ import annotations

import asyncio
import operator
from pathlib import Path
from typing import Annotated, Any, TypedDict

from journal import journal_of, note
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph


class Tale(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    title: str
    journal: str
    gate: str


def _telling(word: str) -> Any:
    async def tell(state: Tale, config: RunnableConfig) -> Tale:
        note(journal_of(state, config), word)
        return {"log": [word]}

    return tell


async def fragile(state: Tale, config: RunnableConfig) -> Tale:
    """Fails until the file `gate` exists."""
    note(journal_of(state, config), "fragile")
    if not await asyncio.to_thread(Path(state.get("gate", "")).exists):
        raise ValueError("not yet")
    return {"log": ["fragile"]}


tale = (
    StateGraph(Tale)
    .add_node("first", _telling("first"))
    .add_node("second", _telling("second"))
    .add_node("third", _telling("third"))
    .add_edge(START, "first")
    .add_edge("first", "second")
    .add_edge("second", "third")
    .compile(name="tale")
)
siblings = (
    StateGraph(Tale)
    .add_node("steady", _telling("steady"))
    .add_node("fragile", fragile)
    .add_node("last", _telling("last"))
    .add_edge(START, "steady")
    .add_edge(START, "fragile")
    .add_edge(["steady", "fragile"], "last")
    .compile(name="siblings")
)
