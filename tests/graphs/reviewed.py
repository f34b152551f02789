"""Agents whose tools wait for a person: reviewed by the middleware, or asking themselves.

Their model plays the script that a user message brings along (see `deep`).
"""

from __future__ import annotations

from journal import journal_of, note
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain.tools import ToolRuntime, tool
from langgraph.types import interrupt
from scripted import scripted_model


@tool
async def pay(amount: int, runtime: ToolRuntime) -> str:
    """Pay an amount; `configurable.journal` is the witness."""
    note(journal_of({}, runtime.config), "paid", amount)
    return f"paid {amount}"


@tool
async def look(runtime: ToolRuntime) -> str:
    """Look, which nobody has to allow."""
    note(journal_of({}, runtime.config), "looked")
    return "seen"


@tool
async def ask_user(question: str, runtime: ToolRuntime) -> str:
    """Ask the user from within the tool."""
    note(journal_of({}, runtime.config), "asks", question)
    return f"the user said {interrupt(question)}"


TOOLS = [pay, look, ask_user]
batched = create_agent(
    name="reviewed",
    model=scripted_model(),
    tools=TOOLS,
    middleware=[HumanInTheLoopMiddleware(interrupt_on={"pay": True})],
)
per_call = create_agent(
    name="reviewed_each",
    model=scripted_model(),
    tools=TOOLS,
    middleware=[HumanInTheLoopMiddleware(interrupt_on={"pay": True}, interrupt_mode="per_call")],
)
