"""Graphs that stop and ask."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

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
