"""A deep agent whose user brings the model's script along, and whose tool leaves a journal.

`SCRIPTED_MODEL_URL` is the address of `examples/support-desk/scripted_model`; without it the graph
loads, and its runs fail because nobody listens. A message says what the model shall do:

    go ```stub [{"tool_calls": [{"name": "note", "args": {"step": 1}}]}, {"text": "done"}]```
"""

from __future__ import annotations

import asyncio
import os

from deepagents import create_deep_agent
from journal import journal_of
from journal import note as write_note
from langchain.tools import ToolRuntime, tool
from langchain_openai import ChatOpenAI

NOBODY_LISTENS = "http://127.0.0.1:9"
ANSWER_S_MAX = 150.0


@tool
async def note(step: int, runtime: ToolRuntime, pause_s: float = 0) -> str:
    """Note a step in `configurable.journal` as it begins; then wait for `pause_s` seconds."""
    write_note(journal_of({}, runtime.config), step, os.getpid())
    await asyncio.sleep(pause_s)
    return f"step {step} is done"


agent = create_deep_agent(
    name="agent",
    model=ChatOpenAI(
        model="scripted",
        base_url=f"{os.environ.get('SCRIPTED_MODEL_URL', NOBODY_LISTENS).rstrip('/')}/v1",
        api_key=lambda: "no key needed",
        use_responses_api=False,
        stream_usage=True,
        timeout=ANSWER_S_MAX,
    ),
    system_prompt="You note steps.",
    tools=[note],
)
