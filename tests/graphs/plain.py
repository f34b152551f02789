"""Graphs that do what they should, one per feature."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage
from langgraph.config import get_stream_writer
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import interrupt
from proto.ticket import Ticket
from services.echo import answer


class Anything(TypedDict, total=False):
    value: Any
    n: int


def _with_new(old: list[str], new: list[str]) -> list[str]:
    """A child returns its whole state, which began as the parent's: what is known is not added."""
    return old + [visit for visit in new if visit not in old]


class Visits(TypedDict, total=False):
    visited: Annotated[list[str], _with_new]
    asks: bool
    answer: Any


async def nothing(state: Anything) -> dict[str, Any]:
    return {}


async def echo(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage(answer(Ticket(state["messages"][-1].text)))]}


async def progress(state: Anything) -> dict[str, Any]:
    write = get_stream_writer()
    n = state.get("n", 3)
    for step in range(1, n + 1):
        write({"step": step, "of": n})
    return {"value": "done"}


async def before(state: Visits) -> Visits:
    return {"visited": ["before"]}


async def inner_first(state: Visits) -> Visits:
    return {"visited": ["inner_first"]}


async def inner_second(state: Visits) -> Visits:
    said = interrupt("go on inside?") if state.get("asks") else None
    return {"visited": ["inner_second"], "answer": said}


async def after(state: Visits) -> Visits:
    return {"visited": ["after"]}


uncompiled = StateGraph(Anything).add_node(nothing).add_edge(START, "nothing")
noop = uncompiled.compile(name="noop")
messages = StateGraph(MessagesState).add_node(echo).add_edge(START, "echo").compile()
custom = StateGraph(Anything).add_node(progress).add_edge(START, "progress").compile()

child = (
    StateGraph(Visits)
    .add_sequence([inner_first, inner_second])
    .add_edge(START, "inner_first")
    .compile(name="child")
)
subgraphs = (
    StateGraph(Visits)
    .add_node(before)
    .add_node("child", child)
    .add_node(after)
    .add_edge(START, "before")
    .add_edge("before", "child")
    .add_edge("child", "after")
    .add_edge("after", END)
    .compile(name="subgraphs")
)


@task
async def squared(number: int) -> int:
    return number * number


@entrypoint()
async def functional(given: dict[str, Any], *, previous: dict[str, Any] | None) -> dict[str, Any]:
    squares = [await squared(number) for number in range(given.get("n", 3))]
    return {"squares": squares, "runs": (previous or {}).get("runs", 0) + 1}
