"""A loop of super-steps that leaves a journal: who began which step."""

from __future__ import annotations

import asyncio
import operator
import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal, TypedDict

from journal import journal_of, note
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_store
from langgraph.graph import START, StateGraph

GATE_LOOK_S = 0.02


class Steps(TypedDict, total=False):
    count: int
    log: Annotated[list[int], operator.add]
    steps: int
    journal: str
    pause_s: float
    gate: str
    gate_at: int
    shelf: str


async def step(state: Steps, config: RunnableConfig) -> Steps:
    """Noted as it begins, so that a test that kills the worker knows which step is under way: that
    one may show twice in the journal, the ones before it may not."""
    number = state.get("count", 0) + 1
    note(journal_of(state, config), number, os.getpid())
    if number == state.get("gate_at", 1) and (gate := state.get("gate")):
        while not await asyncio.to_thread(Path(gate).exists):
            await asyncio.sleep(GATE_LOOK_S)
    if shelf := state.get("shelf"):
        # Users' code may swallow any failure: then the next write has to be refused as well.
        with suppress(Exception):
            await get_store().aput((shelf,), f"{number}-{os.getpid()}", {"step": number})
    await asyncio.sleep(state.get("pause_s", 0))
    return {"count": number, "log": [number]}


def what_next(state: Steps) -> Literal["step", "__end__"]:
    return "step" if state.get("count", 0) < state.get("steps", 20) else "__end__"


graph = (
    StateGraph(Steps)
    .add_node(step)
    .add_edge(START, "step")
    .add_conditional_edges("step", what_next)
    .compile(name="steps")
)
