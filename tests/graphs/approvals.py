"""Graphs that stop and ask."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

from journal import journal_of, note
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt


class Question(TypedDict, total=False):
    question: str
    answer: Any


class Answers(TypedDict, total=False):
    answers: Annotated[dict[str, Any], operator.or_]
    is_joined: bool


async def ask(state: Question) -> Question:
    return {"answer": interrupt({"question": state.get("question", "Go on?")})}


async def left(state: Answers) -> Answers:
    return {"answers": {"left": interrupt("left?")}}


async def right(state: Answers) -> Answers:
    return {"answers": {"right": interrupt("right?")}}


async def join(state: Answers) -> Answers:
    return {"is_joined": True}


async def twice(state: Answers, config: RunnableConfig) -> Answers:
    """Runs again from its start for each answer; the journal tells how often."""
    note(journal_of({}, config), "twice")
    first = interrupt("first?")
    return {"answers": {"first": first, "second": interrupt(f"second, after {first}?")}}


async def calm(state: Answers, config: RunnableConfig) -> Answers:
    note(journal_of({}, config), "calm")
    return {"answers": {"calm": True}}


def _branch(name: str) -> Any:
    async def inner(state: Answers, config: RunnableConfig) -> Answers:
        note(journal_of({}, config), name)
        return {"answers": {name: interrupt(f"{name}?")}}

    return StateGraph(Answers).add_node(inner).add_edge(START, "inner").compile(name=name)


approval = StateGraph(Question).add_node(ask).add_edge(START, "ask").compile(name="approval")
two_approvals = (
    StateGraph(Answers)
    .add_node(left)
    .add_node(right)
    .add_node(join)
    .add_edge(START, "left")
    .add_edge(START, "right")
    .add_edge(["left", "right"], "join")
    .compile(name="two_approvals")
)
asks_twice = StateGraph(Answers).add_node(twice).add_edge(START, "twice").compile(name="asks_twice")
branches = (
    StateGraph(Answers)
    .add_node("east", _branch("east"))
    .add_node("west", _branch("west"))
    .add_node(calm)
    .add_node(join)
    .add_edge(START, "east")
    .add_edge(START, "west")
    .add_edge(START, "calm")
    .add_edge(["east", "west", "calm"], "join")
    .compile(name="branches")
)
