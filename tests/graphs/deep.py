"""A deep agent whose user brings the model's script along, and whose tool leaves a journal.

A message says what the model (`scripted`) shall do:

    go ```stub [{"tool_calls": [{"name": "note", "args": {"step": 1}}]}, {"text": "done"}]```
"""

from __future__ import annotations

import asyncio
import os

from deepagents import create_deep_agent
from journal import journal_of
from journal import note as write_note
from langchain.tools import ToolRuntime, tool
from scripted import scripted_model


@tool
async def note(step: int, runtime: ToolRuntime, pause_s: float = 0) -> str:
    """Note a step in `configurable.journal` as it begins; then wait for `pause_s` seconds."""
    write_note(journal_of({}, runtime.config), step, os.getpid())
    await asyncio.sleep(pause_s)
    return f"step {step} is done"


agent = create_deep_agent(
    name="agent",
    model=scripted_model(),
    system_prompt="You note steps.",
    tools=[note],
)
