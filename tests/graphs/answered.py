"""Graphs that go on after an answer, step by step, for as long as a test wants."""

from __future__ import annotations

import asyncio
import operator
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypedDict

from journal import journal_of, note
from langchain_core.runnables import RunnableConfig
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt

GATE_LOOK_S = 0.02


class Told(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    gate: str
    hold_at: str
    journal: str


def longer(log: list[str], writes: Sequence[list[str]]) -> list[str]:
    return [*log, *(word for write in writes for word in write)]


class ToldByDifferences(TypedDict, total=False):
    log: Annotated[list[str], DeltaChannel(longer, snapshot_frequency=3)]
    gate: str
    hold_at: str
    journal: str


async def _held(name: str, state: Any, config: RunnableConfig) -> None:
    """Noted, and then held at the gate if this is the node to be held."""
    note(journal_of(state, config), name, os.getpid())
    gate = config.get("configurable", {}).get("gate") or state.get("gate", "")
    while state.get("hold_at") == name and not await asyncio.to_thread(Path(gate).exists):
        await asyncio.sleep(GATE_LOOK_S)


async def ask(state: Any, config: RunnableConfig) -> Any:
    answer = interrupt("go on?")
    await _held("ask", state, config)
    return {"log": [f"told {answer}"]}


async def quick(state: Any, config: RunnableConfig) -> Any:
    return {"log": [f"quick {interrupt('quick?')}"]}


async def slow(state: Any, config: RunnableConfig) -> Any:
    answer = interrupt("slow?")
    await _held("slow", state, config)
    return {"log": [f"slow {answer}"]}


def _step(name: str) -> Any:
    async def step(state: Any, config: RunnableConfig) -> Any:
        await _held(name, state, config)
        return {"log": [name]}

    return step


def _graph(state: Any, name: str) -> Any:
    return (
        StateGraph(state)
        .add_node("begin", _step("begin"))
        .add_node(ask)
        .add_node("one", _step("one"))
        .add_node("two", _step("two"))
        .add_edge(START, "begin")
        .add_edge("begin", "ask")
        .add_edge("ask", "one")
        .add_edge("one", "two")
        .compile(name=name)
    )


answered = _graph(Told, "answered")
answered_delta = _graph(ToldByDifferences, "answered_delta")
answered_both = (
    StateGraph(Told)
    .add_node(quick)
    .add_node(slow)
    .add_edge(START, "quick")
    .add_edge(START, "slow")
    .compile(name="answered_both")
)
